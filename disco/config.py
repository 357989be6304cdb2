"""Disco's configuration and presets."""

from dataclasses import dataclass, field, replace
from typing import Literal

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.replayed import ReplayConfig
from metaobj.common.lifetimes.sampler import SamplerConfig
from metaobj.common.meta.config import MetaTrainingConfig, check_start
from metaobj.disco.agent import ModelConfig
from metaobj.disco.objective import DiscoConfig, DiscoMetaLoss


@dataclass(frozen=True)
class DiscoTraining(MetaTrainingConfig):
    """Meta-training of Disco, and how its agents learn."""

    network: DiscoConfig = field(default_factory=DiscoConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    start: Literal["none", "muesli"] = "none"
    """Distil a policy improvement that people wrote into the network before the first meta-update, see
    `disco/start.py`.
    """
    start_updates: int = 5000
    """How long that takes, in updates of eta."""
    meta_loss: DiscoMetaLoss = field(default_factory=DiscoMetaLoss)
    discount: float = 0.99
    """gamma of the value function that judges agents; their own action values have `network.discount`."""
    replay: ReplayConfig = field(default_factory=ReplayConfig)
    """What agents learn from where no meta-gradient goes through their updates."""
    remat: bool = False
    """Recompute the objective's forward pass in the reverse pass: less memory, more time, the same gradient."""
    value: ValueConfig = field(default_factory=lambda: ValueConfig(learning_rate=3e-2))
    """Of the lifetimes' value functions, which judge agents."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_start(self)
        if self.replay.trajectories and self.value.scale_rewards:
            raise UserError("value.scale_rewards: true given; must be false where trajectories of all ages are stored")


RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)
"""Of agents: 1e-4 to 5e-4 in the paper's large suites, 1e-2 in the published code's small one."""
WIDE = AgentConfig("dense", hidden=(64, 64))
DISTRIBUTIONS: dict[str, tuple[Entry, ...]] = {
    "disco-worlds": (
        Entry("grid/moving_any_small", 4, 8, 400, RATES, WIDE),
        Entry("grid/moving_survive", 2, 8, 600, RATES, WIDE),
        Entry("grid/moving_negative", 2, 8, 300, RATES, WIDE),
        Entry("control/balance/varied", 4, 8, 600, RATES, WIDE),
    ),
}
_SMALL = DiscoTraining(
    distribution="disco-worlds",
    meta_updates=200,
    inner_updates=2,
    learning_rate=5e-4,
    lifetime_adam=True,
    lifetime_gradient_clip=1.0,
    network=DiscoConfig(units=64, life_units=32, categories=32),
    model=ModelConfig(32, 32),
    chunk=16,
    sampler=SamplerConfig(),
)
PRESETS: dict[str, DiscoTraining] = {
    "smoke": replace(
        _SMALL,
        meta_updates=4,
        log_every=2,
        checkpoint_every=2,
        network=DiscoConfig(8, 4, 4, 8),
        model=ModelConfig(8, 8),
    ),
    "disco-demo": _SMALL,
    "disco-cpu": replace(
        _SMALL,
        start="muesli",
        learning_rate=1e-4,
        model=replace(_SMALL.model, first_values=0.0),
        meta_loss=DiscoMetaLoss(anchor=0.1),
    ),
    # As in the published evaluation, but for rollouts of 20 steps, which all suites here have, and the value function.
    "disco103": DiscoTraining(
        distribution="disco-worlds",
        meta_updates=200,
        inner_updates=2,
        learning_rate=1e-4,
        lifetime_adam=True,
        lifetime_gradient_clip=1.0,
        discount=0.997,
        replay=ReplayConfig(1024, 64),
        chunk=4,
    ),
}
ABOUT = {
    "smoke": "trains, checkpoints and ends in a few minutes",
    "disco-demo": "a small network from noise, on small worlds with networks",
    "disco-cpu": "likewise from a policy improvement that people wrote, learnt first",
    "disco103": "the published sizes, to go on from with --init pretrained:disco103",
    "disco-worlds": "small grids and pendulums of varied physics, seen by networks",
}
"""A line on each preset and distribution."""
