"""The report of an evaluation: tables in the terminal, CSV files and pictures."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from metaobj.common.evaluation import pictures
from metaobj.common.evaluation.curves import Curves
from metaobj.common.evaluation.curves_file import save_curves
from metaobj.common.evaluation.summary import SummaryRow, save_summary, summary_table
from metaobj.common.evaluation.wording import digits, group_label, notes_on, with_interval

NARROWEST = 80
"""Columns that the tables need."""
_MAX_TASKS, _MAX_METHODS = 40, 3  # more than that is told in summary.csv alone


def write(
    directory: str | Path,
    curves: Sequence[Curves],
    baseline: str | None = None,
    console: Console | None = None,
    repetitions: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[SummaryRow]:
    """Writes summary.csv, curves.csv, learning_curves.png and intervals.png, and prints the tables.

    Args:
        directory: where the files go; made where it is missing, files of the same names are replaced.
        curves: one entry per method, all on the same tasks with the same budgets.
        baseline: the method that the others are compared with.
        console: where the tables go; None prints nothing.
        repetitions: of the stratified bootstrap.
        seed: of the stratified bootstrap.
        confidence: of the intervals.

    Returns:
        The rows of summary.csv.

    Raises:
        UserError: the methods cannot be compared, the baseline is not among them, or a file cannot be written.
    """
    rows = summary_table(curves, baseline, repetitions, seed, confidence)
    folder = Path(directory)
    if console is not None:  # first: what was computed is told even where it cannot be written
        print_tables(console, rows, confidence)
    save_summary(folder / "summary.csv", rows)
    save_curves(folder / "curves.csv", curves)
    pictures.learning_curves(folder / "learning_curves.png", curves, min(repetitions, 200), seed, confidence)
    pictures.interval_plot(folder / "intervals.png", curves, repetitions, seed, confidence)
    if console is not None:
        names = "summary.csv, curves.csv, learning_curves.png, intervals.png"
        console.print(Text(f"\nFiles in {folder}: {names}", style="dim"), soft_wrap=True)
    return rows


def print_tables(console: Console, rows: Sequence[SummaryRow], confidence: float = 0.95) -> None:
    """Prints the rows of `summary_table`: groups, comparisons with the baseline, and tasks if they are few.

    At least `NARROWEST` wide: in a narrower terminal lines run over, where rich would cut numbers off.
    """
    before = console.width
    console.width = max(before, NARROWEST)
    try:
        _print_tables(console, rows, confidence)
    finally:
        console.width = before


def _print_tables(console: Console, rows: Sequence[SummaryRow], confidence: float) -> None:
    groups = [row for row in rows if row.kind == "group"]
    comparisons = [row for row in rows if row.kind == "comparison"]
    tasks = [row for row in rows if row.kind == "task"]
    console.print(_group_table(groups, confidence))
    console.print(Text("Final: mean of the last 10 % of bins.   AUC: mean over the whole lifetime.", style="dim"))
    for note in notes_on(rows):
        console.print(Text(note, style="dim"))
    if comparisons:
        console.print()
        console.print(_comparison_table(comparisons, confidence))
        console.print(Text("*: the interval leaves out 0.   Tasks better: tasks whose mean is higher.", style="dim"))
        note = f"Runs better: chance that a run beats a run of {comparisons[0].baseline} on the same task."
        console.print(Text(note, style="dim"))
    methods = list(dict.fromkeys(row.method for row in tasks))
    names = list(dict.fromkeys(row.task for row in tasks))
    console.print()
    if len(names) <= _MAX_TASKS and len(methods) <= _MAX_METHODS:
        console.print(_task_table(tasks, methods, names))
    else:
        console.print(Text(f"The {len(names)} single tasks are in summary.csv.", style="dim"))


def _group_table(rows: Sequence[SummaryRow], confidence: float) -> Table:
    table = _table("Interquartile mean (IQM) over tasks and seeds")
    table.add_column("Group\n(tasks x seeds, unit)", overflow="fold")
    table.add_column("Method", overflow="fold")
    for name in ("Final", "AUC"):
        table.add_column(Text(f"{name}\n[{100 * confidence:g} % interval]"), justify="right", no_wrap=True)
    for group, members in _by_group(rows):
        seeds = "/".join(dict.fromkeys(str(row.seeds) for row in members))
        unit = f"({members[0].tasks} x {seeds}, {members[0].measure})"
        # Size and unit sit beside the second method, where there is one, and cost no column.
        names = [f"{group}\n{unit}"] if len(members) == 1 else [group, unit] + [""] * (len(members) - 2)
        for name, row in zip(names, members, strict=True):
            final = with_interval(row.final, row.final_low, row.final_high)
            area = with_interval(row.area, row.area_low, row.area_high)
            table.add_row(*map(Text, (name, row.method, final, area)))
        table.add_section()
    return table


def _comparison_table(rows: Sequence[SummaryRow], confidence: float) -> Table:
    table = _table(f"Difference from {rows[0].baseline}: IQM of the method minus IQM of {rows[0].baseline}")
    table.add_column("Group", overflow="fold", min_width=11)
    table.add_column("Method", overflow="fold")
    table.add_column("Of")
    table.add_column(Text(f"Difference\n[{100 * confidence:g} % interval]"), justify="right", no_wrap=True)
    table.add_column("Tasks\nbetter", justify="right", no_wrap=True)
    table.add_column("Runs\nbetter", justify="right", no_wrap=True)
    for group, members in _by_group(rows):
        for row in members:
            final = _difference(row.final, row.final_low, row.final_high)
            area = _difference(row.area, row.area_low, row.area_high)
            better = [round((share or 0) * row.tasks) for share in (row.final_tasks_better, row.area_tasks_better)]
            chance = [100 * (share or 0) for share in (row.final_improvement, row.area_improvement)]
            table.add_row(
                Text(group if row is members[0] else ""),
                Text(row.method),
                Text("final\nAUC"),
                Text("\n").join([final, area]),
                Text("\n".join(f"{count} of {row.tasks}" for count in better)),
                Text("\n".join(f"{percent:.0f} %" for percent in chance)),
            )
        table.add_section()
    return table


def _task_table(rows: Sequence[SummaryRow], methods: Sequence[str], names: Sequence[str]) -> Table:
    table = _table("Single tasks: final / AUC, mean over seeds")
    table.add_column("Task", overflow="fold", max_width=26)
    table.add_column("Unit", no_wrap=True)
    for method in methods:
        table.add_column(Text(method), justify="right")
    group = rows[0].group
    for name in names:
        by_method = {row.method: row for row in rows if row.task == name}
        first = by_method[methods[0]]
        if first.group != group:
            table.add_section()
            group = first.group
        largest = max(abs(number) for row in by_method.values() for number in (row.final, row.area))
        best = max(row.final for row in by_method.values())
        cells = [
            Text(f"{digits(row.final, largest)} / {digits(row.area, largest)}", "bold" if row.final == best else "")
            for row in (by_method[method] for method in methods)
        ]
        table.add_row(Text(name), Text(first.measure), *cells)
    return table


def _table(title: str) -> Table:
    return Table(title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, show_edge=False)


def _by_group(rows: Sequence[SummaryRow]) -> list[tuple[str, list[SummaryRow]]]:
    groups: dict[str, list[SummaryRow]] = {}
    for row in rows:
        groups.setdefault(group_label(row.group), []).append(row)
    return list(groups.items())


def _difference(point: float, low: float, high: float) -> Text:
    clear = low > 0 or high < 0
    return Text(with_interval(point, low, high, sign="+") + (" *" if clear else "  "), style="bold" if clear else "")
