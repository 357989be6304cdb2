"""Continuous actions in [-1, 1], whatever the environment's own bounds."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.protocol import Box, Environment, Space, sample_params
from metaobj.common.errors import UserError
from metaobj.common.types import PRNGKey, PyTree


@dataclass(frozen=True)
class ScaledActions:
    """An environment whose actions are scaled per dimension from [-1, 1] to its bounds.

    Raises:
        UserError: its actions are discrete, not a vector, or without finite bounds.
    """

    inner: Environment

    def __post_init__(self) -> None:
        space = self._space
        low, high = np.asarray(space.low), np.asarray(space.high)
        if not (np.isfinite(low).all() and np.isfinite(high).all() and (low < high).all()):
            raise UserError(f"action_space: bounds {space.low} to {space.high} given; must be finite, low below high")

    @property
    def _space(self) -> Box:
        """The environment's own actions."""
        space = self.inner.action_space
        if not isinstance(space, Box) or len(space.shape) != 1:
            raise UserError(f"action_space: {space} given; this objective needs a vector of continuous actions")
        return space

    @property
    def observation_space(self) -> Space:
        return self.inner.observation_space

    @property
    def action_space(self) -> Box:
        """[-1, 1] in each dimension."""
        return Box(self.inner.action_space.shape, -1.0, 1.0)

    def sample_params(self, key: PRNGKey, spec: PyTree) -> PyTree:
        """As the environment's own."""
        return sample_params(self.inner, key, spec)

    def reset(self, key: PRNGKey, params: PyTree) -> tuple[jax.Array, PyTree]:
        """Start an episode."""
        return self.inner.reset(key, params)

    def step(
        self, key: PRNGKey, state: PyTree, action: jax.Array, params: PyTree
    ) -> tuple[jax.Array, PyTree, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step with an action that is clipped to [-1, 1]."""
        space = self._space
        low, high = jnp.asarray(space.low, action.dtype), jnp.asarray(space.high, action.dtype)
        return self.inner.step(key, state, low + (jnp.clip(action, -1.0, 1.0) + 1) * (high - low) / 2, params)
