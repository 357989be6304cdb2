"""Configuration of meta-training that every objective shares."""

from dataclasses import dataclass, field
from typing import Literal

from common.errors import UserError
from common.hyperparameters import SamplerConfig
from common.value_function import ValueConfig


@dataclass(frozen=True)
class MetaTrainingConfig:
    """How an objective is meta-trained."""

    distribution: str = "small-layouts"
    """A distribution's name, several joined by "+", or an environment's name."""
    scale: int = 1
    """Multiplies the distribution's lifetimes."""
    meta_updates: int = 300
    inner_updates: int = 5
    """K, agent updates that each meta-gradient goes through."""
    rollout_steps: int = 20
    """T, steps per environment and update."""
    discount: float = 0.995
    learning_rate: float = 1e-3
    """Of the objective's Adam."""
    schedule: Literal["constant", "cosine"] = "cosine"
    """Of that learning rate, over all meta-updates."""
    lifetime_gradient_clip: float = 0.1
    """Each lifetime's meta-gradient is scaled to at most this global norm before the mean; 0 leaves it as it is."""
    seed: int = 0
    chunk: int = 32
    """At most so many lifetimes of a family and device are differentiated at once; sets memory, not results."""
    remat: bool = False
    """Recompute the objective's forward pass in the reverse pass: less memory, more time, the same gradient."""
    log_every: int = 10
    """Meta-updates per compiled chunk and per line of metrics."""
    checkpoint_every: int = 50
    """Meta-updates between checkpoints; also saved at the end and at a signal."""
    keep_checkpoints: int = 3
    value: ValueConfig = field(default_factory=ValueConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)

    def __post_init__(self) -> None:
        positive = (
            "scale meta_updates inner_updates rollout_steps learning_rate chunk log_every checkpoint_every "
            "keep_checkpoints"
        )
        for name in positive.split():
            if not getattr(self, name) > 0:
                raise UserError(f"{name}: {getattr(self, name)} given; must be greater than 0")
        for name in ("lifetime_gradient_clip", "seed"):
            if not getattr(self, name) >= 0:
                raise UserError(f"{name}: {getattr(self, name)} given; must be at least 0")
        if not 0 <= self.discount <= 1:
            raise UserError(f"discount: {self.discount} given; must be within 0 to 1")
        if self.meta_updates % self.log_every or self.checkpoint_every % self.log_every:
            raise UserError(
                f"log_every: {self.log_every} given; must divide meta_updates ({self.meta_updates}) and "
                f"checkpoint_every ({self.checkpoint_every})"
            )
