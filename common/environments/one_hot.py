"""States that are numbers, shown as vectors, for agents that are networks."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from metaobj.common.environments.protocol import Box, Discrete, Environment, reference_returns, sample_params
from metaobj.common.errors import UserError
from metaobj.common.types import PRNGKey, PyTree


@dataclass(frozen=True)
class OneHot:
    """An environment whose observation is 1 at the state's number and 0 elsewhere, as float32.

    Raises:
        UserError: its observations are no numbers of states.
    """

    inner: Environment

    def __post_init__(self) -> None:
        if not isinstance(self.inner.observation_space, Discrete):
            raise UserError(f"observation_space: {self.inner.observation_space} given; must be Discrete")

    @property
    def observation_space(self) -> Box:
        """One entry for each state."""
        space = self.inner.observation_space
        assert isinstance(space, Discrete)
        return Box((space.n,), 0.0, 1.0)

    @property
    def action_space(self) -> Any:
        return self.inner.action_space

    def sample_params(self, key: PRNGKey, spec: PyTree) -> PyTree:
        """As the environment's own."""
        return sample_params(self.inner, key, spec)

    def reference_returns(self, params: PyTree) -> tuple[np.ndarray, np.ndarray] | None:
        """As the environment's own."""
        return reference_returns(self.inner, params)

    def reset(self, key: PRNGKey, params: PyTree) -> tuple[jax.Array, PyTree]:
        """Start an episode."""
        observation, state = self.inner.reset(key, params)
        return self._shown(observation), state

    def step(
        self, key: PRNGKey, state: PyTree, action: jax.Array, params: PyTree
    ) -> tuple[jax.Array, PyTree, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step."""
        observation, *rest = self.inner.step(key, state, action, params)
        return self._shown(observation), *rest  # type: ignore[return-value]  # the rest of a tuple of that type

    def _shown(self, observation: jax.Array) -> jax.Array:
        return jax.nn.one_hot(observation, *self.observation_space.shape)
