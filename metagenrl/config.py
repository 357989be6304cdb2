"""MetaGenRL's configuration and presets."""

from dataclasses import dataclass, field, replace

from metaobj.common.agents.settings import AgentSettings
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, Entry
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.metagenrl.meta_loss import MetaSettings
from metaobj.metagenrl.objective import MetaGenRLConfig


@dataclass(frozen=True)
class MetaGenRLTraining(MetaTrainingConfig):
    """Meta-training of MetaGenRL."""

    network: MetaGenRLConfig = field(default_factory=MetaGenRLConfig)
    agent: AgentSettings = field(default_factory=AgentSettings)
    meta: MetaSettings = field(default_factory=MetaSettings)
    critic_learning_rates: tuple[float, ...] = (3e-3,)
    """Values that the sampler chooses from for the learning rate of the critics' Adam."""
    exploration_noises: tuple[float, ...] = (0.3, 0.5)
    """Values that the sampler chooses from for the standard deviation of the noise on actions in [-1, 1]."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.paired and self.meta.warm_start:
            raise UserError(
                f"meta.warm_start: {self.meta.warm_start} given; must be 0 for {self.estimator}, where policies "
                "learn from the learned loss alone"
            )


DISTRIBUTIONS: dict[str, tuple[Entry, ...]] = {
    # Ten agents each, one environment an agent, never renewed: a lifetime is longer than any run.
    "metagenrl-paper": tuple(
        Entry(f"brax/{name}", 10, 1, 2**30, (1e-3,), ACTOR_CRITIC) for name in ("halfcheetah", "hopper")
    ),
}

_OUTCOMES = MetaGenRLConfig(td_error=True, product=True, centred=True)
"""A loss that tells actions apart by what came of them alone; a free one finds other ways to please a critic."""
_SMALL = AgentSettings(
    replay_steps=20_000, windows=16, critic_updates=1, policy_updates=2, target_step_size=0.02, saturation_penalty=0.1
)
"""As many updates of the policy as of the critics: a learned loss takes smaller steps than a critic's gradient."""

_DEMO = MetaGenRLTraining(
    distribution="small-control",
    meta_updates=3000,
    inner_updates=1,
    rollout_steps=2,
    discount=0.95,
    learning_rate=5e-3,
    log_every=50,
    checkpoint_every=500,
    lifetime_gradient_clip=1.0,
    network=_OUTCOMES,
    agent=_SMALL,
    meta=MetaSettings(warm_start=300),
)

PRESETS: dict[str, MetaGenRLTraining] = {
    "smoke": MetaGenRLTraining(
        distribution="small-control",
        meta_updates=20,
        inner_updates=1,
        rollout_steps=2,
        discount=0.99,
        log_every=5,
        checkpoint_every=5,
        lifetime_gradient_clip=1.0,
        agent=AgentSettings(replay_steps=4000, random_steps=400, windows=8),
    ),
    "metagenrl-demo": _DEMO,
    "metagenrl-cpu": replace(_DEMO, meta_updates=10_000, checkpoint_every=1000),
    "metagenrl-paper": MetaGenRLTraining(
        distribution="metagenrl-paper",
        meta_updates=350_000,
        inner_updates=1,
        rollout_steps=2,
        discount=0.99,
        schedule="constant",
        log_every=50,
        checkpoint_every=5000,
        lifetime_gradient_clip=1.0,
        critic_learning_rates=(1e-3,),
        exploration_noises=(0.1,),
        agent=AgentSettings(
            hidden=(350, 350),
            replay_steps=1_000_000,
            random_steps=10_000,
            windows=100,
            scale_rewards=False,
            time_limits_end=True,
            end_bonus=1.0,
        ),
        meta=MetaSettings(
            inner_learning_rate=1e-3,
            inner_optimiser="sgd",
            inner_step="sum",
            judge_critic="first",
            judge_windows="all",
            scale_judge=False,
            warm_start=5_000,  # 10 000 environment steps: a meta-update is two
        ),
    ),
}
ABOUT = {
    "smoke": "trains, checkpoints and ends in under a minute",
    "metagenrl-demo": "pendulums and point masses of varied physics, for two cores; ships as pretrained:metagenrl-demo",
    "metagenrl-cpu": "the same for more than three times as long",
    "metagenrl-paper": "as published by Kirsch et al. 2020, on Brax's halfcheetah and hopper; for accelerators",
}
"""A line on each preset and distribution."""
