"""What the page tells beyond the rows of the summary, computed from the curves with the same defaults."""

import numpy as np

from metaobj.common.evaluation import statistics
from metaobj.common.evaluation.curves import ALL, Curves, final_and_area, reference_array
from metaobj.common.evaluation.evaluation import Evaluation
from metaobj.common.evaluation.statistics import FloatArray, Interval
from metaobj.common.evaluation.summary import SummaryRow

_REPETITIONS = 200
"""Of the bootstrap of curves, where every point has an interval of its own."""


def headline_group(entry: Curves) -> str:
    """The group that the finding is told of: all that have scores, else the first."""
    names = entry.group_names
    return ALL if ALL in names else next((name for name in names if entry.is_normalised(name)), names[0])


def best(entry: Curves, group: str) -> Interval:
    """Interquartile mean, over tasks and seeds, of the highest bin of each run's curve."""
    return statistics.stratified_bootstrap(entry.values(group).max(axis=-1))


def levels(entry: Curves, task: int) -> dict[str, float]:
    """The task's random and its best known return, means over seeds; empty where they are not known."""
    pair = reference_array(entry)[:, task].mean(axis=-1)
    return dict(zip(("random", "best known"), pair.tolist(), strict=True)) if np.isfinite(pair).all() else {}


def task_rows(evaluation: Evaluation) -> dict[tuple[str, str, str], SummaryRow]:
    """By task, method and measure: returns for all tasks, and scores where the task has them."""
    rows = {
        (row.task, row.method, row.measure): row
        for row in evaluation.rows
        if (row.kind, row.statistic) == ("task", "mean")
    }
    for entry in evaluation.curves:
        for index, task in enumerate(entry.tasks):
            known = next(row for row in (rows.get((task, entry.method, m)) for m in ("score", "return")) if row)
            for measure, values in (("return", entry.returns), ("score", entry.normalised)):
                if (task, entry.method, measure) in rows or not np.isfinite(values[index]).all():
                    continue
                interval = statistics.stratified_bootstrap(final_and_area(values[index : index + 1]), statistics.mean)
                final, area = ([float(number[which]) for number in interval] for which in (0, 1))
                rows[task, entry.method, measure] = known._replace(
                    measure=measure,
                    final=final[0],
                    final_low=final[1],
                    final_high=final[2],
                    area=area[0],
                    area_low=area[1],
                    area_high=area[2],
                )
    return rows


def learning_curve(entry: Curves, task: int, bins: FloatArray) -> tuple[FloatArray, Interval]:
    """Environment steps [points] at some of the bins, and the mean return over seeds there."""
    steps = np.broadcast_to(entry.env_steps, (len(entry.tasks), entry.returns.shape[-1]))[task, bins]
    by_bin = entry.returns[task][:, bins].T[:, None]  # [points, 1, seeds]
    return steps, statistics.stratified_bootstrap(by_bin, statistics.mean, _REPETITIONS)


def profile(runs: FloatArray, thresholds: FloatArray) -> Interval:
    """Share of runs [tasks, seeds] whose score is above each threshold [points]."""
    above = (runs > thresholds[:, None, None]).astype(np.float64)
    return statistics.stratified_bootstrap(above, statistics.mean, _REPETITIONS)
