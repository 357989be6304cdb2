"""Jumanji's Snake behind this project's protocol.

Jumanji is an optional extra (`jumanji`). It ends episodes at a time limit as it does where the
snake dies; here the limit is kept apart.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from metaobj.common.environments.adapters.arrays import floats
from metaobj.common.environments.adapters.extras import import_extra
from metaobj.common.environments.kept import kept
from metaobj.common.environments.protocol import Box, Discrete
from metaobj.common.types import PRNGKey, PyTree

BOARDS = {"jumanji/Snake-v1": (12, 4000), "jumanji/Snake-6x6": (6, 1000)}
"""(rows and columns, steps per episode). The first is Jumanji's own. On the second a walk along a cycle through all 36
cells fills the board in time: with a snake of n cells no fruit is farther than 36 - n steps, which add up to 630."""
JUMANJI_NAMES = tuple(BOARDS)
_NEVER = np.iinfo(np.int32).max


def make_jumanji(name: str) -> tuple["Snake", PyTree]:
    """The environment of a name in `BOARDS`, whose worlds do not vary.

    Raises:
        UserError: Jumanji is not installed.
    """
    import_extra(name, "jumanji.environments.routing.snake.env")
    return Snake(*BOARDS[name]), ()


@dataclass(frozen=True)
class Snake:
    """A snake that grows by each fruit it eats, a reward of 1, until it leaves the board, bites itself or fills it.

    Observes [size, size, 5]: its body, its head, its tail, the fruit, and the body's order. Actions are up, right, down
    and left; none is masked, the wrong one ends the episode.
    """

    size: int
    time_limit: int
    """Steps of the longest episode."""

    @property
    def observation_space(self) -> Box:
        """See the class."""
        return Box((self.size, self.size, 5), 0.0, 1.0)

    @property
    def action_space(self) -> Discrete:
        """See the class."""
        return Discrete(4)

    def reset(self, key: PRNGKey, params: PyTree) -> tuple[jax.Array, PyTree]:
        """Start an episode."""
        state, first = _make(self.size).reset(key)
        return floats(first.observation.grid), state

    def step(
        self, key: PRNGKey, state: PyTree, action: jax.Array, params: PyTree
    ) -> tuple[jax.Array, PyTree, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step. `truncated` at the time limit, unless the snake died or filled the board in that step."""
        new, after = _make(self.size).step(state, action)
        terminated = after.last()
        truncated = (new.step_count >= self.time_limit) & ~terminated
        new = jax.tree.map(lambda new, old: new.astype(old.dtype), new, state)
        return floats(after.observation.grid), new, floats(after.reward), terminated, truncated, {}


@kept
def _make(size: int) -> Any:
    """Jumanji's own, whose time limit never comes."""
    from jumanji.environments.routing.snake.env import Snake

    return Snake(size, size, time_limit=_NEVER)
