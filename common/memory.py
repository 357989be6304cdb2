"""How much memory there is, and how much a program needs at least, told before it is compiled."""

import contextlib
import math
import os
import resource
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend.core import Jaxpr, jaxprs_in_params

from metaobj.common.errors import UserError
from metaobj.common.types import PyTree


def memory() -> float:
    """Bytes of all devices together; of CPUs the machine's, infinite where a platform does not tell."""
    devices = jax.devices()
    if devices[0].platform == "cpu":
        return float(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * jax.process_count())
    told = jax.local_devices()[0].memory_stats() or {}
    return float(told.get("bytes_limit", np.inf)) * len(devices)


def peak_memory() -> float:
    """Bytes of the most that this process has held in memory so far. What a process was started from counts in what
    `getrusage` tells, and not in this where /proc is.
    """
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return 1024.0 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    told = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(told if sys.platform == "darwin" else 1024 * told)


def size_of(tree: PyTree) -> int:
    """Bytes of all arrays in a tree, or of what stands for them (`jax.eval_shape`)."""
    return sum(_bytes(leaf) for leaf in jax.tree.leaves(tree))


def least_memory(jaxpr: Jaxpr) -> int:
    """Bytes of the largest outputs that a loop in the program stacks up: they must lie somewhere."""
    most = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "scan":
            most = max(most, sum(_bytes(out.aval) for out in equation.outvars))
        for inner in jaxprs_in_params(equation.params):
            most = max(most, least_memory(inner))
    return most


NO_SIZES = ("seed", "meta_updates", "checkpoint_every", "keep_checkpoints", "warm_start")
"""Whole numbers of configurations that cost time or disk space at most."""


def check_fits(needed: float, config: Any) -> None:
    """Before memory is asked for.

    Args:
        needed: bytes, infinite where they cannot even be counted.
        config: a dataclass; the size in it that is furthest above its default is what the error names.

    Raises:
        UserError: there is less memory.
    """
    if needed <= memory():
        return
    sizes = [size for size in _sizes(config) if size[0].rpartition(".")[2] not in NO_SIZES]
    name, value, _ = max(sizes, key=lambda size: size[1] / max(size[2], 1))
    bytes_needed = f"at least {needed / 2**30:.3g} GiB" if math.isfinite(needed) else "more than can be counted"
    raise UserError(
        f"{name}: {value} given; that needs {bytes_needed} of memory, and there are {memory() / 2**30:.3g} GiB"
    )


def _bytes(leaf: Any) -> int:
    if not hasattr(leaf, "shape"):
        return 0
    item = 8 if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf.dtype.itemsize
    return math.prod(leaf.shape) * item


def _sizes(config: Any, prefix: str = "") -> Iterator[tuple[str, int, int]]:
    """(dotted name, value, default) of all whole numbers in a dataclass and in those within it."""
    for field in fields(config):
        name, value, default = prefix + field.name, getattr(config, field.name), _default(field)
        if is_dataclass(value):
            yield from _sizes(value, f"{name}.")
        elif isinstance(value, tuple) and value and all(type(entry) is int for entry in value):
            yield name, max(value), max(default) if isinstance(default, tuple) and default else 1
        elif type(value) is int:
            yield name, value, default if type(default) is int else 1


def _default(field: Field[Any]) -> Any:
    return field.default if field.default is not MISSING else None
