"""Meta-gradients without differentiating: evolution strategies over pairs of lifetimes.

Two lifetimes that began alike, in the same world and with the same luck, learn by eta + sigma e and eta - sigma e. What
one earns more than the other, times e / (2 sigma), is an estimate of the slope of what is earned; it asks of a program
nothing but that agents can be updated. Over K updates alone (`antithetic-es`) it sees no further than a truncated
meta-gradient. `persistent-es` weighs by all the perturbations that a pair has met since it began, which is unbiased
over whole lives (Vicol et al. 2021, "Unbiased Gradient Estimation in Unrolled Computation Graphs with Persistent
Evolution Strategies", arXiv 2112.13835). Agents are judged by what they earn: meta-losses, their weights and the clip
of a lifetime's meta-gradient have no part in it.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from metaobj.common.gradients import is_finite, sum_over_chunks
from metaobj.common.keys import stream
from metaobj.common.lifetimes.lifetime import Lifetime, Program
from metaobj.common.lifetimes.population import Family
from metaobj.common.meta.adams import counted
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.gradient import largest_chunk
from metaobj.common.types import Metrics, PyTree

ES, PERSISTENT_ES = "antithetic-es", "persistent-es"


def perturbations(eta: PyTree, lifetimes: int) -> PyTree:
    """What each of so many lifetimes has met so far: nothing. [L, ...] for each leaf of eta."""
    return jax.tree.map(lambda leaf: jnp.zeros((lifetimes, *leaf.shape), leaf.dtype), eta)


def es_gradient(
    rule: Any,
    family: Family[Program[Any, Any]],
    config: MetaTrainingConfig,
    eta: PyTree,
    population: Lifetime,
    met: PyTree,
    adams: PyTree | None = None,
    counts: jax.Array | None = None,
) -> tuple[PyTree, Lifetime, PyTree, PyTree | None, Metrics]:
    """Live on, and sum the estimates of a family's lifetimes on this device.

    Args:
        rule: what agents learn by.
        family: how they live.
        config: K, sigma and which strategy.
        eta: the rule's weights.
        population: [L, ...], pairs side by side.
        met: [L, ...] for each leaf of eta, the perturbations that lifetimes have met so far.
        adams: [L / 2, ...] what each pair's own Adam remembers, where they have them.
        counts: [L] bool, which lifetimes are summed over; by default all.

    Returns:
        As `meta_gradient`, for descent, with what lifetimes have met by now in the third place.
    """
    program, sigma, K = family.program, config.es_sigma, config.inner_updates

    def live(weights: PyTree, lifetime: Lifetime) -> tuple[Lifetime, Metrics]:
        def update(lifetime: Lifetime, _: None) -> tuple[Lifetime, Metrics]:
            lifetime, about, acted = program.update(rule, weights, lifetime)
            episodes, total = acted.episodes
            shown = {"reward": acted.reward, "episodes": episodes.astype(acted.reward.dtype), "episode_return": total}
            return lifetime, {**about, **shown}

        lifetime, seen = jax.lax.scan(update, lifetime, None, length=K)
        counted = ("episodes", "episode_return")
        return lifetime, {name: jnp.sum(v, 0) if name in counted else jnp.mean(v, 0) for name, v in seen.items()}

    def one(
        lifetimes: Lifetime,  # [2, ...]
        met: PyTree,  # [2, ...]
        counts: jax.Array,  # [2]
        adam: PyTree | None,
    ) -> tuple[PyTree, tuple[Lifetime, PyTree, PyTree | None, Metrics]]:
        leaves, structure = jax.tree.flatten(eta)
        keys = jax.random.split(stream(lifetimes.key[0], "perturbation"), len(leaves))
        drawn = [sigma * jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in zip(keys, leaves, strict=True)]
        step = jax.tree.map(lambda leaf: jnp.stack([leaf, -leaf]), jax.tree.unflatten(structure, drawn))
        met = jax.tree.map(jnp.add, met, step) if config.estimator == PERSISTENT_ES else step
        lifetimes, metrics = jax.vmap(live)(jax.tree.map(lambda w, e: w + e, eta, step), lifetimes)
        fitness = metrics["reward"]
        slope = (fitness[0] - fitness[1]) / (2 * sigma**2)
        gradient = jax.tree.map(lambda e: -slope * e[0], met)
        norm = optax.tree.norm(gradient)
        # An agent whose logits are not finite acts all the same, and earns something.
        finite = jnp.isfinite(norm) & is_finite(lifetimes.own)
        gradient, adam = counted(gradient, finite & counts[0], adam)
        gradient = jax.tree.map(lambda g: 2 * g, gradient)  # as that of either of the two
        both = {"gradient_norm": norm, "finite": finite}
        metrics |= {"meta_loss": -fitness, **{name: jnp.stack([value] * 2) for name, value in both.items()}}
        return gradient, (lifetimes, met, adam, metrics)

    def chunk(part: PyTree) -> tuple[PyTree, tuple[Lifetime, PyTree, PyTree | None, Metrics]]:
        gradients, outputs = jax.vmap(one)(*part)
        return jax.tree.map(lambda g: jnp.sum(g, 0), gradients), outputs

    counts = jnp.ones(population.updates.shape, bool) if counts is None else counts
    pairs = jax.tree.map(lambda leaf: leaf.reshape(-1, 2, *leaf.shape[1:]), (population, met, counts))
    size = largest_chunk(counts.size // 2, max(config.chunk // 2, 1))
    total, (population, met, adams, metrics) = sum_over_chunks(chunk, (*pairs, adams), size)
    population, met, metrics = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), (population, met, metrics))
    return total, population, met, adams, metrics
