"""Twenty meta-updates in float64, on several devices or as one of several processes; a program for test_spread.py.

    python -m tests.spread KIND FOLDER [--devices N] [--from FOLDER] [--save FOLDER] [--coordinator ...]

FOLDER gets `eta.npz` and `metrics.npz`. Populations are of sizes that few numbers divide.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from metaobj.common.agents.settings import AgentSettings
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, DISTRIBUTIONS, Entry
from metaobj.common.objectives.file import flatten
from metaobj.common.objectives.plugin import get_plugin
from metaobj.common.objectives.train import make_trainer
from metaobj.common.processes import Cluster, agreed, find_cluster, is_first, join, leave
from metaobj.common.runs.checkpoint import Checkpoints
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.objective import LPGConfig
from metaobj.metagenrl.config import PRESETS
from metaobj.metagenrl.objective import MetaGenRLConfig

HALF = 10
DISTRIBUTIONS["uneven"] = (
    Entry("tests.worlds:RING", 5, 2, 6, (0.1, 2.0)),
    Entry("tests.worlds:PAIR", 3, 2, 6, (0.1, 2.0)),
)
DISTRIBUTIONS["uneven-pairs"] = tuple(replace(entry, lifetimes=6) for entry in DISTRIBUTIONS["uneven"])
DISTRIBUTIONS["uneven-control"] = (Entry("tests.worlds_continuous:LINE", 5, 2, 8, (1e-3, 3e-3), ACTOR_CRITIC),)
CONFIGS = {
    "lpg": LPGTraining(
        distribution="uneven",
        meta_updates=2 * HALF,
        log_every=HALF,
        checkpoint_every=HALF,
        inner_updates=2,
        rollout_steps=3,
        learning_rate=0.01,
        network=LPGConfig(units=5, prediction_size=4, embedding_units=3),
    ),
    "metagenrl": replace(
        PRESETS["smoke"],
        distribution="uneven-control",
        meta_updates=2 * HALF,
        log_every=HALF,
        checkpoint_every=HALF,
        network=MetaGenRLConfig(units=4),
        agent=AgentSettings(
            hidden=(4,), replay_steps=160, random_steps=32, windows=2, window_steps=5, test_environments=2
        ),
    ),
}


def run(kind: str, devices: int | None, begin: Path | None, save: Path | None, **changes: Any) -> tuple[Any, Any]:
    """Eta after all meta-updates, and the metrics of the second half of them.

    Args:
        kind: of the objective.
        devices: over how many devices.
        begin: where the checkpoint lies that the second half begins with; by default the first half is run.
        save: where a checkpoint of the first half is left.
        changes: of the configuration.
    """
    trainer = make_trainer(get_plugin(kind), replace(CONFIGS[kind], **changes), devices)
    state = trainer.init()
    half = trainer.run_chunk.lower(state).compile()
    if begin is None:
        state, _ = half(state)
    else:
        found = Checkpoints(begin, rows=trainer.rows(state)).restore_latest(state)
        assert found is not None and found[0] == HALF
        state = found[1]
    if save is not None:
        Checkpoints(save, rows=trainer.rows(state)).save(HALF, state)
    state, metrics = half(state)
    return jax.device_get(state.eta), jax.device_get(metrics)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("kind")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--devices", type=int)
    parser.add_argument("--from", type=Path, dest="begin")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--coordinator")
    parser.add_argument("--process", type=int)
    parser.add_argument("--processes", type=int)
    given = parser.parse_args()
    jax.config.update("jax_enable_x64", True)
    cluster = find_cluster(Cluster(given.coordinator, given.process, given.processes), os.environ)
    if cluster is not None:
        join(cluster)
    eta, metrics = run(given.kind, given.devices, given.begin, given.save)
    if is_first():
        given.folder.mkdir(parents=True, exist_ok=True)
        np.savez(given.folder / "eta.npz", **flatten(eta))
        np.savez(given.folder / "metrics.npz", **metrics)
    with agreed():
        pass
    leave()
