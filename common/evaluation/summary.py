"""The summary of an evaluation: groups, comparisons and single tasks, as rows of a table."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from metaobj.common.errors import UserError
from metaobj.common.evaluation import statistics
from metaobj.common.evaluation.curves import Curves, check_comparable, final_and_area
from metaobj.common.evaluation.statistics import FloatArray
from metaobj.common.files import write_csv


class SummaryRow(NamedTuple):
    """One line of the summary; `final` is the mean of the last 10 % of bins, `area` the mean over the lifetime."""

    kind: str  # "group", "comparison" or "task"
    group: str
    task: str  # empty but for kind "task"
    method: str
    baseline: str  # empty but for kind "comparison", whose numbers are method minus baseline
    statistic: str  # "IQM" over tasks and seeds, "IQM difference", or "mean" over seeds
    measure: str  # "score", normalised so that random is 0 and optimal 1, or "return"
    tasks: int
    seeds: int  # per task; for a comparison the smaller number
    final: float
    final_low: float
    final_high: float
    area: float
    area_low: float
    area_high: float
    final_tasks_better: float | None = None  # share of tasks whose mean over seeds is strictly above the baseline's
    area_tasks_better: float | None = None
    final_improvement: float | None = None  # chance that a run beats a run of the baseline on the same task
    area_improvement: float | None = None
    diverged: int | None = None  # agents of the method that diverged, on all tasks of the row


def summary_table(
    curves: Sequence[Curves],
    baseline: str | None = None,
    repetitions: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[SummaryRow]:
    """Groups (and `ALL`) by method, then comparisons with the baseline, then single tasks by method.

    Args:
        curves: one entry per method, all on the same tasks with the same budgets.
        baseline: the method that the others are compared with; None leaves comparisons out.
        repetitions: of the stratified bootstrap.
        seed: of the stratified bootstrap.
        confidence: of the intervals.

    Raises:
        UserError: the methods cannot be compared, or the baseline is not among them.
    """
    check_comparable(curves)
    methods = [entry.method for entry in curves]
    if baseline is not None and baseline not in methods:
        raise UserError(f"baseline: got {baseline!r}, need one of {methods}")
    options = (repetitions, seed, confidence)
    groups, comparisons, tasks = [], [], []
    for group in curves[0].group_names:
        for entry in curves:
            runs = final_and_area(entry.values(group))
            interval = statistics.stratified_bootstrap(runs, statistics.interquartile_mean, *options)
            groups.append(_row("group", entry, group, "IQM", runs, interval))
        if baseline is None:
            continue
        base_runs = final_and_area(curves[methods.index(baseline)].values(group))
        for entry in (entry for entry in curves if entry.method != baseline):
            runs = final_and_area(entry.values(group))
            interval = statistics.bootstrap_difference(runs, base_runs, statistics.interquartile_mean, *options)
            row = _row("comparison", entry, group, "IQM difference", runs, interval, baseline=baseline)
            better = (runs.mean(axis=-1) > base_runs.mean(axis=-1)).mean(axis=-1)
            improvement = statistics.probability_of_improvement(runs, base_runs)
            comparisons.append(
                row._replace(
                    seeds=min(runs.shape[-1], base_runs.shape[-1]),
                    final_tasks_better=float(better[0]),
                    area_tasks_better=float(better[1]),
                    final_improvement=float(improvement[0]),
                    area_improvement=float(improvement[1]),
                )
            )
    for index, task in enumerate(curves[0].tasks):
        for entry in curves:
            group = (entry.groups or ())[index]
            values = entry.normalised if entry.is_normalised(group) else entry.returns
            runs = final_and_area(values[index : index + 1])
            interval = statistics.stratified_bootstrap(runs, statistics.mean, *options)
            tasks.append(_row("task", entry, group, "mean", runs, interval, task=task))
    return [*groups, *comparisons, *tasks]


def save_summary(path: str | Path, rows: Sequence[SummaryRow]) -> None:
    """Writes the rows of `summary_table` as CSV, one column per field."""
    write_csv(path, SummaryRow._fields, rows)


def _row(
    kind: str,
    entry: Curves,
    group: str,
    statistic: str,
    runs: FloatArray,
    interval: statistics.Interval,
    task: str = "",
    baseline: str = "",
) -> SummaryRow:
    """A row from runs [2, tasks, seeds] and an interval of arrays [2], final before area."""
    measure = "score" if entry.is_normalised(group) else "return"
    final, area = ([float(number[which]) for number in interval] for which in (0, 1))
    sizes = (runs.shape[1], runs.shape[2])
    rows = [entry.tasks.index(task)] if task else entry.rows(group)
    diverged = sum(map(entry.lost, rows))
    (f, f_low, f_high), (a, a_low, a_high) = final, area
    names = (kind, group, task, entry.method, baseline, statistic, measure)
    return SummaryRow(*names, *sizes, f, f_low, f_high, a, a_low, a_high, diverged=diverged)
