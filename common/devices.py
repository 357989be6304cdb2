"""Where arrays live: lifetimes are spread over all devices, everything else is on each of them."""

import contextlib
import os
from collections.abc import Callable, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from metaobj.common.errors import UserError
from metaobj.common.types import PyTree

AXIS = "lifetimes"

P = ParamSpec("P")
R = TypeVar("R")


def use_all_cores() -> None:
    """Make one CPU device per core, so that lifetimes are spread over cores as they are over accelerators.

    XLA runs the many small operations of small agents on one thread; two devices use two. Must come before JAX is
    used; does nothing where an accelerator is found or the number was set by hand.
    """
    cores = len(os.sched_getaffinity(0))
    # With as many threads as devices, one device's work can take them all and the other waits until it is done: a
    # meta-update with an LSTM of 256 then takes twice as long, now and then. One more thread mends it; with several
    # more, small agents lose a third of their speed. XLA reads this when it makes its threads.
    os.environ.setdefault("NPROC", str(cores + 1))
    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", "") and not os.environ.get(
        "JAX_NUM_CPU_DEVICES"
    ):
        with contextlib.suppress(RuntimeError):  # JAX is in use already, with the devices that it has
            jax.config.update("jax_num_cpu_devices", cores)


def hardware() -> str:
    """What programs run on, in words."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return f"{len(jax.devices())} x {device.device_kind}"
    model = "CPU"
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    cores = len(os.sched_getaffinity(0))
    return f"{cores} {'core' if cores == 1 else 'cores'} of {model}"


def make_mesh(lifetimes: Sequence[int], devices: int | None = None) -> Mesh:
    """A mesh along the lifetimes over the first `devices` devices; of several processes, over as many of each.

    Args:
        lifetimes: of each family.
        devices: by default all; in one process, as few as make no device's share larger.

    Raises:
        UserError: there are fewer devices, or processes cannot have equally many.
    """
    available, processes = jax.devices(), jax.process_count()
    if devices is None:
        devices = len(available)
        if processes == 1:
            share = [sum(-(-size // n) for size in lifetimes) for n in range(1, devices + 1)]
            devices = share.index(min(share)) + 1
    if not 1 <= devices <= len(available):
        raise UserError(f"devices: {devices} given; there are {len(available)}")
    if devices % processes:
        raise UserError(f"devices: {devices} given; must be a multiple of the number of processes, {processes}")
    each = devices // processes
    chosen = [[one for one in available if one.process_index == at][:each] for at in range(processes)]
    return Mesh(np.array(chosen).reshape(-1), (AXIS,))


def dividing_mesh(size: int) -> Mesh:
    """A mesh over as many of this process's devices as divide an axis of this size."""
    available = jax.local_devices()
    devices = max(n for n in range(1, len(available) + 1) if size % n == 0)
    return Mesh(np.array(available[:devices]), (AXIS,))


def shared_out(size: int, devices: int, limit: int) -> int:
    """The least number that is at least `size` and makes equal parts for devices, and of each part equal chunks of at
    most `limit`.
    """
    each = -(-size // devices)
    chunks = -(-each // limit)
    return devices * chunks * -(-each // chunks)


def add_up(tree: PyTree) -> PyTree:
    """Sums over the devices of the mesh, within a `shard_map`: one all-reduce for all of a tree. Whole numbers among
    numbers that are not must stay below 2**24.
    """
    flat, back = ravel_pytree(tree)
    return back(jax.lax.psum(flat, AXIS))


def gather(tree: PyTree) -> PyTree:
    """What every device of the mesh has, [devices, ...], within a `shard_map`: one all-gather, likewise."""
    flat, back = ravel_pytree(tree)
    return jax.vmap(back)(jax.lax.all_gather(flat, AXIS))


def spread(mesh: Mesh) -> NamedSharding:
    """Placement of arrays whose leading axis is lifetimes."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def everywhere(mesh: Mesh) -> NamedSharding:
    """Placement of arrays that every device holds."""
    return NamedSharding(mesh, PartitionSpec())


def launches_are_dear() -> bool:
    """Whether starting a small operation takes longer than the operation does, as on accelerators: then few large
    pieces are better than many small ones, even where they do more.
    """
    return jax.default_backend() != "cpu"


def quick_to_compile() -> dict[str, Any] | None:
    """Compiler options that halve the compile time: on a CPU most of it is LLVM's, and asking it for less costs no
    speed that could be measured. Where JAX is asked for even less, none.

    LLVM's level 1 is no faster than its level 2, and ends the process on some machines ("Cannot select:
    X86ISD::SUBV_BROADCAST_LOAD"; openxla/xla issue 44943).
    """
    if jax.default_backend() != "cpu" or jax.config.values["jax_disable_most_optimizations"]:
        return None
    return {"xla_backend_optimization_level": 2}


def quick_jit(**arguments: Any) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorator: `jax.jit` with these arguments and `quick_to_compile`, which may ask for the platform only when the
    function is called: asking earlier would settle it.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @cache
        def compiled() -> Callable[P, R]:
            return jax.jit(function, compiler_options=quick_to_compile(), **arguments)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            return compiled()(*args, **kwargs)

        return call

    return decorate
