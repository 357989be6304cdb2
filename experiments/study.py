"""What studies of meta-training share: variants are trained in chunks, frozen as others would find them, and judged by
how fresh agents do.
"""

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.rows import Row
from metaobj.common.evaluation.method import Method, Settings
from metaobj.common.evaluation.protocol import Contestant, EvaluationProtocol, Trials, evaluate, tune
from metaobj.common.evaluation.statistics import interquartile_mean
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.trainer import MetaTrainer, TrainingState
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Loaded, Plugin
from metaobj.common.objectives.train import reseeded, save_objective, started

METRICS = ("policy_entropy", "clipped")


@dataclass(frozen=True)
class Trained:
    """A variant: a configuration, and after which shares of its meta-updates it is judged."""

    config: Any  # a `MetaTrainingConfig`
    judged: tuple[float, ...] = (1.0,)


@dataclass(frozen=True)
class Task:
    """What agents are judged in."""

    entry: Entry
    normalised: bool = True
    """Whether uniform actions count 0 and the best policy 1, or returns as they are."""


def columns(tasks: Iterable[str], more: Iterable[str] = ()) -> tuple[str, ...]:
    """Of a study's table: what is judged, the judgements in `more` and in tasks, and metrics of meta-training."""
    judged = (f"{task}_{value}" for task in tasks for value in ("final", "area", "rate"))
    return ("variant", "seed", "share", "environment_steps", *more, *judged, *METRICS)


def meta_trained(
    plugin: Plugin[Any, Any], variant: Trained, trainer: MetaTrainer, seed: int
) -> Iterator[tuple[float, Loaded[Any, Any], Row]]:
    """What there is to be judged, by the share of the meta-updates done."""
    config: MetaTrainingConfig = trainer.config
    seeded = reseeded(plugin, trainer, seed)
    state = started(plugin, seeded, seeded.init(), Console(quiet=True))
    metrics: Row = {}
    for at in range(config.meta_updates // config.log_every + 1):
        share = at * config.log_every / config.meta_updates
        if share in variant.judged:
            yield share, frozen(plugin, seeded, state), metrics
        if share < 1:
            state, seen = seeded.run_chunk(state)
            metrics = {name: float(np.mean(seen[name])) for name in METRICS if name in seen}


def frozen(plugin: Plugin[Any, Any], trainer: MetaTrainer, state: TrainingState) -> Loaded[Any, Any]:
    """The objective as others would find it."""
    steps = trainer.first_steps + int(state.step) * trainer.steps_per_update
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "objective.safetensors"
        save_objective(path, plugin, trainer, state, steps)
        return load_objective(path)


def returns_in(task: Task, trials: Trials, contestant: Contestant, setting: Settings) -> np.ndarray:
    """Of fresh agents over their lives [1, agents, bins], at this setting; 0 for who has diverged."""
    curves = evaluate(trials, contestant, [task.entry], {task.entry.environment: setting})
    return np.nan_to_num(curves.normalised if task.normalised else curves.returns)


def in_tasks(method: Method, tasks: Mapping[str, Task], agents: int, tuning_agents: int) -> Row:
    """Interquartile means over fresh agents of final return and area under the curve of returns, by task, each at the
    best of a few learning rates there.

    Args:
        method: what they learn by.
        tasks: by name.
        agents: of each task.
        tuning_agents: of each learning rate.
    """
    protocol = EvaluationProtocol(seeds=agents, tuning_seeds=tuning_agents, tuning="suite")
    row: Row = {}
    for name, task in tasks.items():
        trials, contestant = Trials(protocol), Contestant(method.name, (method,))
        best = tune(trials, contestant, [task.entry]).setting
        returns = returns_in(task, trials, contestant, best)
        row[f"{name}_final"] = float(interquartile_mean(returns[..., -1]))
        row[f"{name}_area"] = float(interquartile_mean(returns.mean(-1)))
        row[f"{name}_rate"] = best["learning_rate"]
    return row
