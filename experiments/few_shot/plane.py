"""2-D navigation (Finn et al. 2017, section 5.3): go to a place that is not seen, from the middle of a square."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from metaobj.common.environments.protocol import Box
from metaobj.common.types import PRNGKey, PyTree


@dataclass(frozen=True)
class Plane:
    """Observes the position, [2]; acts by a step, in units of the longest along each axis. The goal, [2] in [-0.5,
    0.5], is the environment's params; a step earns minus the distance that is left, and an episode ends near the goal.
    """

    longest: float = 0.1
    near: float = 0.01
    """Along each axis."""

    @property
    def observation_space(self) -> Box:
        return Box((2,))

    @property
    def action_space(self) -> Box:
        return Box((2,), -1.0, 1.0)

    def sample_params(self, key: PRNGKey, spec: PyTree) -> jax.Array:
        """A goal, uniform."""
        return jax.random.uniform(key, (2,), minval=-0.5, maxval=0.5)

    def reset(self, key: PRNGKey, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.zeros(2), jnp.zeros(2)

    def step(
        self, key: PRNGKey, state: jax.Array, action: jax.Array, params: jax.Array
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step, clipped; `terminated` near the goal, never truncated."""
        state = state + self.longest * jnp.clip(action, -1.0, 1.0)
        left = state - params
        return state, state, -jnp.linalg.norm(left), jnp.all(jnp.abs(left) < self.near), jnp.bool_(False), {}
