"""Self-tuning agents as the command and the training loop see them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from metaobj.common.configuration import from_json
from metaobj.common.evaluation.baselines import on_policy_baselines
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import EvaluationProtocol
from metaobj.common.lifetimes.lifetime import ProgramMaker
from metaobj.common.lifetimes.on_policy import on_policy
from metaobj.common.objectives.plugin import META_GRADIENT, Plugin
from metaobj.selftuning.config import ABOUT, PRESETS, SelfTuningTraining
from metaobj.selftuning.inspection import inspect
from metaobj.selftuning.interface import LoadedSelfTuning
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.methods import methods
from metaobj.selftuning.rule import Numbers, SelfTuning


def _programs(config: SelfTuningTraining, rule: SelfTuning) -> ProgramMaker[Any]:
    return on_policy(rule, rollout_steps=config.rollout_steps, discount=config.discount, value=config.value)


def _baselines(config: SelfTuningTraining) -> list[Method]:
    return on_policy_baselines(config.rollout_steps, config.discount, config.value)


def _describe(config: SelfTuningTraining) -> dict[str, Any]:
    return {"inner": asdict(config.inner), "outer": asdict(config.outer), "auxiliary": config.auxiliary}


def _rebuild(description: Mapping[str, Any]) -> SelfTuning:
    inner = from_json(Numbers, description["inner"], "inner")
    return SelfTuning(inner, from_json(Outer, description["outer"], "outer"), int(description["auxiliary"]))


plugin = Plugin(
    kind="selftuning",
    title="SelfTuning",
    summary="an actor-critic whose discount, lambda and loss weights are tuned by meta-gradients (Xu et al. 2018)",
    presets=PRESETS,
    default_preset="selftuning-demo",
    distributions={},
    about=ABOUT,
    build=lambda config: config.rule,
    programs=_programs,
    baselines=_baselines,
    hyperparameters=lambda config: {},
    describe=_describe,
    rebuild=_rebuild,
    interface=LoadedSelfTuning.of,
    protocol=EvaluationProtocol(),
    suite="held-out-layouts",
    inspect=inspect,
    methods=methods,
    charts={
        "value_loss": "loss of the value function",
        "policy_entropy": "entropy of policies, nats",
        "discount": "discount",
        "lambda_": "lambda",
        "entropy_weight": "weight of the entropy",
        "meta_gradient_norm": META_GRADIENT["meta_gradient_norm"],
    },
)
