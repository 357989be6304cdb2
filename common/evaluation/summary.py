"""The summary of an evaluation: groups, comparisons and single tasks, as rows of a table."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from metaobj.common.errors import UserError
from metaobj.common.evaluation import statistics
from metaobj.common.evaluation.bootstrap import (
    Interval,
    Statistic,
    bootstrap_comparison,
    bootstrap_difference,
    stratified_bootstrap,
)
from metaobj.common.evaluation.curves import MEASURES, Curves, check_comparable, measures
from metaobj.common.evaluation.statistics import FloatArray
from metaobj.common.files import write_csv

OPTIMALITY_GAP = "optimality gap"
STATISTICS: dict[str, Statistic] = {
    "IQM": statistics.interquartile_mean,
    "median": statistics.median,
    "mean": statistics.mean,
    OPTIMALITY_GAP: statistics.optimality_gap,
}
"""Of groups; the optimality gap of scores only, as returns have no common optimum."""


class SummaryRow(NamedTuple):
    """One line of the summary; `final` is the mean of the last 10 % of bins, `area` the mean over the lifetime, and
    `best` the value at the task's best bin (`curves.measures`).
    """

    kind: str  # "group", "comparison" or "task"
    group: str
    task: str  # empty but for kind "task"
    method: str
    baseline: str  # empty but for kind "comparison", whose numbers are method minus baseline
    statistic: str  # one of `STATISTICS` over tasks and seeds, "IQM difference", or for a task the "mean" over seeds
    measure: str  # "score", normalised so that random is 0 and optimal 1, or "return"; tasks with scores have both
    tasks: int  # in the row; of a group its headline tasks
    seeds: int  # runs per task, of all meta-seeds together; for a comparison the smaller number
    final: float
    final_low: float
    final_high: float
    area: float
    area_low: float
    area_high: float
    best: float
    best_low: float
    best_high: float
    final_tasks_better: float | None = None  # share of tasks whose mean over seeds is strictly above the baseline's
    area_tasks_better: float | None = None
    best_tasks_better: float | None = None
    final_improvement: float | None = None  # chance that a run beats a run of the baseline on the same task
    final_improvement_low: float | None = None
    final_improvement_high: float | None = None
    area_improvement: float | None = None
    area_improvement_low: float | None = None
    area_improvement_high: float | None = None
    best_improvement: float | None = None
    best_improvement_low: float | None = None
    best_improvement_high: float | None = None
    diverged: int | None = None  # runs of the method that diverged, on all tasks of the row
    meta_seeds: int = 1  # meta-training seeds that the runs come from
    headline: bool = True  # whether the tasks of the row count in the means of groups
    random: float | None = None  # of a task: the return that a score of 0 stands for, or that of uniform actions
    optimal: float | None = None  # of a task: the return that a score of 1 stands for

    def interval(self, measure: str) -> tuple[float, float, float]:
        """Point, low and high of "final", "area" or "best"."""
        return getattr(self, measure), getattr(self, f"{measure}_low"), getattr(self, f"{measure}_high")


def summary_table(
    curves: Sequence[Curves],
    baseline: str | None = None,
    repetitions: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[SummaryRow]:
    """Groups (and `ALL`) by method, the interquartile mean before the other statistics; then comparisons with the
    baseline; then single tasks by method, those with scores in scores and in returns.

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
    bootstrap = partial(stratified_bootstrap, repetitions=repetitions, seed=seed, confidence=confidence)
    groups = curves[0].group_names
    rows = [
        _group_row(entry, group, statistic, bootstrap)
        for statistic in STATISTICS
        for group in groups
        if statistic != OPTIMALITY_GAP or curves[0].is_normalised(group)
        for entry in curves
    ]
    if baseline is not None:
        base = curves[methods.index(baseline)]
        rows += [
            _comparison_row(entry, base, group, *options) for group in groups for entry in curves if entry is not base
        ]
    for index in range(len(curves[0].tasks)):
        for measure in ("score", "return") if curves[0].has_reference(index) else ("return",):
            rows += [_task_row(entry, index, measure, bootstrap) for entry in curves]
    return rows


def save_summary(path: str | Path, rows: Sequence[SummaryRow]) -> None:
    """Writes the rows of `summary_table` as CSV, one column per field."""
    write_csv(path, SummaryRow._fields, rows)


def _group_row(entry: Curves, group: str, statistic: str, bootstrap: Callable[..., Interval]) -> SummaryRow:
    runs = measures(entry.values(group))
    interval = bootstrap(runs, STATISTICS[statistic], meta_seeds=entry.meta_seeds)
    if statistic == OPTIMALITY_GAP:
        interval = interval.within(0.0, np.inf)
    return _row("group", entry, entry.rows(group), runs, interval, group=group, statistic=statistic)


def _comparison_row(
    entry: Curves, base: Curves, group: str, repetitions: int, seed: int, confidence: float
) -> SummaryRow:
    runs, base_runs = measures(entry.values(group)), measures(base.values(group))
    options = (repetitions, seed, confidence, (entry.meta_seeds, base.meta_seeds))
    difference = bootstrap_difference(runs, base_runs, statistics.interquartile_mean, *options)
    improvement = bootstrap_comparison(runs, base_runs, statistics.probability_of_improvement, *options).within(0, 1)
    better = (runs.mean(axis=-1) > base_runs.mean(axis=-1)).mean(axis=-1)
    row = _row("comparison", entry, entry.rows(group), runs, difference, group=group, statistic="IQM difference")
    return row._replace(
        baseline=base.method,
        seeds=min(runs.shape[-1], base_runs.shape[-1]),
        final_tasks_better=float(better[0]),
        area_tasks_better=float(better[1]),
        best_tasks_better=float(better[2]),
        **_numbers([f"{measure}_improvement" for measure in MEASURES], improvement),
    )


def _task_row(entry: Curves, index: int, measure: str, bootstrap: Callable[..., Interval]) -> SummaryRow:
    values = entry.normalised if measure == "score" else entry.returns
    runs = measures(values[index : index + 1])
    interval = bootstrap(runs, statistics.mean, meta_seeds=entry.meta_seeds)
    row = _row("task", entry, [index], runs, interval, group=(entry.groups or ())[index], statistic="mean")
    known = entry.reference if entry.has_reference(index) else None
    floor = known.random if known is not None else entry.floor
    return row._replace(
        task=entry.tasks[index],
        measure=measure,
        headline=(entry.headline or ())[index],
        random=None if floor is None or np.isnan(floor[index]).any() else float(floor[index].mean()),
        optimal=None if known is None else float(known.optimal[index].mean()),
    )


def _row(
    kind: str, entry: Curves, tasks: Sequence[int], runs: FloatArray, interval: Interval, group: str, statistic: str
) -> SummaryRow:
    """A row from runs [measures, tasks, seeds] and an interval of arrays [measures]."""
    return SummaryRow(
        kind=kind,
        group=group,
        task="",
        method=entry.method,
        baseline="",
        statistic=statistic,
        measure="score" if entry.is_normalised(group) else "return",
        tasks=runs.shape[1],
        seeds=runs.shape[2],
        diverged=sum(map(entry.lost, tasks)),
        meta_seeds=entry.meta_seeds,
        **_numbers(MEASURES, interval),
    )


def _numbers(names: Sequence[str], interval: Interval) -> dict[str, Any]:
    """The interval's numbers by the fields of a row: "final", "final_low", "final_high", and so on."""
    ends = zip(("", "_low", "_high"), interval, strict=True)
    return {f"{name}{end}": float(values[at]) for end, values in ends for at, name in enumerate(names)}
