"""LPO as the command and the training loop see it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metaobj.common.configuration import from_json
from metaobj.common.evaluation.baselines import discrete_ppo, dpo
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import EvaluationProtocol
from metaobj.common.lifetimes.lifetime import ProgramMaker
from metaobj.common.lifetimes.ppo import PPO, ppo_agents
from metaobj.common.objectives.plugin import META_GRADIENT, Distilling, Plugin
from metaobj.lpo.config import ABOUT, DISTRIBUTIONS, PRESETS, LPOTraining
from metaobj.lpo.exported import export
from metaobj.lpo.formulas import Samples, formulas
from metaobj.lpo.inspection import inspect
from metaobj.lpo.interface import LoadedLPO
from metaobj.lpo.objective import LPO, LPOConfig


def _programs(config: LPOTraining, rule: LPO) -> ProgramMaker[PPO]:
    del rule  # every rule's agents are the same
    return ppo_agents(rollout_steps=config.rollout_steps, discount=config.discount, settings=config.ppo)


def _baselines(config: LPOTraining) -> list[Method]:
    """With the same agents and settings: they differ in the drift alone."""
    steps, discount, settings = config.rollout_steps, config.discount, config.ppo
    return [discrete_ppo(steps, discount=discount, settings=settings), dpo(steps, discount, settings)]


def _hyperparameters(config: LPOTraining) -> Mapping[str, Sequence[float]]:
    return {"entropy_weight": config.entropy_weights}


def _describe(config: LPOTraining) -> dict[str, Any]:
    return {"network": asdict(config.network)}


def _rebuild(description: Mapping[str, Any]) -> LPO:
    return LPO(from_json(LPOConfig, description["network"], "network"))


plugin = Plugin(
    kind="lpo",
    title="LPO",
    summary="learned policy optimisation (Lu et al. 2022): PPO's agents, a learned drift, evolution strategies",
    presets=PRESETS,
    default_preset="lpo-demo",
    distributions=DISTRIBUTIONS,
    about=ABOUT,
    build=lambda config: config.rule,
    programs=_programs,
    baselines=_baselines,
    hyperparameters=_hyperparameters,
    describe=_describe,
    rebuild=_rebuild,
    interface=LoadedLPO.of,
    protocol=EvaluationProtocol(seeds=16, tuning_seeds=4),
    suite="CartPole-v1",
    inspect=inspect,
    export=export,
    distil=Distilling(Samples(), formulas),
    charts={
        "meta_loss": "meta-loss",
        "meta_gradient_norm": META_GRADIENT["meta_gradient_norm"],
        "gradient_norm": "norm of lifetimes' meta-gradients, mean",
    },
)
