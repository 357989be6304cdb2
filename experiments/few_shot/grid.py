"""GridNavi (Zintgraf et al. 2020, "VariBAD", section 5.1): find a goal that is not seen, then go there again."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.protocol import Discrete
from metaobj.common.types import PRNGKey, PyTree

AT_GOAL, ELSEWHERE = 1.0, -0.1
"""Rewards of a step, by where it ends."""


class GridState(NamedTuple):
    """An episode in progress."""

    cell: jax.Array  # [] int32
    time: jax.Array  # [] int32


@dataclass(frozen=True)
class GridNavi:
    """Observes the agent's cell and nothing of the goal, the cell that is the environment's params, [] int32. Cells are
    numbered row by row from the start, 0; actions are to stay, right, left, down, up, and walls stop moves.
    """

    size: int = 5
    """Cells of a side."""
    time_limit: int = 15
    """Steps of an episode."""

    @property
    def observation_space(self) -> Discrete:
        return Discrete(self.size**2)

    @property
    def action_space(self) -> Discrete:
        return Discrete(5)

    @cached_property
    def goals(self) -> np.ndarray:
        """All cells but those of the 2x2 block at the start, [goals]."""
        cells = np.arange(self.size**2)
        return cells[(cells // self.size > 1) | (cells % self.size > 1)]

    @cached_property
    def moves(self) -> np.ndarray:
        """The cell after each action, [cells, actions]."""
        at = np.stack(np.divmod(np.arange(self.size**2), self.size), -1)  # [cells, 2]
        by = np.array([(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)])
        row, column = np.moveaxis(np.clip(at[:, None] + by, 0, self.size - 1), -1, 0)
        return (row * self.size + column).astype(np.int32)

    def sample_params(self, key: PRNGKey, spec: PyTree) -> jax.Array:
        """A goal, all equally likely."""
        return jax.random.choice(key, jnp.asarray(self.goals, jnp.int32))

    def reset(self, key: PRNGKey, params: jax.Array) -> tuple[jax.Array, GridState]:
        state = GridState(jnp.int32(0), jnp.int32(0))
        return state.cell, state

    def step(
        self, key: PRNGKey, state: GridState, action: jax.Array, params: jax.Array
    ) -> tuple[jax.Array, GridState, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One move; `truncated` at the time limit, never terminated."""
        state = GridState(jnp.asarray(self.moves)[state.cell, action], state.time + 1)
        reward = jnp.where(state.cell == params, AT_GOAL, ELSEWHERE)
        return state.cell, state, reward, jnp.bool_(False), state.time >= self.time_limit, {}
