"""A point that is pushed about, for tests of continuous actions; found by name as "tests.worlds_continuous:POINT"."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from metaobj.common.environments.protocol import Box, Space


@dataclass(frozen=True)
class Point:
    """Reward is minus the squared distance to the origin; far out the world ends, after `limit` steps an episode."""

    dimensions: int = 2
    limit: int = 7
    bound: float = 2.0
    broken: bool = False

    @property
    def observation_space(self) -> Space:
        return Box((self.dimensions,))

    @property
    def action_space(self) -> Space:
        return Box((self.dimensions,), -self.bound, self.bound)

    @property
    def time_limit(self) -> int:
        return self.limit

    def reset(self, key: jax.Array, params: Any) -> tuple[jax.Array, Any]:
        position = jax.random.uniform(key, (self.dimensions,), minval=-1.0, maxval=1.0)
        seen = jnp.full_like(position, jnp.nan) if self.broken else position
        return seen, (position, jnp.int32(0))

    def step(self, key: jax.Array, state: Any, action: jax.Array, params: Any) -> tuple[Any, ...]:
        position, time = state
        position = position + 0.3 * action
        reward = -jnp.sum(position**2)
        terminated = jnp.max(jnp.abs(position)) > 2.0
        truncated = (time + 1 >= self.limit) & ~terminated
        return position, (position, time + 1), reward, terminated, truncated, {}


POINT = Point()
LINE = Point(dimensions=1, limit=50)
WIDE = Point(dimensions=6)
UNBOUNDED = Point(bound=float("inf"))
BROKEN = Point(broken=True)
