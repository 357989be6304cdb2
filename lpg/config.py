"""LPG's configuration and presets."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import (
    DENSE,
    MOVING_GRIDS,
    NETWORK_RATES,
    TABULAR_CHAINS,
    TABULAR_GRIDS,
    Entry,
)
from metaobj.common.lifetimes.sampler import SamplerConfig
from metaobj.common.meta.config import MetaTrainingConfig, check_start
from metaobj.common.meta.objectives import Bootstrapped, MetaObjective
from metaobj.lpg.actor_critic import ActorCritic
from metaobj.lpg.meta_loss import MetaLossConfig
from metaobj.lpg.objective import LPGConfig


@dataclass(frozen=True)
class LPGTraining(MetaTrainingConfig):
    """Meta-training of LPG."""

    network: LPGConfig = field(default_factory=LPGConfig)
    meta_loss: MetaLossConfig = field(default_factory=MetaLossConfig)
    start: Literal["none", "actor-critic"] = "none"
    """Distil a rule that a person wrote with LPG's own heads into the network before the first meta-update, see
    `lpg/start.py`. LPG+V starts as A2C by itself.
    """
    start_updates: int = 1500
    """How long that takes, in updates of eta."""
    remat: bool = False
    """Recompute the objective's forward pass in the reverse pass: less memory, more time, the same gradient."""
    value: ValueConfig = field(default_factory=ValueConfig)
    kl_weights: tuple[float, ...] = (0.1, 0.5, 1.0)
    """Values that the sampler chooses from for alpha_y, the weight of an agent's prediction loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_start(self)
        if self.start != "none":
            self._check_rule(f"start: {self.start} given; must be none")
        if self.meta_loss.anchor:
            given = f"meta_loss.anchor: {self.meta_loss.anchor:g} given; must be 0"
            self._check_rule(given)
            if self.value.lambda_ != ActorCritic.lambda_:
                raise UserError(
                    f"{given} with value.lambda_ {self.value.lambda_:g}: the rule's is {ActorCritic.lambda_:g}"
                )
        _ = self.meta_objective  # which checks what it is made of
        if not self.kl_weights or any(not 0 <= weight < math.inf for weight in self.kl_weights):
            given = " ".join(map(str, self.kl_weights)) or "nothing"
            raise UserError(f"kl_weights: {given} given; must be one or more finite numbers, at least 0")

    @property
    def meta_objective(self) -> MetaObjective:
        if not self.meta_loss.look_ahead:
            return super().meta_objective
        if self.mix:
            raise UserError(f"mix: {self.mix:g} given; must be 0 where meta_loss.look_ahead is not")
        return Bootstrapped(self.meta_loss.look_ahead)

    def _check_rule(self, given: str) -> None:
        """Raises:
        UserError: the network cannot hold the hand-written rule; the line begins with what was `given`.
        """
        if self.network.value_inputs:
            raise UserError(f"{given} with network.value_inputs, which starts as A2C by itself")
        if not self.value.scale_rewards:
            raise UserError(f"{given} without value.scale_rewards: the rule knows returns of about 1")
        if not self.network.bootstrap:
            raise UserError(f"{given} without network.bootstrap: the rule reads y")
        if self.network.prediction_size < 2:
            raise UserError(f"{given} with network.prediction_size {self.network.prediction_size}: it needs 2 or more")


_SMALL = LPGConfig(units=32, prediction_size=8)
_CAREFUL = MetaLossConfig(policy_entropy=0.05)
"""A meta-loss with little entropy lets the rule grow greedy: K updates see no further."""

_PAPER_RATES = (20.0, 40.0, 80.0)
DISTRIBUTIONS: dict[str, tuple[Entry, ...]] = {
    "lpg-paper": (
        *(Entry(f"grid/{name}", 1, 64, 2500, _PAPER_RATES) for name in TABULAR_GRIDS),
        *(Entry(f"grid/{name}", 1, 64, 25_000, NETWORK_RATES, DENSE) for name in MOVING_GRIDS),
        *(Entry(f"chain/{name}", 1, 64, 2500, _PAPER_RATES) for name in TABULAR_CHAINS),
        Entry("chain/state_distractor", 1, 64, 2500, NETWORK_RATES, DENSE),
    ),
}
"""The fifteen training environments of Oh et al. 2020, equally often."""

GRIDS = LPGTraining(
    distribution="carry",
    scale=32,
    meta_updates=2000,
    discount=0.99,
    chunk=512,
    learning_rate=5e-4,
    log_every=10,
    checkpoint_every=200,
    network=LPGConfig(units=64, prediction_size=16),
    meta_loss=MetaLossConfig(policy_entropy=0.1, policy_target=0.005, scale_advantages=True),
    value=ValueConfig(learning_rate=3e-2, scale_rewards=True),
)
"""For one accelerator: 2048 lifetimes in four programs, each of which is a long row of small kernels that cost the same
for many lifetimes as for few.
"""

VALUE = replace(
    GRIDS,
    network=replace(GRIDS.network, value_inputs=True),
    meta_loss=replace(GRIDS.meta_loss, policy_entropy=0.02, policy_target=0.05),
)
"""The same for LPG+V, which starts as A2C: with more entropy in the meta-loss its agents end less greedy than A2C. What
it adds to A2C has to be worth more than its square: held a fiftieth as tightly it drifts, by what teaches nothing in K
updates, to a noise that does harm in a whole life.
"""

PRESETS: dict[str, LPGTraining] = {
    "smoke": LPGTraining(
        distribution="small-mix", meta_updates=20, log_every=5, checkpoint_every=5, network=_SMALL, meta_loss=_CAREFUL
    ),
    "lpg-demo": LPGTraining(
        distribution="small-layouts", meta_updates=400, checkpoint_every=100, network=_SMALL, meta_loss=_CAREFUL
    ),
    "lpg-cpu": replace(
        GRIDS,
        scale=1,
        meta_updates=540,
        init="pretrained:lpg-distilled",
        meta_loss=replace(GRIDS.meta_loss, policy_entropy=0.02, anchor=0.1),
        checkpoint_every=90,
    ),
    "lpg-tabular": LPGTraining(
        distribution="small-layouts+tabular",
        meta_updates=1600,
        log_every=20,
        checkpoint_every=200,
        network=_SMALL,
        meta_loss=_CAREFUL,
    ),
    "lpg-grids": GRIDS,
    "lpg-value": VALUE,
    "lpg-value-cpu": replace(VALUE, scale=1, meta_updates=340, learning_rate=1e-3, chunk=32, checkpoint_every=100),
    "lpg-paper": LPGTraining(
        distribution="lpg-paper",
        scale=64,
        meta_updates=100_000,
        learning_rate=1e-4,
        schedule="constant",
        lifetime_gradient_clip=0.0,
        log_every=20,
        checkpoint_every=200,
        sampler=SamplerConfig(window=10, bonus=0.2, temperature=0.1),
    ),
}
ABOUT = {
    "smoke": "trains, checkpoints and ends in under a minute",
    "lpg-demo": "layouts of 5x5 cells, an LSTM of 32; what `make demo` runs",
    "lpg-cpu": "many kinds of worlds, from a hand-written rule and held to it; pretrained:lpg-cpu is such a run",
    "lpg-tabular": "small layouts, grids, random small worlds and chains, from noise; ships as pretrained:lpg-tabular",
    "lpg-grids": "worlds of many kinds for a rule that is to carry to others, 2048 lifetimes, for one accelerator",
    "lpg-value": "the same for LPG+V, which reads the agent's value function too",
    "lpg-value-cpu": "LPG+V for two cores, 64 lifetimes; pretrained:lpg-value-cpu is such a run",
    "lpg-paper": "as published by Oh et al. 2020: fifteen environments, an LSTM of 256; for accelerators",
}
"""A line on each preset and distribution."""
