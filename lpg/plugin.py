"""LPG as the command and the training loop see it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from metaobj.common.configuration import from_json
from metaobj.common.evaluation.baselines import on_policy_baselines
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import EvaluationProtocol
from metaobj.common.objectives.plugin import META_GRADIENT, Distilling, Plugin
from metaobj.lpg.config import ABOUT, DISTRIBUTIONS, PRESETS, LPGTraining
from metaobj.lpg.exported import export
from metaobj.lpg.inspection import inspect
from metaobj.lpg.interface import LoadedLPG
from metaobj.lpg.meta_loss import MetaLossConfig
from metaobj.lpg.objective import LPG, LPGConfig
from metaobj.lpg.programs import programs
from metaobj.lpg.smaller import Smaller, smaller
from metaobj.lpg.start import distil


def _build(config: LPGTraining) -> LPG:
    return LPG(config.network, config.meta_loss)


def _baselines(config: LPGTraining) -> list[Method]:
    return on_policy_baselines(config.rollout_steps, config.discount, config.value)


def _hyperparameters(config: LPGTraining) -> Mapping[str, Sequence[float]]:
    return {"kl_weight": config.kl_weights}


def _describe(config: LPGTraining) -> dict[str, Any]:
    return {"network": asdict(config.network), "meta_loss": asdict(config.meta_loss)}


def _rebuild(description: Mapping[str, Any]) -> LPG:
    network = from_json(LPGConfig, description["network"], "network")
    return LPG(network, from_json(MetaLossConfig, description["meta_loss"], "meta_loss"))


plugin = Plugin(
    kind="lpg",
    title="LPG",
    summary="learned policy gradient (Oh et al. 2020): on-policy, discrete actions, update targets",
    presets=PRESETS,
    default_preset="lpg-demo",
    distributions=DISTRIBUTIONS,
    about=ABOUT,
    build=_build,
    programs=programs,
    baselines=_baselines,
    hyperparameters=_hyperparameters,
    describe=_describe,
    rebuild=_rebuild,
    interface=LoadedLPG.of,
    protocol=EvaluationProtocol(),
    suite="held-out-layouts",
    inspect=inspect,
    export=export,
    yardstick=True,
    start=distil,
    distil=Distilling(Smaller(), smaller),
    elsewhere=("pretrained:lpg-value-cpu", "CartPole-v1"),
    demo_seconds=(75, 111, 55, 44),
    name=lambda rule: "LPG+V" if rule.config.value_inputs else "LPG",
    charts={
        "value_loss": "loss of the value function",
        "policy_entropy": "entropy of policies, nats",
        "prediction_entropy": "entropy of predictions y, nats",
        "kl": "KL of y from its target, nats",
        "pi_hat_squared": "mean square of the policy target",
        **META_GRADIENT,
    },
    live={"policy_entropy": "H(pi) {:.2f}"},
)
