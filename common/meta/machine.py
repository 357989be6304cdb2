"""How fast this machine is, measured: the rates that a program's floor is told by."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from metaobj.common.devices import AXIS, make_mesh, spread
from metaobj.common.meta.cost import Work

SECONDS = 0.3
"""That each rate is measured for."""


@dataclass(frozen=True)
class Rates:
    """Of one device, while all that are measured work at once."""

    products: float
    """Floating-point operations of matrix products a second, in large ones of float32."""
    bytes: float
    """Read and written a second, of arrays that no cache holds."""

    def floor(self, work: Work, state: float) -> tuple[float, float]:
        """Seconds that a program cannot do without: of its matrix products alone; of its memory traffic alone, which
        is to read and write a state of so many bytes and what its loops keep of their steps.
        """
        return work.products / self.products, (2 * state + work.stacked) / self.bytes


def measured_rates(devices: int, size: int = 512, length: int = 1 << 24) -> Rates:
    """The best of some tries on each device.

    Args:
        devices: how many work at once.
        size: rows and columns of the matrices.
        length: numbers of the array that is read and written, 4 bytes each.
    """
    mesh = make_mesh([devices], devices)

    def fastest(function: Callable[[jax.Array], Any], shape: tuple[int, ...]) -> float:
        parts = PartitionSpec(AXIS)
        run = jax.jit(jax.shard_map(function, mesh=mesh, in_specs=parts, out_specs=parts), donate_argnums=0)
        array = jax.jit(lambda: jnp.ones((devices, *shape)), out_shardings=spread(mesh))()
        array, end = jax.block_until_ready(run(array)), time.perf_counter() + SECONDS
        took: list[float] = []
        while not took or time.perf_counter() < end:
            begun = time.perf_counter()
            array = jax.block_until_ready(run(array))
            took.append(time.perf_counter() - begun)
        return min(took)

    products = fastest(lambda x: x @ x / size, (size, size))
    copied = fastest(lambda x: x + 1, (length,))
    return Rates(2.0 * size**3 / products, 2.0 * 4 * length / copied)
