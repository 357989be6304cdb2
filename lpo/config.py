"""LPO's configuration and presets."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from metaobj.common.errors import UserError
from metaobj.common.evaluation.baselines import BASELINE_DISCOUNT, DISCRETE_PPO, PPO_ENTROPY_WEIGHTS, PPO_RATES
from metaobj.common.lifetimes.distributions import DENSE, Entry
from metaobj.common.lifetimes.ppo import PPOSettings
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.evolution import ES
from metaobj.lpo.objective import LPO, LPOConfig


@dataclass(frozen=True)
class LPOTraining(MetaTrainingConfig):
    """Meta-training of LPO. `rollout_steps` is the unit that lives are counted in; an update of PPO's agents takes
    `ppo.horizon` steps of each environment.
    """

    estimator: Literal["antithetic-es", "persistent-es"] = "persistent-es"
    """How the meta-gradient is taken: by what pairs of lifetimes earn whose weights differ, over K updates or over
    their whole lives. PPO's many steps down one rollout's loss are not differentiated.
    """
    inner_updates: int = 2
    """K, agent updates that lifetimes are judged by at once."""
    discount: float = BASELINE_DISCOUNT
    network: LPOConfig = field(default_factory=LPOConfig)
    ppo: PPOSettings = DISCRETE_PPO
    """How agents live."""
    entropy_weights: tuple[float, ...] = PPO_ENTROPY_WEIGHTS
    """Values that the sampler chooses from for the weight of an agent's entropy."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.estimator == ES and self.inner_updates < 2:
            raise UserError(
                f"inner_updates: {self.inner_updates} given; must be at least 2 for {ES}: what an update has learnt is "
                "first earned in the next one's rollout"
            )
        if not self.entropy_weights or any(not 0 <= weight < math.inf for weight in self.entropy_weights):
            given = " ".join(map(str, self.entropy_weights)) or "nothing"
            raise UserError(f"entropy_weights: {given} given; must be one or more finite numbers, at least 0")

    @property
    def rule(self) -> LPO:
        """What is learned."""
        return LPO(self.network)


DISTRIBUTIONS: dict[str, tuple[Entry, ...]] = {
    # Lifetimes are judged by what they earn per step, which must tell good agents from bad: not so where every step
    # pays alike until an episode ends. Lives are short, so that few perturbations are told apart in one.
    "lpo-small": (
        Entry("Catch-bsuite", 24, 8, 128, PPO_RATES, DENSE),
        Entry("chain/state_distractor", 8, 8, 128, PPO_RATES, DENSE),
    ),
}

_DEMO = LPOTraining(
    distribution="lpo-small", meta_updates=200, learning_rate=3e-3, es_sigma=0.1, log_every=10, checkpoint_every=100
)
PRESETS: dict[str, LPOTraining] = {
    "smoke": replace(
        _DEMO,
        distribution="Catch-bsuite",
        life=0.2,
        meta_updates=10,
        log_every=5,
        checkpoint_every=5,
        ppo=PPOSettings(horizon=20, epochs=2, minibatches=2),
    ),
    "lpo-demo": _DEMO,
}
ABOUT = {
    "smoke": "trains, checkpoints and ends in under a minute",
    "lpo-demo": "persistent evolution strategies on Catch and a chain, agents with networks",
    "lpo-small": "Catch and a chain with states that say nothing, short lives of agents with networks",
}
"""A line on each preset and distribution."""
