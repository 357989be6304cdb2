"""What PPO's agents learn by: a loss of each step's probability ratio and advantage, -(r A - f) with a drift f.

Any drift that is nowhere negative and has value and slope 0 at r = 1 improves agents (Kuba et al. 2022, "Mirror
Learning", arXiv 2201.02373): PPO's clip is one, and so are DPO's and those that are learned.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import jax

from metaobj.common.types import PyTree

HYPERPARAMETERS = ("learning_rate", "entropy_weight")
"""Of PPO's agents, whatever the surrogate."""


class SurrogateRule(Protocol):
    """A surrogate, with weights or without."""

    def surrogate(self, weights: PyTree, log_ratio: jax.Array, advantage: jax.Array) -> jax.Array:
        """The loss of each step, [...].

        Args:
            weights: the rule's own; () where it has none.
            log_ratio: log pi(a|s) - log pi_old(a|s) [...]; what the agent's gradient goes through.
            advantage: A [...], of mean 0 and variance 1 over a minibatch.
        """


@dataclass(frozen=True)
class Written:
    """A surrogate that is a formula."""

    formula: Callable[[jax.Array, jax.Array], jax.Array]
    """(log ratio [...], advantage [...]) to the loss of each step [...]."""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return HYPERPARAMETERS

    def surrogate(self, weights: PyTree, log_ratio: jax.Array, advantage: jax.Array) -> jax.Array:
        return self.formula(log_ratio, advantage)
