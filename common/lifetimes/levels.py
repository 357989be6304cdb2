"""Which of a run's worlds a new agent lives in: more often those in which most is still to be gained.

Prioritised level replay (Jiang et al. 2021, arXiv 2010.03934) on lifetimes (as Jackson et al. 2023, arXiv 2310.02782,
have it for learned objectives). A world's regret is what its best agent so far earned more than its latest one; worlds
are drawn by the rank of their regrets, p = (1 / rank) / sum of 1 / rank, and those that no agent has told of
come first. Settings differ between agents, so that the best agent is more than the latest one
grown older.
"""

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.types import PRNGKey


@struct.dataclass
class LevelState:
    """What has been earned, per step, in each of N worlds of E environments."""

    best: jax.Array  # [E, N] by the best agent; -inf before any
    latest: jax.Array  # [E, N] by the latest one


def init_levels(environments: int, worlds: int) -> LevelState:
    """Before any agent has told."""
    return LevelState(jnp.full((environments, worlds), -jnp.inf), jnp.zeros((environments, worlds)))


def update_levels(state: LevelState, environment: jax.Array, world: jax.Array, earned: jax.Array) -> LevelState:
    """Record one lifetime's return."""
    return LevelState(
        best=state.best.at[environment, world].max(earned), latest=state.latest.at[environment, world].set(earned)
    )


def level_probabilities(key: PRNGKey, state: LevelState, environment: jax.Array) -> jax.Array:
    """p(world | environment) [N] by the rank of their regrets; the key puts equals in an order."""
    best, latest = state.best[environment], state.latest[environment]
    regret = jnp.where(jnp.isfinite(best), best - latest, jnp.inf)  # [N]
    order = jnp.lexsort((jax.random.uniform(key, regret.shape), -regret))  # of the worlds, by falling regret
    by_rank = 1.0 / jnp.arange(1, regret.shape[0] + 1)
    return jnp.zeros(regret.shape).at[order].set(by_rank / jnp.sum(by_rank))


def choose_level(key: PRNGKey, state: LevelState, environment: jax.Array, replay: float) -> jax.Array:
    """A world for a new agent, [] int32: with probability `replay` by regret, else any."""
    order_key, key = jax.random.split(key)
    number = state.best.shape[-1]
    by_regret = level_probabilities(order_key, state, environment)
    mixed = replay * by_regret + (1.0 - replay) / number
    return jax.random.choice(key, number, p=mixed).astype(jnp.int32)
