"""The pictures of a run."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.objectives.plugin import Plugin
from metaobj.common.objectives.selection import Selection
from metaobj.common.pictures import training as pictures
from metaobj.common.runs.metrics import read_metrics
from metaobj.common.runs.run_folder import METRICS, RunFolder

SELECTION = "score on the worlds of selection"
MOST_ENVIRONMENTS = 15
"""Panels for single environments; all are in the metrics."""


def names_of(plugin: Plugin[Any, Any], returns: Iterable[str]) -> dict[str, str]:
    """What pictures show of a run, {metric: what they call it}: the kind's charts between the reward and `returns`,
    which are of single environments.
    """
    kinds = {"episode_return": "return", "reward": "reward per step"}
    parts = {key: key.partition("/") for key in returns}
    by_environment = {key: f"{name}: {kinds[kind]}" for key, (kind, _, name) in parts.items()}
    return {"reward": kinds["reward"], **plugin.charts, **by_environment}


def draw_seeds(plugin: Plugin[Any, Any], runs: Sequence[Path], path: Path) -> None:
    """The metrics of runs that differ in their seed, as means and ranges.

    Raises:
        UserError: they have none in common, or the picture cannot be written.
    """
    rows = [read_metrics(run / METRICS) for run in runs]
    keys = {key for run in rows for row in run for key in row}
    names = names_of(plugin, sorted(key for key in keys if key.startswith("episode_return/")))
    pictures.seeds_curve(path, rows, [key for key in names if key in keys], names)


def draw(plugin: Plugin[Any, Any], trainer: MetaTrainer, run: RunFolder) -> None:
    """Pictures of the run so far: the curves of the plugin's charts, and what the hyperparameter sampler came to."""
    rows = read_metrics(run.metrics)
    if not rows:
        return
    shown_first: Mapping[str, str] = {}
    if trainer.config.selection:
        scores = Selection(plugin, trainer.config, run.path).known()
        rows = [{**row, SELECTION: scores[row["step"]]["score"]} if row["step"] in scores else row for row in rows]
        shown_first = {SELECTION: SELECTION}
    keys = {key for row in rows for key in row}
    returns = [f"episode_return/{entry.environment}" for entry in trainer.entries]
    # An environment whose episodes have not ended yet is shown by its reward per step.
    returns = [key if key in keys else key.replace("episode_return", "reward") for key in returns]
    names = {**shown_first, **names_of(plugin, returns[:MOST_ENVIRONMENTS])}
    pictures.training_curve(run.path / "training.png", rows, [key for key in names if key in keys], names=names)
    tables = [row["sampler"] for row in rows if "sampler" in row]
    if not tables:
        return
    by_grid: dict[Any, list[int]] = {}
    for at, grid in enumerate(trainer.sampler.grids):
        by_grid.setdefault(grid, []).append(at)
    for number, (grid, tasks) in enumerate(by_grid.items()):
        sizes = [len(values) for _, values in grid]
        probabilities = np.array(tables[-1])[tasks][:, : int(np.prod(sizes))].reshape(len(tasks), *sizes)
        environments = [trainer.entries[task].environment for task in tasks]
        path = run.path / ("sampler.png" if number == 0 else f"sampler_{number + 1}.png")
        pictures.sampler_table(path, probabilities, axes=list(grid), tasks=environments)
