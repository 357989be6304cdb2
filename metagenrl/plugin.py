"""MetaGenRL as the command and the training loop see it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metaobj.common.configuration import from_json
from metaobj.common.environments.protocol import Environment
from metaobj.common.evaluation.baselines import ddpg, ppo, td3
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import EvaluationProtocol
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives.plugin import META_GRADIENT, Plugin
from metaobj.metagenrl.config import ABOUT, DISTRIBUTIONS, PRESETS, MetaGenRLTraining
from metaobj.metagenrl.exported import export
from metaobj.metagenrl.inspection import inspect
from metaobj.metagenrl.interface import LoadedMetaGenRL
from metaobj.metagenrl.meta_loss import MetaOffPolicy, meta_off_policy
from metaobj.metagenrl.objective import MetaGenRL, MetaGenRLConfig


def _build(config: MetaGenRLTraining) -> MetaGenRL:
    return MetaGenRL(config.network)


def _programs(config: MetaGenRLTraining, rule: MetaGenRL) -> Callable[[Entry, Environment], MetaOffPolicy]:
    del rule  # every rule's agents are the same
    return meta_off_policy(
        rollout_steps=config.rollout_steps, discount=config.discount, agent=config.agent, meta=config.meta
    )


def _baselines(config: MetaGenRLTraining) -> list[Method]:
    shared = (config.rollout_steps, config.discount, config.agent)
    # Critics learn alike whatever the policy descends: their rates are those that the objective was trained with.
    rates = config.critic_learning_rates
    return [ddpg(*shared, rates), td3(*shared, rates), ppo(*shared)]


def _hyperparameters(config: MetaGenRLTraining) -> Mapping[str, Sequence[float]]:
    return {
        "critic_learning_rate": config.critic_learning_rates,
        "exploration_noise": config.exploration_noises,
    }


def _describe(config: MetaGenRLTraining) -> dict[str, Any]:
    return {"network": asdict(config.network)}


def _rebuild(description: Mapping[str, Any]) -> MetaGenRL:
    return MetaGenRL(from_json(MetaGenRLConfig, description["network"], "network"))


plugin = Plugin(
    kind="metagenrl",
    title="MetaGenRL",
    summary="MetaGenRL (Kirsch et al. 2020): off-policy, continuous actions, a loss judged by the agent's critic",
    presets=PRESETS,
    default_preset="metagenrl-demo",
    distributions=DISTRIBUTIONS,
    about=ABOUT,
    build=_build,
    programs=_programs,
    baselines=_baselines,
    hyperparameters=_hyperparameters,
    describe=_describe,
    rebuild=_rebuild,
    interface=LoadedMetaGenRL.of,
    protocol=EvaluationProtocol(seeds=8, tuning_seeds=8, bins=10, longest_tuning_life=800),
    suite="small-control",
    inspect=inspect,
    export=export,
    yardstick=True,
    charts={
        "cosine": "cosine of the loss's direction and the critic's",
        "saturation": "share of saturated actions",
        "critic_loss": "loss of the critics",
        **META_GRADIENT,
    },
    live={"cosine": "cosine {:.2f}"},
)
