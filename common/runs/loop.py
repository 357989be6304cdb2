"""The host's side of meta-training: run compiled chunks; log, show, save, and stop on a signal in between."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from rich.console import Console

from metaobj.common.meta.trainer import MetaTrainer, TrainingState
from metaobj.common.runs.metrics import MetricsLog
from metaobj.common.runs.progress import Progress
from metaobj.common.runs.signals import NotedSignals
from metaobj.common.types import Metrics


class Stopped(NamedTuple):
    """Where a run came to."""

    step: int
    signal: int | None = None
    """What stopped it before its end."""


def run_chunks(
    trainer: MetaTrainer,
    state: TrainingState,
    step: int,
    seconds: float,
    log: MetricsLog,
    save: Callable[[int, TrainingState, float], None],
    console: Console,
) -> Stopped:
    """Go on from `step` to the end of the run, or until a signal, in compiled chunks of meta-updates.

    Args:
        trainer: what is run.
        state: the state after `step` meta-updates.
        step: how many are behind it.
        seconds: how long those took.
        log: where the metrics go.
        save: takes (step, state, seconds) at the start, at every checkpoint and when the run is stopped.
        console: where progress is shown.
    """
    config = trainer.config
    stopped: list[int] = []
    if step >= config.meta_updates:
        return Stopped(step)
    with NotedSignals(stopped, told=not console.quiet), Progress(console, config.meta_updates, step) as progress:
        progress.note(f"compiling for {trainer.mesh.size} device(s)")
        if step == 0:
            save(0, state, seconds)
        chunk = trainer.run_chunk.lower(state).compile()
        while step < config.meta_updates and not stopped:
            before = time.monotonic()
            state, metrics = chunk(state)
            step += config.log_every
            metrics = jax.device_get(metrics)
            took = time.monotonic() - before
            seconds += took
            row = summarise(trainer, metrics, took)
            row["seconds"] = seconds
            row["environment_steps"] = step * trainer.steps_per_update
            at_checkpoint = step % config.checkpoint_every == 0 or step == config.meta_updates
            if at_checkpoint:
                row["sampler"] = np.asarray(trainer.sampler.probabilities(state.sampler)).round(6).tolist()
            log.write(step, row)
            progress.update(step, row)
            if at_checkpoint or stopped:
                save(step, state, seconds)
    done = step >= config.meta_updates
    return Stopped(step, stopped[0] if stopped and not done else None)


def summarise(trainer: MetaTrainer, metrics: Metrics, seconds: float) -> dict[str, Any]:
    """One line of metrics from the chunk's [log_every, ...]: means, sums of counts, values by environment."""
    metrics = dict(metrics)
    episodes, returns = metrics.pop("task_episodes").sum(0), metrics.pop("task_return_sum").sum(0)
    rewards = metrics.pop("task_reward").mean(0)
    row: dict[str, Any] = {}
    for name, values in sorted(metrics.items()):
        counted = name in ("ended", "not_finite")
        row[name] = int(values.sum()) if counted else float(values.max() if name.endswith("_max") else values.mean())
    updates = len(next(iter(metrics.values())))
    row["steps_per_second"] = updates * trainer.steps_per_update / seconds
    for at, entry in enumerate(trainer.entries):
        row[f"reward/{entry.environment}"] = float(rewards[at])
        if episodes[at]:
            row[f"episode_return/{entry.environment}"] = float(returns[at] / episodes[at])
    return row
