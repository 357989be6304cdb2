"""Training fresh agents by a fixed rule and recording how they do."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec
from numpy.typing import ArrayLike

from metaobj.common.devices import AXIS, dividing_mesh, quick_jit
from metaobj.common.evaluation.worlds import DrawnWorlds
from metaobj.common.experience.rollout import Episodes
from metaobj.common.gradients import is_finite
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
    restarts: np.ndarray | None = None  # [L] how often an agent's learning began anew; of those that do so

    @property
    def scores(self) -> np.ndarray:
        """Returns mapped so that the uniform policy has 0 and the best 1; as they are where no reference is known. NaN
        from where on an agent has diverged.
        """
        returns = np.where(self.diverged, np.nan, self.returns)
        if self.random is None or self.optimal is None:
            return returns
        return (returns - self.random[:, None]) / (self.optimal - self.random)[:, None]

    def parts(self, number: int) -> "list[Record]":
        """As many records of equally many agents each, in their order."""
        size = len(self.returns) // number
        return [self._replace(**self._taken(slice(at * size, (at + 1) * size))) for at in range(number)]

    def _taken(self, agents: slice) -> dict[str, Any]:
        return {
            name: values[agents]
            for name, values in self._asdict().items()
            if name != "env_steps" and values is not None
        }

    @classmethod
    def joined(cls, parts: "Sequence[Record]") -> "Record":
        """Of all agents of several records of the same task."""
        first = parts[0]
        return cls(
            np.concatenate([part.returns for part in parts]),
            first.env_steps,
            None if first.random is None else np.concatenate([part.random for part in parts]),
            None if first.optimal is None else np.concatenate([part.optimal for part in parts]),
            np.concatenate([part.diverged for part in parts]),
            None if first.restarts is None else np.concatenate([part.restarts for part in parts]),
        )


def train_agents(
    rule: Any,
    weights: PyTree,
    family: Family[Any],
    worlds: DrawnWorlds,
    updates: int,
    settings: Sequence[Mapping[str, ArrayLike]],
    key: PRNGKey,
    bins: int,
) -> Record:
    """Train a fresh agent in each world by `rule` with each setting, all in one program.

    Args:
        rule: what they learn by.
        weights: of the rule.
        family: how they live.
        worlds: n of them.
        updates: agent updates, at least `bins`: some bins have one more than others where they do not divide them.
        settings: hyperparameters by name, the same names in each: numbers, or arrays [n, ...] with one for each world.
        key: n agents' keys are split from it, the same for every setting.
        bins: points of a curve.

    Returns:
        Curves of L = len(settings) n agents, the first setting's first.
    """
    keys = jax.random.split(key, worlds.count)
    ends = updates_by_bin(updates, bins)
    index = np.tile(np.arange(worlds.count), len(settings))
    values = {
        name: jnp.asarray(np.concatenate([_for_each(setting[name], worlds.count) for setting in settings]), jnp.float32)
        for name in settings[0]
    }
    params = jax.tree.map(lambda leaf: leaf[index], worlds.params)
    returns, counts, rewards, lost, floor, restarts = _train(
        rule, family.program, weights, params, values, keys[index], jnp.diff(ends, prepend=0)
    )
    env_steps = steps_after(family.program, ends)
    means = filled(np.asarray(returns), np.asarray(counts), np.asarray(rewards))
    random, optimal = (None, None) if worlds.reference is None else (leaf[index] for leaf in worlds.reference)
    if random is None and floor is not None:
        random = np.asarray(floor)
    diverged = np.logical_or.accumulate(np.asarray(lost) | ~np.isfinite(means), axis=-1)
    return Record(means, env_steps, random, optimal, diverged, None if restarts is None else np.asarray(restarts))


def _for_each(value: ArrayLike, worlds: int) -> np.ndarray:
    return np.broadcast_to(value, (worlds, *np.shape(value)[1:]))


def updates_by_bin(updates: int, bins: int) -> np.ndarray:
    """How many updates are behind an agent at the end of each bin, [bins] int32."""
    return np.round(updates * np.arange(1, bins + 1) / bins).astype(np.int32)


def steps_after(program: Program[Any, Any], updates: np.ndarray | int) -> np.ndarray:
    """Environment steps of one agent after so many updates."""
    return program.first_steps + np.asarray(updates, np.int64) * program.steps_per_update


@quick_jit(static_argnums=(0, 1))
def _train(
    rule: Any,
    program: Program,
    weights: PyTree,
    params: PyTree,
    settings: Mapping[str, jax.Array],
    keys: PRNGKey,
    lengths: jax.Array,  # [bins] updates in each
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array | None, jax.Array | None]:
    """Sum of returns and number of the episodes that ended, the running episodes' return so far, and whether the agent
    has diverged: [L, bins] each; the mean return of uniform actions [L], where agents are tested; and how often their
    learning began anew [L], where it does. How long agents live is data: short lives in tuning and long ones in the
    evaluation are one program.
    """

    def one(key: PRNGKey, params: PyTree, settings: Mapping[str, jax.Array]) -> tuple[Any, ...]:
        # Agents are spread over the devices; they share `weights` and nothing else.
        lifetime = program.start(key, Birth(params, dict(settings), jnp.sum(lengths)))

        def update(lifetime: Lifetime) -> tuple[Lifetime, Episodes]:
            lifetime, _, acted = program.update(rule, weights, lifetime)
            number, total = acted.episodes
            return lifetime, Episodes(number.astype(total.dtype), total)

        def one_bin(lifetime: Lifetime, length: jax.Array) -> tuple[Lifetime, tuple[jax.Array, ...]]:
            lifetime, episodes = summed(update, lifetime, length)
            tested, diverged = program.test(lifetime), ~is_finite(lifetime.own)
            if tested is None:
                running = jnp.mean(lifetime.worlds.episode_return)
                return lifetime, (episodes.total_return, episodes.number, running, diverged)
            return lifetime, (tested.total_return, tested.number, jnp.zeros(()), diverged)

        floor = program.test(lifetime, at_random=True)
        lifetime, curve = jax.lax.scan(one_bin, lifetime, lengths)
        uniform = None if floor is None else floor.total_return / floor.number
        return *curve, uniform, getattr(lifetime, "restarts", None)

    mesh, parts = dividing_mesh(keys.shape[0]), PartitionSpec(AXIS)
    everyone = jax.shard_map(jax.vmap(one), mesh=mesh, in_specs=parts, out_specs=parts, check_vma=False)
    return everyone(keys, params, settings)


Shown = TypeVar("Shown")


def summed(
    update: Callable[[Lifetime], tuple[Lifetime, Shown]], lifetime: Lifetime, number: jax.Array
) -> tuple[Lifetime, Shown]:
    """After so many updates, as data, with the sum of what they showed."""

    def one(_: jax.Array, carry: tuple[Lifetime, Shown]) -> tuple[Lifetime, Shown]:
        lifetime, total = carry
        lifetime, shown = update(lifetime)
        return lifetime, jax.tree.map(jnp.add, total, shown)

    shapes = jax.eval_shape(update, lifetime)[1]
    nothing: Shown = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.fori_loop(0, number, one, (lifetime, nothing))


def filled(returns: np.ndarray, counts: np.ndarray, running: np.ndarray) -> np.ndarray:
    """Mean returns [L, bins], from the sum and the number of those of episodes that ended, and the running ones' mean.

    A bin in which no episode ended takes the bin before it, or the first one that has some; a life in which none ever
    ended takes the running episodes' return.
    """
    means = np.where(counts > 0, returns / np.maximum(counts, 1), np.nan)
    known = means.copy()
    for at in range(1, known.shape[1]):
        known[:, at] = np.where(np.isnan(known[:, at]), known[:, at - 1], known[:, at])
    for at in range(known.shape[1] - 2, -1, -1):
        known[:, at] = np.where(np.isnan(known[:, at]), known[:, at + 1], known[:, at])
    return np.where(np.isnan(known), running, known)
