"""Training fresh agents by a fixed rule and recording how they do."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from metaobj.common.devices import AXIS, make_mesh, quick_jit
from metaobj.common.environments.protocol import reference_returns
from metaobj.common.experience.rollout import Episodes
from metaobj.common.lifetimes.lifetime import Birth, Lifetime, Program
from metaobj.common.lifetimes.population import Family
from metaobj.common.types import PRNGKey, PyTree


class Record(NamedTuple):
    """What L agents did in each bin of their lifetimes."""

    returns: np.ndarray  # [L, bins] mean return of the episodes that ended in the bin
    env_steps: np.ndarray  # [bins] environment steps of one agent by the end of the bin
    random: np.ndarray | None  # [L] return of the uniform policy, where it can be computed or was measured
    optimal: np.ndarray | None  # [L] of the best policy
    diverged: np.ndarray  # [L, bins] bool, agents with a number that is not finite by the end of the bin

    @property
    def scores(self) -> np.ndarray:
        """Returns mapped so that the uniform policy has 0 and the best 1; as they are where no reference is known. NaN
        from where on an agent has diverged.
        """
        returns = np.where(self.diverged, np.nan, self.returns)
        if self.random is None or self.optimal is None:
            return returns
        return (returns - self.random[:, None]) / (self.optimal - self.random)[:, None]


@dataclass(frozen=True, eq=False)
class DrawnWorlds:
    """What an evaluation draws of an environment: the same worlds for every rule and every setting."""

    params: PyTree  # [L, ...]
    reference: tuple[np.ndarray, np.ndarray] | None  # random and optimal return, [L] each


def draw_worlds(family: Family, member: int, key: PRNGKey, count: int, worth_learning: float = 0.05) -> DrawnWorlds:
    """Draw `count` worlds of a family's environment.

    A world in which the best policy hardly beats the uniform one (a return less than `worth_learning` higher) has no
    meaningful score; another is drawn in its place.
    """
    environment = family.program.environment
    draw = jax.jit(jax.vmap(lambda k: family.draw_params(k, member)))
    params = draw(jax.random.split(key, 2 * count))
    if not jax.tree.leaves(params):
        return DrawnWorlds(params, None)
    first = jax.tree.map(lambda leaf: leaf[:count], params)
    reference = reference_returns(environment, first)
    if reference is None:
        return DrawnWorlds(first, None)
    random, optimal = reference
    if np.any(optimal - random <= worth_learning):  # solving a world takes time: the spare ones only where needed
        spare = reference_returns(environment, jax.tree.map(lambda leaf: leaf[count:], params))
        assert spare is not None
        random, optimal = (np.concatenate(pair) for pair in zip(reference, spare, strict=True))
    chosen = np.resize(np.flatnonzero(optimal - random > worth_learning)[:count], count)
    return DrawnWorlds(jax.tree.map(lambda leaf: leaf[chosen], params), (random[chosen], optimal[chosen]))


def train_agents(
    rule: Any,
    weights: PyTree,
    family: Family,
    worlds: DrawnWorlds,
    updates: int,
    hyperparameters: Mapping[str, np.ndarray],
    key: PRNGKey,
    bins: int,
) -> Record:
    """Train one fresh agent per world by `rule`.

    Args:
        worlds: L of them.
        updates: agent updates, at least `bins`: some bins have one more than others where they do not divide them.
        hyperparameters: {name: [L]}.

    Returns:
        Curves of L agents.
    """
    size = len(next(iter(hyperparameters.values())))
    ends = updates_by_bin(updates, bins)
    settings = {name: jnp.asarray(value, jnp.float32) for name, value in hyperparameters.items()}
    returns, counts, rewards, lost, floor = _train(
        rule, family.program, weights, worlds.params, settings, jax.random.split(key, size), jnp.diff(ends, prepend=0)
    )
    env_steps = steps_after(family.program, ends)
    filled = _fill(np.asarray(returns), np.asarray(counts), np.asarray(rewards))
    random, optimal = worlds.reference if worlds.reference is not None else (None, None)
    if floor is not None:
        random = np.asarray(floor)
    diverged = np.logical_or.accumulate(np.asarray(lost) | ~np.isfinite(filled), axis=-1)
    return Record(filled, env_steps, random, optimal, diverged)


def updates_by_bin(updates: int, bins: int) -> np.ndarray:
    """How many updates are behind an agent at the end of each bin, [bins] int32."""
    return np.round(updates * np.arange(1, bins + 1) / bins).astype(np.int32)


def steps_after(program: Program[Any, Any], updates: np.ndarray | int) -> np.ndarray:
    """Environment steps of one agent after so many updates."""
    return program.first_steps + np.asarray(updates) * program.steps_per_update


@quick_jit(static_argnums=(0, 1))
def _train(
    rule: Any,
    program: Program,
    weights: PyTree,
    params: PyTree,
    settings: Mapping[str, jax.Array],
    keys: PRNGKey,
    lengths: jax.Array,  # [bins] updates in each
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """Sum of returns and number of the episodes that ended, the running episodes' return so far, and whether the agent
    has diverged: [L, bins] each; and the mean return of uniform actions [L], where agents are tested. How long agents
    live is data: short lives in tuning and long ones in the evaluation are one program.
    """

    def one(key: PRNGKey, params: PyTree, settings: Mapping[str, jax.Array]) -> tuple[Any, ...]:
        # Agents are spread over the devices; they share `weights` and nothing else.
        lifetime = program.start(key, Birth(params, dict(settings), jnp.sum(lengths)))

        def one_update(at: jax.Array, carry: tuple[Lifetime, Episodes]) -> tuple[Lifetime, Episodes]:
            lifetime, so_far = carry
            lifetime, _, statistics = program.update(rule, weights, lifetime)
            return lifetime, jax.tree.map(jnp.add, so_far, statistics.episodes)

        def one_bin(lifetime: Lifetime, length: jax.Array) -> tuple[Lifetime, tuple[jax.Array, ...]]:
            running = jnp.mean(lifetime.worlds.episode_return)
            none = Episodes(jnp.zeros_like(running), jnp.zeros_like(running))
            lifetime, episodes = jax.lax.fori_loop(0, length, one_update, (lifetime, none))
            tested, diverged = program.test(lifetime), _has_diverged(lifetime)
            if tested is None:
                running = jnp.mean(lifetime.worlds.episode_return)
                return lifetime, (episodes.total_return, episodes.number, running, diverged)
            return lifetime, (tested.total_return, tested.number, jnp.zeros(()), diverged)

        floor = program.test(lifetime, at_random=True)
        curve = jax.lax.scan(one_bin, lifetime, lengths)[1]
        return *curve, None if floor is None else floor.total_return / floor.number

    mesh, parts = make_mesh([keys.shape[0]]), PartitionSpec(AXIS)
    everyone = jax.shard_map(jax.vmap(one), mesh=mesh, in_specs=parts, out_specs=parts, check_vma=False)
    return everyone(keys, params, settings)


def _has_diverged(lifetime: Lifetime) -> jax.Array:
    """Whether any number of the agent's own is not finite: its networks, their optimisers, its experience."""
    parts = {field.name: getattr(lifetime, field.name) for field in fields(lifetime)}
    del parts["environment_params"], parts["worlds"]  # they may hold what they like
    numbers = [leaf for leaf in jax.tree.leaves(parts) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return ~jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in numbers]))


def _fill(returns: np.ndarray, counts: np.ndarray, running: np.ndarray) -> np.ndarray:
    """Mean returns [L, bins]. A bin in which no episode ended takes the bin before it, or the first one that has some;
    a life in which none ever ended takes the running episodes' return.
    """
    means = np.where(counts > 0, returns / np.maximum(counts, 1), np.nan)
    filled = means.copy()
    for at in range(1, filled.shape[1]):
        filled[:, at] = np.where(np.isnan(filled[:, at]), filled[:, at - 1], filled[:, at])
    for at in range(filled.shape[1] - 2, -1, -1):
        filled[:, at] = np.where(np.isnan(filled[:, at]), filled[:, at + 1], filled[:, at])
    return np.where(np.isnan(filled), running, filled)
