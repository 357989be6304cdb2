"""What an objective is to the rest of the project.

An *update rule* declares the heads that an agent must have and turns what the agent computed on a rollout into targets
and a loss. A *learned* one has weights (eta) and a meta-loss besides. Nothing in `common` asks which rule it is; a
hand-written rule such as A2C takes part in everything but meta-training.
"""

from typing import Protocol

import jax

from metaobj.common.agents.agent import Heads, TargetRule
from metaobj.common.experience.batches import Batch
from metaobj.common.types import Metrics, PRNGKey, PyTree


class Objective(Protocol):
    """What every learned objective is, however its agents live."""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the agent's hyperparameters that it reads."""

    def init(self, key: PRNGKey) -> PyTree:
        """Fresh weights, eta."""


class UpdateRule(TargetRule, Protocol):
    """How an agent learns: by targets and a loss, on the heads that the rule asks for."""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the agent's hyperparameters that the rule reads, "learning_rate" first."""

    def heads(self, num_actions: int) -> dict[str, int]:
        """The heads an agent must have: {name: size}; "policy" has one output per action."""


class LearnedObjective(UpdateRule, Protocol):
    """An update rule with weights, and the loss that they are trained by."""

    def init(self, key: PRNGKey) -> PyTree:
        """Fresh weights, eta."""

    def meta_loss(
        self, heads: Heads, next_heads: Heads, batch: Batch, updates: Metrics, target: Heads | None = None
    ) -> tuple[jax.Array, Metrics]:
        """How well the updated agent does on a fresh rollout, to be descended, and scalars to log.

        Args:
            heads: of the agent after the last update, at the rollout's observations.
            next_heads: likewise at the true successors.
            batch: the rollout after the last update.
            updates: what `targets` said of each of the K updates, averaged.
            target: likewise of the agent as it would be after further updates; none where no one looks ahead.
        """

    @property
    def guide(self) -> TargetRule:
        """A rule without weights that descends what agents are judged by: where they might go after K updates."""
