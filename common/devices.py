"""Where arrays live: lifetimes are spread over all devices, everything else is on each of them."""

import contextlib
import os

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from common.errors import UserError

AXIS = "lifetimes"


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


def join_cluster() -> None:
    """Join JAX's multi-process runtime when the launcher has set it up (JAX_COORDINATOR_ADDRESS, Slurm, ...)."""
    if os.environ.get("JAX_COORDINATOR_ADDRESS") or int(os.environ.get("SLURM_NTASKS", "1")) > 1:
        jax.distributed.initialize()


def make_mesh(lifetimes: list[int], devices: int | None = None) -> Mesh:
    """A mesh over the first `devices` devices (all by default) along the lifetimes.

    Without `devices`, as many are used as divide every family's number of lifetimes.

    Raises:
        UserError: there are fewer devices, or they do not divide the lifetimes.
    """
    available = jax.devices()
    if devices is None:
        devices = max(n for n in range(1, len(available) + 1) if all(size % n == 0 for size in lifetimes))
    if not 1 <= devices <= len(available):
        raise UserError(f"devices: {devices} given; there are {len(available)}")
    if any(size % devices for size in lifetimes):
        raise UserError(f"devices: {devices} given; must divide the lifetimes of each family, {lifetimes}")
    return Mesh(np.array(available[:devices]), (AXIS,))


def spread(mesh: Mesh) -> NamedSharding:
    """Placement of arrays whose leading axis is lifetimes."""
    return NamedSharding(mesh, PartitionSpec(AXIS))


def everywhere(mesh: Mesh) -> NamedSharding:
    """Placement of arrays that every device holds."""
    return NamedSharding(mesh, PartitionSpec())
