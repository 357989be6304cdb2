"""Worlds that are tables: where each action may lead from each state, and what arriving there pays.

Everything is data, so that all worlds of as many states, actions and outcomes share one program and are solved exactly
by one value iteration.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.protocol import Discrete
from metaobj.common.types import PRNGKey

Step = tuple[jax.Array, "TabularState", jax.Array, jax.Array, jax.Array, dict[str, Any]]


@struct.dataclass
class Tables:
    """One world of S states, A actions and O outcomes of each."""

    next_state: jax.Array  # [S, A, O] int32
    probability: jax.Array  # [S, A, O] of each outcome
    reward: jax.Array  # [S] of a step that arrives in the state
    ends: jax.Array  # [S] bool, whether arriving in the state ends the episode
    start: jax.Array  # [] int32
    max_steps: jax.Array  # [] int32


@struct.dataclass
class TabularState:
    """An episode in progress."""

    index: jax.Array  # [] int32
    time: jax.Array  # [] int32 steps taken


@dataclass(frozen=True)
class TabularWorld:
    """All worlds of so many states and actions. Their index is what the agent observes."""

    num_states: int
    num_actions: int

    @property
    def observation_space(self) -> Discrete:
        """States."""
        return Discrete(self.num_states)

    @property
    def action_space(self) -> Discrete:
        """Actions."""
        return Discrete(self.num_actions)

    def reset(self, key: PRNGKey, params: Tables) -> tuple[jax.Array, TabularState]:
        """The world's one start."""
        return params.start, TabularState(params.start, jnp.zeros((), jnp.int32))

    def step(self, key: PRNGKey, state: TabularState, action: jax.Array, params: Tables) -> Step:
        """Draw an outcome; `truncated` at `params.max_steps`, unless the step ended the episode."""
        below = jnp.cumsum(params.probability[state.index, action])  # [O]
        # Rounding may leave the last sum below 1: what is above all others is the last outcome.
        outcome = jnp.sum(jax.random.uniform(key) >= below[:-1])
        state = TabularState(params.next_state[state.index, action, outcome], state.time + 1)
        terminated = params.ends[state.index]
        truncated = (state.time >= params.max_steps) & ~terminated
        return state.index, state, params.reward[state.index], terminated, truncated, {}

    def reference_returns(self, params: Tables) -> tuple[np.ndarray, np.ndarray]:
        """Solved by value iteration over the time limit."""
        random, optimal = (np.asarray(_solved(params, over_actions)) for over_actions in (jnp.mean, jnp.max))
        return random, optimal


def start_value(tables: Tables, over_actions: Callable[..., jax.Array]) -> jax.Array:
    """Expected return of an episode, [].

    Args:
        tables: the world.
        over_actions: what becomes of the actions' values [S, A] along an axis: `jnp.max` for the optimal policy,
            `jnp.mean` for the uniform one.
    """

    def one_step(_: jax.Array, values: jax.Array) -> jax.Array:
        arriving = tables.reward + jnp.where(tables.ends, 0.0, values)  # [S]
        of_actions = jnp.sum(tables.probability * arriving[tables.next_state], axis=-1)  # [S, A]
        return over_actions(of_actions, axis=-1)

    return jax.lax.fori_loop(0, tables.max_steps, one_step, jnp.zeros_like(tables.reward))[tables.start]


@functools.partial(jax.jit, static_argnums=1)
def _solved(tables: Tables, over_actions: Callable[..., jax.Array]) -> jax.Array:
    """[n] of n worlds."""
    return jax.vmap(lambda one: start_value(one, over_actions))(tables)
