"""The tables of an evaluation in the terminal; none of them needs more than 80 columns for its numbers."""

from collections.abc import Sequence
from itertools import product

from rich import box
from rich.table import Table
from rich.text import Text

from metaobj.common.evaluation.curves import MEASURES
from metaobj.common.evaluation.summary import SummaryRow
from metaobj.common.evaluation.wording import digits, group_label, with_interval
from metaobj.common.pictures.style import wrapped


def group_table(rows: Sequence[SummaryRow], confidence: float) -> Table:
    """IQMs of every group, final, area and best side by side."""
    table = _table("Interquartile mean (IQM) over tasks and seeds")
    table.add_column("Group", overflow="fold")
    table.add_column("Method", overflow="fold", min_width=max(len(_seeds(row)) for row in rows))
    for name in MEASURES:
        table.add_column(Text(f"{name.capitalize()}\n[{100 * confidence:g} %]"), justify="right", no_wrap=True)
    for group, members in _by_group(rows):
        unit = f"{members[0].tasks} task{'s' * (members[0].tasks != 1)}, {members[0].measure}"
        for row in members:
            names = (f"{group}\n{unit}" if row is members[0] else "", f"{row.method}\n{_seeds(row)}")
            table.add_row(
                *map(Text, (*names, *(with_interval(*row.interval(name), between="\n") for name in MEASURES)))
            )
        table.add_section()
    return table


def statistics_table(rows: Sequence[SummaryRow], confidence: float) -> Table:
    """What else is said of the runs of a group: a column per statistic."""
    table = _table("Other statistics of the final scores")
    table.add_column("Group", overflow="fold")
    table.add_column("Method", overflow="fold")
    names = list(dict.fromkeys(row.statistic for row in rows))
    for name in names:
        table.add_column(Text(f"{name.capitalize()}\n[{100 * confidence:g} %]"), justify="right", no_wrap=True)
    for group, members in _by_group(rows):
        methods = list(dict.fromkeys(row.method for row in members))
        for method in methods:
            by_name = {row.statistic: row for row in members if row.method == method}
            cells = [with_interval(*by_name[name].interval("final"), between="\n") for name in names]
            table.add_row(*map(Text, (group if method == methods[0] else "", method, *cells)))
        table.add_section()
    return table


def comparison_table(rows: Sequence[SummaryRow], confidence: float) -> Table:
    """Every method against the baseline, on every group."""
    table = _table(f"Difference from {rows[0].baseline}: IQM of the method minus IQM of {rows[0].baseline}")
    table.add_column("Group", overflow="fold", min_width=11)
    table.add_column("Method", overflow="fold")
    table.add_column("Of")
    table.add_column(Text(f"Difference\n[{100 * confidence:g} %]"), justify="right", no_wrap=True)
    table.add_column("Tasks\nbetter", justify="right", no_wrap=True)
    table.add_column(Text(f"Runs better\n% [{100 * confidence:g} %]"), justify="right", no_wrap=True)
    for group, members in _by_group(rows):
        for row in members:
            better = (row.final_tasks_better, row.area_tasks_better, row.best_tasks_better)
            chances = [row.interval(f"{name}_improvement") for name in MEASURES]
            table.add_row(
                Text(wrapped(group, 11) if row is members[0] else ""),
                Text(row.method),
                Text("\n".join(MEASURES)),
                Text("\n").join(_difference(*row.interval(name)) for name in MEASURES),
                Text("\n".join(f"{round((share or 0) * row.tasks)} of {row.tasks}" for share in better)),
                Text("\n".join(f"{100 * at:.0f} [{100 * low:.0f}, {100 * high:.0f}]" for at, low, high in chances)),
            )
        table.add_section()
    return table


def task_table(rows: Sequence[SummaryRow]) -> Table:
    """A line per task and method, and below them the returns that scores of 0 and 1 stand for."""
    table = _table("Single tasks, means over seeds")
    units = list(dict.fromkeys(row.measure for row in rows))
    diverged = any(row.diverged for row in rows)
    table.add_column("Task", overflow="fold", max_width=26)
    table.add_column("Method", overflow="fold")
    for unit, name in product(units, MEASURES):
        head = unit.capitalize() if name == MEASURES[0] else ""
        table.add_column(Text(f"{head}\n{name}"), justify="right", no_wrap=True)
    if diverged:
        table.add_column("\nDiverged", justify="right", no_wrap=True)
    blanks = [Text("")] * len(MEASURES)
    for task in dict.fromkeys(row.task for row in rows):
        own = [row for row in rows if row.task == task]
        returns = [row for row in own if row.measure == "return"]
        cells = {unit: _numbers([row for row in own if row.measure == unit]) for unit in units}
        top = max(row.final for row in returns)
        lines: list[list[Text]] = []
        for row in returns:
            style = "bold" if len(returns) > 1 and row.final == top else ""
            numbers = [
                Text(cell, style) for unit in units for cell in cells[unit].get(row.method, [""] * len(MEASURES))
            ]
            lost = [Text(f"{row.diverged} of {row.seeds}" if row.diverged else "0", style)] if diverged else []
            lines.append([Text(row.method, style), *numbers, *lost])
        known = {"random": returns[0].random, "score 1": returns[0].optimal}
        ends = {label: value for label, value in known.items() if value is not None}
        for label, value in ends.items():
            number = Text(digits(value, max(map(abs, ends.values()))), "dim")
            unit_cells = [cell for unit in units for cell in (blanks if unit == "score" else [number, *blanks[1:]])]
            lines.append([Text(label, "dim"), *unit_cells, *([Text("")] if diverged else [])])
        # One row of cells with several lines: a name that is folded then takes no line of its own.
        table.add_row(Text(task), *(Text("\n").join(column) for column in zip(*lines, strict=True)))
        table.add_section()
    return table


def _numbers(rows: Sequence[SummaryRow]) -> dict[str, list[str]]:
    """Final, area and best of each method on a task, all with the same decimals."""
    largest = max((abs(getattr(row, name)) for row in rows for name in MEASURES), default=0.0)
    return {row.method: [digits(getattr(row, name), largest) for name in MEASURES] for row in rows}


def _seeds(row: SummaryRow) -> str:
    if row.meta_seeds > 1:
        return f"{row.meta_seeds} meta-seeds x {row.seeds // row.meta_seeds}"
    return f"{row.seeds} seed{'s' * (row.seeds != 1)}"


def _table(title: str) -> Table:
    return Table(
        title=Text(title),
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=(0, 1, 0, 0),
    )


def _by_group(rows: Sequence[SummaryRow]) -> list[tuple[str, list[SummaryRow]]]:
    groups: dict[str, list[SummaryRow]] = {}
    for row in rows:
        groups.setdefault(group_label(row.group), []).append(row)
    return list(groups.items())


def _difference(point: float, low: float, high: float) -> Text:
    clear = low > 0 or high < 0
    return Text(
        with_interval(point, low, high, sign="+") + (" *" if clear else "  "),
        style="bold" if clear else "",
    )
