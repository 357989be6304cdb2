"""Disco as the command and the training loop see it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from metaobj.common.configuration import from_json
from metaobj.common.evaluation.baselines import on_policy_baselines
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import EvaluationProtocol
from metaobj.common.lifetimes.distributions import make_distribution
from metaobj.common.objectives import file
from metaobj.common.objectives.plugin import META_GRADIENT, Plugin
from metaobj.disco.config import ABOUT, DISTRIBUTIONS, PRESETS, DiscoTraining
from metaobj.disco.convert import CARD, PUBLISHED, convert
from metaobj.disco.inspection import inspect
from metaobj.disco.interface import LoadedDisco
from metaobj.disco.objective import Disco, DiscoConfig, DiscoMetaLoss
from metaobj.disco.programs import programs, trials
from metaobj.disco.start import distil


def _baselines(config: DiscoTraining) -> list[Method]:
    return on_policy_baselines(config.rollout_steps, config.discount, config.value)


def _describe(config: DiscoTraining) -> dict[str, Any]:
    return {"network": asdict(config.network), "meta_loss": asdict(config.meta_loss)}


def _rebuild(description: Mapping[str, Any]) -> Disco:
    network = from_json(DiscoConfig, description["network"], "network")
    return Disco(network, from_json(DiscoMetaLoss, description["meta_loss"], "meta_loss"))


def _convert(path: Path, out: Path) -> Sequence[str]:
    """Write the published weights as an objective file."""
    eta, checksum = convert(path)
    config = PRESETS["disco103"]
    metadata = {
        "kind": plugin.kind,
        "objective": plugin.describe(config),
        "configuration": asdict(config),
        "entries": [asdict(entry) for entry in make_distribution(config.distribution, 1, DISTRIBUTIONS)],
        "hyperparameters": {},
        "settings": [],
        "card": {**CARD, "checksum": checksum, "published": checksum == PUBLISHED},
    }
    file.save(out, eta, metadata)
    known = "the published Disco103" if checksum == PUBLISHED else "not the published Disco103"
    return (f"SHA-256 {checksum}, {known}", CARD["paper"], CARD["licence"])


plugin = Plugin(
    kind="disco",
    title="Disco",
    summary="DiscoRL (Oh et al. 2025): targets for a policy and two learned predictions, action values",
    presets=PRESETS,
    default_preset="disco-demo",
    distributions=DISTRIBUTIONS,
    about=ABOUT,
    build=lambda config: Disco(config.network, config.meta_loss),
    programs=programs,
    trials=trials,
    start=distil,
    baselines=_baselines,
    hyperparameters=lambda config: {},
    describe=_describe,
    rebuild=_rebuild,
    interface=LoadedDisco.of,
    protocol=EvaluationProtocol(seeds=8, tuning_seeds=2),
    suite="control",
    inspect=inspect,
    convert=_convert,
    charts={
        "value_loss": "loss of the value function",
        "policy_entropy": "entropy of policies, nats",
        "policy_kl": "KL of policies from their targets, nats",
        "policy_drift": "KL of targets from the target network's, nats",
        "value_error": "mean square of the values' errors",
        "meta_gradient_norm": META_GRADIENT["meta_gradient_norm"],
    },
    live={"policy_entropy": "H(pi) {:.2f}"},
)
