"""Worlds of a few states for tests; `Ring` instances are found by name as "tests.worlds:RING"."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.protocol import Box, Discrete, Space

FEATURES = np.random.default_rng(0).normal(size=(3, 2)).astype(np.float32)


@struct.dataclass
class RingParams:
    reward: jax.Array  # [S, A] of an action in a state
    end: jax.Array  # [S] probability that a step from a state is an episode's last
    limit: jax.Array  # [] int32 steps


@struct.dataclass
class RingState:
    position: jax.Array  # []
    time: jax.Array  # []


@dataclass(frozen=True)
class Ring:
    """Action a goes a states on. `observed` as two numbers per state, or as the state's index."""

    num_states: int = 3
    num_actions: int = 2
    observed: bool = False
    contextual: bool = False
    """Rewards 1 for the action that equals the state's index modulo A, the same in all lifetimes."""

    @property
    def observation_space(self) -> Space:
        return Box((2,)) if self.observed else Discrete(self.num_states)

    @property
    def action_space(self) -> Discrete:
        return Discrete(self.num_actions)

    def sample_params(self, key: jax.Array, spec: Any) -> RingParams:
        shape = (self.num_states, self.num_actions)
        reward = jax.random.normal(key, shape)
        if self.contextual:
            reward = (jnp.arange(self.num_states)[:, None] % self.num_actions == jnp.arange(self.num_actions)) * 1.0
        return RingParams(reward, jnp.full(self.num_states, 0.2), jnp.int32(5))

    def observe(self, position: jax.Array) -> jax.Array:
        return jnp.asarray(FEATURES)[position] if self.observed else position

    def reset(self, key: jax.Array, params: RingParams) -> tuple[jax.Array, RingState]:
        position = jax.random.randint(key, (), 0, self.num_states, jnp.int32)
        return self.observe(position), RingState(position, jnp.int32(0))

    def step(self, key: jax.Array, state: RingState, action: jax.Array, params: RingParams) -> tuple:
        """Ends and the time limit are told separately, so both can be true."""
        position = ((state.position + action) % self.num_states).astype(jnp.int32)
        reward = params.reward[state.position, action]
        terminated = jax.random.uniform(key) < params.end[state.position]
        after = RingState(position, state.time + 1)
        return self.observe(position), after, reward, terminated, after.time >= params.limit, {}


RING = Ring()
PAIR = Ring(num_states=2)
OBSERVED_RING = Ring(observed=True)
LESSON = Ring(contextual=True, num_actions=3)
OBSERVED_LESSON = Ring(contextual=True, num_actions=3, observed=True)
