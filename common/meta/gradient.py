"""The meta-gradient of a population: every lifetime's own, clipped, in chunks that bound memory."""

from typing import Any

import jax
import jax.numpy as jnp

from metaobj.common.gradients import clip_by_norm, sum_over_chunks
from metaobj.common.lifetimes.lifetime import Lifetime, MetaProgram
from metaobj.common.lifetimes.population import Family
from metaobj.common.meta.adams import counted
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.objectives import meta_loss
from metaobj.common.types import Metrics, PyTree


def largest_chunk(lifetimes: int, limit: int) -> int:
    """The largest divisor of `lifetimes` that is at most `limit`."""
    return max(size for size in range(1, min(lifetimes, limit) + 1) if lifetimes % size == 0)


def meta_gradient(
    objective: Any,
    family: Family[MetaProgram[Any, Any]],
    config: MetaTrainingConfig,
    eta: PyTree,
    population: Lifetime,
    step: jax.Array,
    adams: PyTree | None = None,
    counts: jax.Array | None = None,
) -> tuple[PyTree, Lifetime, PyTree | None, Metrics]:
    """Live on, and sum the meta-gradients of a family's lifetimes on this device: those in `counts` [L] bool, or all.

    With `adams`, what each lifetime's own Adam remembers [L, ...], their steps are summed.

    Returns:
        The sum over lifetimes whose gradient is finite, the lifetimes, what their Adams remember, and metrics with one
        entry per lifetime [L] ("finite" among them).
    """

    def loss(eta: PyTree, lifetime: Lifetime) -> tuple[jax.Array, tuple[Lifetime, Metrics]]:
        return meta_loss(config.meta_objective, family.program, objective, config.inner_updates, eta, lifetime, step)

    def one(
        lifetime: Lifetime, counts: jax.Array, adam: PyTree | None
    ) -> tuple[PyTree, tuple[Lifetime, PyTree | None, Metrics]]:
        gradient, (lifetime, metrics) = jax.grad(loss, has_aux=True)(eta, lifetime)
        clipped, norm = clip_by_norm(gradient, config.lifetime_gradient_clip or jnp.inf)
        finite = jnp.isfinite(norm) & jnp.isfinite(metrics["meta_loss"])
        brought, adam = counted(clipped, finite & counts, adam)
        was_clipped = (config.lifetime_gradient_clip > 0) & (norm > config.lifetime_gradient_clip)
        metrics |= {"gradient_norm": norm, "clipped": was_clipped.astype(norm.dtype), "finite": finite}
        return brought, (lifetime, adam, metrics)

    def chunk(part: PyTree) -> tuple[PyTree, tuple[Lifetime, PyTree | None, Metrics]]:
        if part[0].updates.shape[0] == 1:  # an axis of size 1 would cost XLA copies between layouts
            gradient, outputs = one(*jax.tree.map(lambda leaf: leaf[0], part))
            return gradient, jax.tree.map(lambda leaf: leaf[None], outputs)
        gradients, outputs = jax.vmap(one)(*part)
        return jax.tree.map(lambda g: jnp.sum(g, 0), gradients), outputs

    counts = jnp.ones(population.updates.shape, bool) if counts is None else counts
    size = largest_chunk(counts.size, config.chunk)
    total, (population, adams, metrics) = sum_over_chunks(chunk, (population, counts, adams), size)
    return total, population, adams, metrics
