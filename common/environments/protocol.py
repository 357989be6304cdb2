"""What an environment is to this project: two pure functions, two spaces, and data.

An environment is a frozen dataclass that holds only what fixes array shapes and the program; all that may vary
between its tasks (layouts, rewards, lengths) is in `params`, a pytree of arrays. Two environments that compare equal
are one *family* and share one compiled program. `step` never resets by itself: `experience.rollout` does, so that the
true last observation of an episode is always there.

The signatures follow gymnax 1.x (without its auto-reset).
"""

from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import jax

from metaobj.common.types import PRNGKey, PyTree


@dataclass(frozen=True)
class Discrete:
    """Integers 0 .. n - 1."""

    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        return ()


@dataclass(frozen=True)
class Box:
    """Arrays of a shape with bounds; `low` and `high` hold one number per entry, or one for all."""

    shape: tuple[int, ...]
    low: float | tuple[float, ...] = -float("inf")
    high: float | tuple[float, ...] = float("inf")


Space: TypeAlias = Discrete | Box


@runtime_checkable
class Environment(Protocol):
    """The least that an environment must have. Implementations must be hashable and compare by value."""

    @property
    def observation_space(self) -> Space: ...

    @property
    def action_space(self) -> Space: ...

    def reset(self, key: PRNGKey, params: PyTree) -> tuple[jax.Array, PyTree]:
        """Start an episode: (observation, state)."""

    def step(
        self, key: PRNGKey, state: PyTree, action: jax.Array, params: PyTree
    ) -> tuple[jax.Array, PyTree, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step: (observation, state, reward, terminated, truncated, info); no reset at the end."""
