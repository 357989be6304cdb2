"""Twenty meta-updates on some devices of one process or of several; `python -m tests.spreading` runs them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.settings import AgentSettings
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, DISTRIBUTIONS, Entry
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.objectives.file import flatten
from metaobj.common.objectives.plugin import get_plugin
from metaobj.common.objectives.train import make_trainer
from metaobj.common.processes import is_first
from metaobj.common.runs.checkpoint import Checkpoints
from metaobj.disco.config import PRESETS as OF_DISCO
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.objective import LPGConfig
from metaobj.metagenrl.config import PRESETS
from metaobj.metagenrl.objective import MetaGenRLConfig

HALF = 10
LENGTHS: dict[str, Any] = {"meta_updates": 2 * HALF, "log_every": HALF, "checkpoint_every": HALF}
RING, PAIR = (Entry(f"tests.worlds:{name}", 5, 2, 6, (0.1, 2.0)) for name in ("RING", "PAIR"))
DISTRIBUTIONS["tiny-uneven"] = (RING,)
DISTRIBUTIONS["tiny-uneven-families"] = (RING, replace(PAIR, lifetimes=3))
DISTRIBUTIONS["tiny-uneven-pairs"] = (replace(RING, lifetimes=6), replace(PAIR, lifetimes=6))
DISTRIBUTIONS["tiny-uneven-control"] = (Entry("tests.worlds_continuous:LINE", 5, 2, 8, (1e-3, 3e-3), ACTOR_CRITIC),)
DISTRIBUTIONS["tiny-uneven-networks"] = (
    Entry("tests.worlds:OBSERVED_RING", 5, 2, 6, (1e-2,), AgentConfig("dense", hidden=(4,))),
)
CONFIGS = {
    "lpg": LPGTraining(
        distribution="tiny-uneven",
        **LENGTHS,
        inner_updates=2,
        rollout_steps=3,
        learning_rate=0.01,
        network=LPGConfig(units=5, prediction_size=4, embedding_units=3),
    ),
    "metagenrl": replace(
        PRESETS["smoke"],
        distribution="tiny-uneven-control",
        **LENGTHS,
        network=MetaGenRLConfig(units=4),
        agent=AgentSettings(
            hidden=(4,), replay_steps=160, random_steps=32, windows=2, window_steps=5, test_environments=2
        ),
    ),
    "disco": replace(
        OF_DISCO["smoke"],
        distribution="tiny-uneven-networks",
        **LENGTHS,
        rollout_steps=4,
        chunk=4,
    ),
}


class Ran(NamedTuple):
    """What a run comes to."""

    eta: Any
    metrics: Any
    """Of the second half of the meta-updates."""
    program: str
    """Of a half, as it was compiled."""


def run(trainer: MetaTrainer, begin: Path | None = None, save: Path | None = None) -> Ran:
    """All meta-updates.

    Args:
        trainer: what is run.
        begin: where the checkpoint lies that the second half begins with; by default the first half is run.
        save: where a checkpoint of the first half is left.
    """
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
    return Ran(jax.device_get(state.eta), jax.device_get(metrics), half.as_text())


def trainer_of(kind: str, devices: int, **changes: Any) -> MetaTrainer:
    """Of a configuration with changes."""
    return make_trainer(get_plugin(kind), replace(CONFIGS[kind], **changes), devices)


def summed(trainer: MetaTrainer) -> tuple[int, int]:
    """How many numbers all devices add up in a meta-update: (of eta, others)."""
    state = jax.eval_shape(trainer.first, jax.random.key(0))
    eta = sum(leaf.size for leaf in jax.tree.leaves(state.eta))
    metrics = jax.eval_shape(trainer.step, state)[1]
    others = sum(leaf.size for leaf in jax.tree.leaves(metrics))
    others -= len(("gradient_norm_max", "meta_gradient_norm", "first_steps"))  # made of other things
    # How many gradients are finite and lives begun in each family, and lifetimes by environment.
    return eta, others + 2 * len(trainer.families) + len(trainer.entries)


def go(trainer: MetaTrainer, parent: Path, begin: str = "") -> None:
    """Run it, from the checkpoint of another run where one is named, and leave what it came to in a folder of `parent`
    that is called by its numbers of devices and processes.
    """
    here = f"{trainer.mesh.size} in {jax.process_count()}"
    folder = parent / (f"{begin} to {here}" if begin else here)
    at = parent / begin / "checkpoints" if begin else None
    eta, metrics, program = run(trainer, at, None if begin else folder / "checkpoints")
    if is_first():
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(folder / "eta.npz", **flatten(eta))
        np.savez(folder / "metrics.npz", **metrics)
        (folder / "program.txt").write_text(program)
        (folder / "summed.json").write_text(json.dumps(summed(trainer)))
