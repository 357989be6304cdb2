"""The host's side of meta-training: run compiled chunks; log, show, save, and stop on a signal in between."""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from metaobj.common.errors import UserError
from metaobj.common.memory import check_fits, least_memory
from metaobj.common.meta.trainer import MetaTrainer, TrainingState
from metaobj.common.processes import largest, several
from metaobj.common.runs.metrics import MetricsLog
from metaobj.common.runs.progress import Progress
from metaobj.common.runs.signals import NotedSignals
from metaobj.common.types import Metrics

PATIENCE = 50
"""Meta-updates in a row without a single finite lifetime, after which a run is given up."""


class MetaTrainingError(UserError):
    """No lifetime had a finite meta-gradient for long: nothing is learned any more. What was learned is saved."""


class Spent(NamedTuple):
    """What a run has taken so far."""

    seconds: float
    environment_steps: int


class Stopped(NamedTuple):
    """Where a run came to."""

    step: int
    signal: int | None = None
    """What stopped it before its end."""


def run_chunks(
    trainer: MetaTrainer,
    state: TrainingState,
    step: int,
    spent: Spent,
    log: MetricsLog | None,
    save: Callable[[int, TrainingState, Spent], None],
    console: Console,
    live: Mapping[str, str],
) -> Stopped:
    """Go on from `step` to the end of the run, or until a signal, in compiled chunks of meta-updates. Of several
    processes a signal to one stops all, after the same chunk.

    Args:
        trainer: what is run.
        state: the state after `step` meta-updates.
        step: how many are behind it.
        spent: what those took.
        log: where the metrics go; of several processes, the first one's.
        save: takes (step, state, what was spent) at the start, at every checkpoint and when the run is stopped.
        console: where progress is shown.
        live: metrics that are shown beside the reward, {name: format}.

    Raises:
        UserError: memory cannot hold what is kept of a chunk's steps.
        MetaTrainingError: every lifetime was left out in each of the last `PATIENCE` meta-updates, or to the end.
    """
    config = trainer.config
    stopped: list[int] = []
    barren = 0  # meta-updates since the last one that a lifetime had a part in
    if step >= config.meta_updates:
        return Stopped(step)
    signals = NotedSignals(stopped, told=not console.quiet, apart=1.0 if several() else 0.0)
    with signals, Progress(console, config.meta_updates, step, live) as progress:
        progress.note(f"compiling for {trainer.mesh.size} device(s)")
        try:
            traced = trainer.run_chunk.trace(state)
        except OverflowError:  # a dimension that is no 32-bit integer
            check_fits(math.inf, config)
            raise
        check_fits(least_memory(traced.jaxpr.jaxpr), config)
        if step == 0:
            save(0, state, spent)
        chunk = traced.lower().compile()
        stop = first_signal(stopped)
        while step < config.meta_updates and not stop:
            state, metrics, took = run_chunk(trainer, chunk, state)
            step += config.log_every
            spent = Spent(spent.seconds + took.seconds, spent.environment_steps + took.environment_steps)
            fruitful = np.flatnonzero(metrics["not_finite"] < trainer.lifetimes)
            barren = barren + config.log_every if fruitful.size == 0 else config.log_every - 1 - int(fruitful[-1])
            over = barren >= PATIENCE or (barren > 0 and step == config.meta_updates)
            row = summarise(trainer, metrics, took) | spent._asdict()
            stop = first_signal(stopped)
            at_checkpoint = step % config.checkpoint_every == 0 or step == config.meta_updates or over
            if at_checkpoint:
                table = trainer.sampler.probabilities(jax.device_get(state.sampler))
                row["sampler"] = np.asarray(table).round(6).tolist()
            if log is not None:
                log.write(step, row)
            progress.update(step, row)
            if at_checkpoint or stop:
                if log is not None:
                    log.sync()
                save(step, state, spent)
            if over:
                raise MetaTrainingError(
                    f"meta-training: no lifetime had a finite meta-gradient from meta-update {step - barren + 1} to "
                    f"{step}; what was learned by step {step - barren} is saved; try a smaller learning_rate"
                )
    done = step >= config.meta_updates
    return Stopped(step, stop if stop and not done else None)


def first_signal(noted: list[int]) -> int:
    """The number of a signal that some process has had, the same in all of them; 0 where none has."""
    return largest(noted[0] if noted else 0)


def run_chunk(
    trainer: MetaTrainer, chunk: Callable[[TrainingState], tuple[TrainingState, Metrics]], state: TrainingState
) -> tuple[TrainingState, Metrics, Spent]:
    """The state after a compiled chunk of meta-updates, metrics [log_every, ...] on the host, and what it took."""
    before = time.monotonic()
    state, metrics = chunk(state)
    metrics = jax.device_get(metrics)
    return state, metrics, Spent(time.monotonic() - before, environment_steps(trainer, metrics))


def environment_steps(trainer: MetaTrainer, metrics: Metrics) -> int:
    """Of a chunk's meta-updates, the first steps of the lifetimes that began in it included."""
    first_steps = metrics["first_steps"]
    return len(first_steps) * trainer.steps_per_update + int(first_steps.sum())


def summarise(trainer: MetaTrainer, metrics: Metrics, took: Spent) -> dict[str, Any]:
    """One line of metrics from the chunk's [log_every, ...]: means, sums of counts, values by environment. Meta-updates
    in which every lifetime was left out count for nothing; where all are such, numbers are NaN.
    """
    metrics = {name: values for name, values in metrics.items() if name != "first_steps"}
    episodes, returns = metrics.pop("task_episodes").sum(0), metrics.pop("task_return_sum").sum(0)
    rewards = metrics.pop("task_reward")
    fruitful = metrics["not_finite"] < trainer.lifetimes
    row: dict[str, Any] = {}
    for name, values in sorted(metrics.items()):
        if name in ("ended", "not_finite"):
            row[name] = int(values.sum())
        elif not fruitful.any():
            row[name] = math.nan
        else:
            row[name] = float(values[fruitful].max() if name.endswith("_max") else values[fruitful].mean())
    row["steps_per_second"] = took.environment_steps / took.seconds
    for at, entry in enumerate(trainer.entries):
        of_entry = rewards[:, at]
        known = of_entry[~np.isnan(of_entry)]
        row[f"reward/{entry.environment}"] = float(known.mean()) if known.size else math.nan
        if episodes[at]:
            row[f"episode_return/{entry.environment}"] = float(returns[at] / episodes[at])
    return row
