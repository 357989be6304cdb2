"""Craftax-Classic behind this project's protocol.

Craftax is an optional extra (`craftax`). It ends episodes after 10 000 steps as it does where
the player dies; here the limit is kept apart.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.adapters.arrays import floats, strong
from metaobj.common.environments.adapters.extras import import_extra
from metaobj.common.environments.kept import kept
from metaobj.common.environments.protocol import Box, Discrete
from metaobj.common.types import PRNGKey, PyTree

CRAFTAX_NAMES = ("craftax/Craftax-Classic-Symbolic-v1",)
_NEVER = np.iinfo(np.int32).max


def make_craftax(name: str) -> tuple["CraftaxEnvironment", PyTree]:
    """The environment of a name in `CRAFTAX_NAMES`; each episode is in a world of its own.

    Raises:
        UserError: Craftax is not installed.
    """
    import_extra(name, "craftax.craftax_env")
    return CraftaxEnvironment(name.partition("/")[2]), ()


@dataclass(frozen=True)
class CraftaxEnvironment:
    """A world in two dimensions to gather, craft, fight and survive in.

    Each of 22 achievements is rewarded once in an episode with 1, and each point of health that is lost or won with
    -0.1 or 0.1. Observes the surroundings and the inventory as one vector.
    """

    name: str

    @property
    def observation_space(self) -> Box:
        """As Craftax declares it."""
        environment, params = _make(self.name)
        return Box(tuple(environment.observation_space(params).shape), 0.0, 1.0)

    @property
    def action_space(self) -> Discrete:
        """As Craftax declares it."""
        return Discrete(_make(self.name)[0].num_actions)

    @property
    def time_limit(self) -> int:
        """Steps of the longest episode."""
        return int(_make(self.name)[1].max_timesteps)

    def reset(self, key: PRNGKey, params: PyTree) -> tuple[jax.Array, PyTree]:
        """Start an episode in a new world."""
        environment, settings = _make(self.name)
        observation, state = environment.reset_env(key, settings)
        return floats(observation), jax.tree.map(strong, state)

    def step(
        self, key: PRNGKey, state: PyTree, action: jax.Array, params: PyTree
    ) -> tuple[jax.Array, PyTree, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step. `truncated` at the time limit, unless the player died in that step."""
        environment, settings = _make(self.name)
        observation, new, reward, terminated, _ = environment.step_env(
            key, state, action, settings.replace(max_timesteps=_NEVER)
        )
        truncated = (new.timestep >= self.time_limit) & ~terminated
        new = jax.tree.map(lambda new, old: jnp.asarray(new).astype(old.dtype), new, state)
        return floats(observation), new, floats(reward), terminated, truncated, {}


@kept
def _make(name: str) -> tuple[Any, Any]:
    """(Craftax's environment without its resets, its parameters)."""
    from craftax.craftax_env import make_craftax_env_from_name

    environment = make_craftax_env_from_name(name, auto_reset=False)
    return environment, environment.default_params
