"""What the page tells beyond the rows of the summary, computed from the curves with the same defaults."""

import numpy as np

from metaobj.common.evaluation import statistics
from metaobj.common.evaluation.bootstrap import Interval, stratified_bootstrap
from metaobj.common.evaluation.curves import Curves, reference_array
from metaobj.common.evaluation.evaluation import Evaluation
from metaobj.common.evaluation.statistics import FloatArray
from metaobj.common.evaluation.summary import SummaryRow

REPETITIONS = 200
"""Of the bootstrap of curves, where every point has an interval of its own."""


def headline_group(entry: Curves) -> str:
    """The group that the finding is told of: all that have scores, else the first."""
    return entry.pooled or entry.group_names[0]


def levels(entry: Curves, task: int) -> dict[str, float]:
    """The returns that scores of 0 and 1 stand for, means over seeds; empty where they are not known."""
    pair = reference_array(entry)[:, task].mean(axis=-1)
    return dict(zip(("random", "score 1"), pair.tolist(), strict=True)) if np.isfinite(pair).all() else {}


def task_rows(evaluation: Evaluation) -> dict[tuple[str, str, str], SummaryRow]:
    """By task, method and measure: returns for all tasks, and scores where the task has them."""
    rows = (row for row in evaluation.rows if (row.kind, row.statistic) == ("task", "mean"))
    return {(row.task, row.method, row.measure): row for row in rows}


def learning_curve(entry: Curves, task: int, bins: FloatArray) -> tuple[FloatArray, Interval]:
    """Environment steps [points] at some of the bins, and the mean return over seeds there."""
    steps = np.broadcast_to(entry.env_steps, (len(entry.tasks), entry.returns.shape[-1]))[task, bins]
    by_bin = entry.returns[task][:, bins].T[:, None]  # [points, 1, seeds]
    return steps, stratified_bootstrap(by_bin, statistics.mean, REPETITIONS, meta_seeds=entry.meta_seeds)
