"""What a rule is that off-policy agents' policies learn by."""

from typing import NamedTuple, Protocol

import jax

from metaobj.common.types import PyTree


class Experience(NamedTuple):
    """What a rule may know of a batch of windows [T, W, ...]: no states."""

    action: jax.Array  # [T, W, A] taken, in [-1, 1]
    reward: jax.Array  # [T, W]
    valid: jax.Array  # [T, W] bool; what is not must not count
    values: jax.Array  # [T, W] V(s_t) = Q(s_t, pi(s_t)) under the first critic, constant
    next_values: jax.Array  # [T, W] of the true successor, 0 after a termination
    discount: jax.Array  # []


class PolicyRule(Protocol):
    """What a policy descends."""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the agents' hyperparameters: `HYPERPARAMETERS`, and what the rule itself reads."""

    def loss(self, weights: PyTree, actions: jax.Array, experience: Experience, judged: jax.Array) -> jax.Array:
        """The scalar loss of the policy's actions [T, W, A].

        Args:
            weights: the rule's own.
            actions: pi(s_t), the only path to the policy's parameters beside `judged`.
            experience: what else there is to know.
            judged: Q(s_t, pi(s_t)) [T, W] under the first critic, differentiable with respect to the actions.
        """


HYPERPARAMETERS = ("learning_rate", "critic_learning_rate", "exploration_noise")
"""Of every off-policy agent: Adam's learning rates, and the standard deviation of the noise on its actions."""
