"""LPG as the command and the training loop see it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metaobj.common.evaluation.baselines import a2c
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import Protocol
from metaobj.common.lifetimes.lifetime import ProgramMaker
from metaobj.common.lifetimes.on_policy import on_policy
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.objectives.plugin import Plugin
from metaobj.common.rules.on_policy import UpdateRule
from metaobj.lpg.config import PRESETS, LPGTraining
from metaobj.lpg.inspection import inspect
from metaobj.lpg.interface import LoadedLPG
from metaobj.lpg.meta_loss import MetaLossConfig
from metaobj.lpg.objective import LPG, LPGConfig


def _build(config: MetaTrainingConfig) -> LPG:
    assert isinstance(config, LPGTraining)
    return LPG(config.network, config.meta_loss)


def _programs(config: LPGTraining, rule: UpdateRule) -> ProgramMaker:
    return on_policy(
        rule,
        rollout_steps=config.rollout_steps,
        discount=config.discount,
        value=config.value,
        remat=config.remat,
    )


def _baselines(config: LPGTraining) -> list[Method]:
    return [a2c(config.rollout_steps, config.discount, config.value)]


def _hyperparameters(config: MetaTrainingConfig) -> Mapping[str, Sequence[float]]:
    assert isinstance(config, LPGTraining)
    return {"kl_weight": config.kl_weights}


def _describe(config: MetaTrainingConfig) -> dict[str, Any]:
    assert isinstance(config, LPGTraining)
    return {"network": asdict(config.network), "meta_loss": asdict(config.meta_loss)}


def _rebuild(description: Mapping[str, Any]) -> LPG:
    return LPG(LPGConfig(**description["network"]), MetaLossConfig(**description["meta_loss"]))


plugin = Plugin(
    kind="lpg",
    summary="learned policy gradient (Oh et al. 2020): on-policy, discrete actions, update targets",
    presets=PRESETS,
    default_preset="lpg-demo",
    build=_build,
    programs=_programs,
    baselines=_baselines,
    hyperparameters=_hyperparameters,
    describe=_describe,
    rebuild=_rebuild,
    interface=LoadedLPG,
    protocol=Protocol(),
    suite="held-out-layouts",
    inspect=inspect,
)
