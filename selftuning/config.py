"""Configuration and presets: numbers of an actor-critic that a whole population tunes together."""

from dataclasses import dataclass, field, replace

from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.rule import Numbers, SelfTuning


@dataclass(frozen=True)
class SelfTuningTraining(MetaTrainingConfig):
    """Meta-training of an actor-critic's numbers, the same for all lifetimes. (An agent that tunes its own is a method
    that needs no training beforehand: `metaobj compare A2C STAC --suite control`.)
    """

    inner: Numbers = field(default_factory=Numbers)
    outer: Outer = field(default_factory=Outer)
    auxiliary: int = 0
    """Further policies and values with numbers of their own, which never act."""
    value: ValueConfig = field(default_factory=lambda: ValueConfig(learning_rate=3e-2))
    """Of the lifetimes' value functions, which the outer loss may read."""

    @property
    def rule(self) -> SelfTuning:
        """What is tuned."""
        return SelfTuning(self.inner, self.outer, self.auxiliary)


_DEMO = SelfTuningTraining(
    distribution="small-layouts", discount=0.99, inner_updates=2, learning_rate=1e-2, lifetime_gradient_clip=0.1
)
PRESETS: dict[str, SelfTuningTraining] = {
    "smoke": replace(_DEMO, distribution="small-mix", meta_updates=20, log_every=5, checkpoint_every=5),
    "selftuning-demo": _DEMO,
}
ABOUT = {
    "smoke": "trains, checkpoints and ends in under a minute",
    "selftuning-demo": "discount, lambda and weights of an actor-critic's loss, on layouts of 5x5 cells",
}
"""A line on each preset and distribution."""
