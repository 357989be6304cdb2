"""What an objective is to the rest of the project.

An *update rule* declares the heads that an agent must have and turns what the agent computed on a rollout into targets
and a loss. A *learned* one has weights (eta) and a meta-loss besides. Nothing in `common` asks which rule it is; a
hand-written rule such as A2C takes part in everything but meta-training.
"""

from typing import NamedTuple, Protocol

import jax

from metaobj.common.agents.agent import Heads, Hyperparameters
from metaobj.common.types import Metrics, PRNGKey, PyTree, Rollout


class Batch(NamedTuple):
    """One rollout and all that is constant in an agent's update on it."""

    rollout: Rollout  # [T, B, ...]
    advantages: jax.Array  # [T, B] under the lifetime's own value function
    rewards_to_go: jax.Array  # [T, B] discounted, within the rollout; what is left where there is no value function
    hyperparameters: Hyperparameters  # scalars
    discount: jax.Array  # []
    progress: jax.Array  # [] n / N: updates done / updates in this lifetime
    log_length: jax.Array  # [] log N


class Objective(Protocol):
    """What every learned objective is, however its agents live."""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the agent's hyperparameters that it reads."""

    def init(self, key: PRNGKey) -> PyTree:
        """Fresh weights, eta."""


class UpdateRule(Protocol):
    """How an agent learns."""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the agent's hyperparameters that the rule reads, "learning_rate" first."""

    def heads(self, num_actions: int) -> dict[str, int]:
        """The heads an agent must have: {name: size}; "policy" has one output per action."""

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        """Targets for the agent, and scalars about them.

        The targets are constants for the agent's gradient. Gradients with respect to `weights` and the heads must flow
        through both results: that is the meta-gradient.
        """

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        """The scalar that the agent descends; a mean over the rollout's steps."""


class LearnedObjective(UpdateRule, Protocol):
    """An update rule with weights, and the loss that they are trained by."""

    def init(self, key: PRNGKey) -> PyTree:
        """Fresh weights, eta."""

    def meta_loss(self, heads: Heads, batch: Batch, updates: Metrics) -> tuple[jax.Array, Metrics]:
        """How well the updated agent does on a fresh rollout, to be descended, and scalars to log.

        Args:
            heads: of the agent after the last update, at the rollout's observations.
            batch: the rollout after the last update.
            updates: what `targets` said of each of the K updates, averaged.
        """
