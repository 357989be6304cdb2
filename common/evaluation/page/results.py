"""The tables of groups: what every method came to, and how far the methods are from the baseline."""

from metaobj.common.evaluation.curves import MEASURES
from metaobj.common.evaluation.evaluation import Evaluation
from metaobj.common.evaluation.page.cells import (
    Numbers,
    body,
    by_group,
    group_title,
    heads,
    method_head,
    number_cell,
    table,
    text_cell,
)
from metaobj.common.evaluation.page.markup import Markup, folded, joined, tag
from metaobj.common.evaluation.page.plot import interval_bar, padded
from metaobj.common.evaluation.summary import SummaryRow

HIGHER, LOWER, UNCLEAR = "higher", "lower", "not told apart"


def verdict(row: SummaryRow, difference: Numbers) -> str:
    """What a difference from the baseline comes to; an interval from a single seed has no width and tells nothing."""
    _, low, high = difference
    return UNCLEAR if row.seeds == 1 or low <= 0 <= high else HIGHER if low > 0 else LOWER


def headline(evaluation: Evaluation) -> Markup:
    """Groups by method; statistics other than the interquartile mean are folded."""
    names = dict.fromkeys(row.statistic for row in evaluation.rows if row.kind == "group" and row.statistic != "IQM")
    others = [_statistic(evaluation, name) for name in names]
    return joined([_interquartile_means(evaluation), *([folded("Other statistics", *others)] if others else [])])


def _interquartile_means(evaluation: Evaluation) -> Markup:
    numbers = {entry.method: number for number, entry in enumerate(evaluation.curves)}
    rows = [row for row in evaluation.rows if row.kind == "group" and row.statistic == "IQM"]
    bodies = []
    for members in by_group(rows).values():
        columns = [[row.interval(name) for row in members] for name in MEASURES]
        limits = padded([number for interval in columns[0] for number in interval])
        highest = [max(point for point, _, _ in column) for column in columns]
        lines = []
        for row, *intervals in zip(members, *columns, strict=True):
            first, *more = (number_cell(i, strong=i[0] == top) for i, top in zip(intervals, highest, strict=True))
            bar = tag("td", interval_bar(numbers[row.method], intervals[0], limits))
            runs = row.tasks * row.seeds
            lost = text_cell(f"{row.diverged} of {runs}" if row.diverged else "none", "number")
            lines.append(tag("tr", method_head(row.method, numbers[row.method]), first, bar, *more, lost))
        bodies.append(body(lines, group_title(members[0]), columns=6))
    names = heads(
        "Method", "Final", "Final, drawn", "Area", "Best", "Diverged", numbers=["Final", "Area", "Best", "Diverged"]
    )
    caption = "Interquartile mean over tasks and seeds, with 95 % intervals. The highest of a group is bold."
    return table("Results by group and method", caption, [tag("tr", *names)], bodies)


def _statistic(evaluation: Evaluation, statistic: str) -> Markup:
    numbers = {entry.method: number for number, entry in enumerate(evaluation.curves)}
    rows = [row for row in evaluation.rows if row.kind == "group" and row.statistic == statistic]
    bodies = []
    for members in by_group(rows).values():
        lines = [
            tag(
                "tr",
                method_head(row.method, numbers[row.method]),
                *(number_cell(row.interval(name)) for name in MEASURES),
            )
            for row in members
        ]
        bodies.append(body(lines, group_title(members[0]), columns=4))
    names = heads("Method", "Final", "Area", "Best", numbers=["Final", "Area", "Best"])
    caption = f"{statistic.capitalize()} over tasks and seeds, with 95 % intervals."
    return table(f"{statistic} by group and method", caption, [tag("tr", *names)], bodies)


def comparison(evaluation: Evaluation) -> Markup:
    """Differences from the baseline."""
    numbers = {entry.method: number for number, entry in enumerate(evaluation.curves)}
    rows = [row for row in evaluation.rows if row.kind == "comparison" and row.statistic == "IQM difference"]
    bodies = []
    for members in by_group(rows).values():
        limits = padded(
            [0.0, *(number for row in members for number in (*row.interval("final"), *row.interval("area")))]
        )
        lines = []
        for row in members:
            shares = {
                "final": (row.final_tasks_better, row.final_improvement),
                "area": (row.area_tasks_better, row.area_improvement),
            }
            head = [method_head(row.method, numbers[row.method], rowspan=2)]
            for measure, (tasks, runs) in shares.items():
                difference = row.interval(measure)
                told = verdict(row, difference)
                cells = [
                    text_cell(measure),
                    number_cell(difference, strong=told != UNCLEAR, sign="+"),
                    tag("td", interval_bar(numbers[row.method], difference, limits, zero=True)),
                    text_cell(told),
                    text_cell(f"{round((tasks or 0) * row.tasks)} of {row.tasks}", "number"),
                    text_cell(f"{100 * (runs or 0):.0f} %", "number"),
                ]
                lines.append(tag("tr", *head, *cells))
                head = []
        bodies.append(body(lines, group_title(members[0]), columns=7))
    names = heads(
        *("Method", "Of", "Difference", "Drawn, with zero", "Verdict", "Tasks better", "Runs better"),
        numbers=["Difference", "Tasks better", "Runs better"],
    )
    caption = (
        f"Interquartile mean of the method minus that of {evaluation.baseline}, with 95 % intervals. The verdict is "
        "higher or lower where the interval leaves out zero."
    )
    return table("Differences from the baseline", caption, [tag("tr", *names)], bodies)
