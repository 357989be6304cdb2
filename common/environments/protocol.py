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
import numpy as np

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


# What an environment may be able to do besides. Each is asked for by the function of its name below.


@runtime_checkable
class Varies(Protocol):
    """Its params differ from lifetime to lifetime."""

    def sample_params(self, key: PRNGKey, spec: PyTree) -> PyTree:
        """The params of one lifetime, drawn from the distribution `spec`."""


@runtime_checkable
class HasTimeLimit(Protocol):
    """Its episodes are cut after so many steps at most."""

    @property
    def time_limit(self) -> int: ...


@runtime_checkable
class Solvable(Protocol):
    """What the uniform and the optimal policy earn in its worlds can be told."""

    def reference_returns(self, params: PyTree) -> tuple[np.ndarray, np.ndarray] | None:
        """(random [n], optimal [n]): undiscounted expected returns of an episode in n worlds, each leaf of `params`
        [n, ...]. None where they are not known after all. Called outside of jit.
        """


@runtime_checkable
class Drawable(Protocol):
    """Its states have a picture."""

    def render(self, state: PyTree, params: PyTree) -> np.ndarray:
        """One state (no leading axes) as an uint8 image [height, width, 3]."""


def sample_params(environment: Environment, key: PRNGKey, spec: PyTree) -> PyTree:
    """Draw `params` for a lifetime; environments that do not vary have none, the empty tuple."""
    return environment.sample_params(key, spec) if isinstance(environment, Varies) else ()


def time_limit(environment: Environment) -> int | None:
    """Steps of the longest episode, where it is known."""
    return environment.time_limit if isinstance(environment, HasTimeLimit) else None


def reference_returns(environment: Environment, params: PyTree) -> tuple[np.ndarray, np.ndarray] | None:
    """What the uniform and the optimal policy earn in n worlds, see `Solvable`; None where it is not known."""
    return environment.reference_returns(params) if isinstance(environment, Solvable) else None
