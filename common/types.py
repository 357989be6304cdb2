"""The few types that every part of the project shares."""

from typing import Any, NamedTuple, TypeAlias

import jax

PRNGKey: TypeAlias = jax.Array
"""A typed key, as `jax.random.key` makes it."""
PyTree: TypeAlias = Any
"""Any nesting of arrays; what is in it is said where it is used."""
Metrics: TypeAlias = dict[str, jax.Array]
"""Names to scalars, or to arrays with one entry per task or lifetime."""

Hyperparameters: TypeAlias = dict[str, jax.Array]
"""An agent's hyperparameters by name, scalars; "learning_rate" is always there."""


class Rollout(NamedTuple):
    """T steps of B environments, time first. Every leaf is [T, B, ...].

    `next_observation` is the true successor of the step: where an episode ended it is that episode's last
    observation, not the first one of the next episode. `terminated` and `truncated` are never both true.
    """

    observation: jax.Array  # [T, B, *observation shape]
    action: jax.Array  # [T, B]
    reward: jax.Array  # [T, B]
    terminated: jax.Array  # [T, B] bool, the world ended: nothing follows
    truncated: jax.Array  # [T, B] bool, a time limit cut the episode: values bootstrap from next_observation
    next_observation: jax.Array  # [T, B, *observation shape]
