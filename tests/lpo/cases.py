"""An LPO with random weights, as a file."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import jax

from metaobj.common.lifetimes.distributions import DENSE, Entry
from metaobj.common.objectives import file
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import PyTree
from metaobj.lpo.config import PRESETS, LPOTraining
from metaobj.lpo.objective import LPO, LPOConfig
from metaobj.lpo.plugin import plugin

ENTRY = Entry("tests.worlds:OBSERVED_LESSON", 4, 4, 12, (0.02, 0.05), DENSE)
TINY = replace(
    PRESETS["smoke"],
    distribution="tiny-lpo",
    life=1.0,
    meta_updates=3,
    es_sigma=0.5,
    log_every=1,
    checkpoint_every=1,
    network=LPOConfig(units=8),
    entropy_weights=(0.01,),
)


def random_weights(objective: LPO, seed: int = 0, size: float = 1.0) -> PyTree:
    """Unlike fresh ones, which say nothing."""
    leaves, structure = jax.tree.flatten(objective.init(jax.random.key(seed)))
    keys = jax.random.split(jax.random.key(seed + 1), len(leaves))
    return jax.tree.unflatten(
        structure, [size * jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    )


def saved(folder: Path, config: LPOTraining = TINY) -> Loaded[Any, Any]:
    """Written, and read again."""
    path = folder / "random.safetensors"
    metadata = {
        "kind": "lpo",
        "objective": plugin.describe(config),
        "configuration": asdict(config),
        "entries": [asdict(ENTRY)],
        "hyperparameters": {"entropy_weight": list(config.entropy_weights)},
    }
    file.save(path, random_weights(config.rule), metadata)
    return load_objective(path)
