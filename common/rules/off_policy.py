"""What a rule is that off-policy agents' policies learn by."""

from typing import Protocol

from metaobj.common.agents.deterministic import ActionLoss

HYPERPARAMETERS = ("learning_rate", "critic_learning_rate", "exploration_noise")
"""Of every off-policy agent: Adam's learning rates, and the standard deviation of the noise on its actions."""


class PolicyRule(ActionLoss, Protocol):
    """What a policy descends."""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """Names of the agents' hyperparameters: `HYPERPARAMETERS`, and what the rule itself reads."""

    @property
    def reads_windows(self) -> bool:
        """Whether a step's loss depends on the steps around it; where not, single steps are drawn evenly."""
