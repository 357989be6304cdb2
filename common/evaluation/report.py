"""The report of an evaluation: tables in the terminal, CSV files and pictures."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from metaobj.common.evaluation import pictures
from metaobj.common.evaluation.curves import Curves
from metaobj.common.evaluation.curves_file import save_curves
from metaobj.common.evaluation.notes import general_notes, restart_notes, task_notes
from metaobj.common.evaluation.summary import SummaryRow, save_summary, summary_table
from metaobj.common.evaluation.tables import comparison_table, group_table, statistics_table, task_table
from metaobj.common.pictures.forms import asked
from metaobj.common.pictures.style import remove_figure

NARROWEST = 80
"""Columns that the tables need."""
_MAX_TASKS = 40  # more than that is told in summary.csv alone


def write(
    directory: str | Path,
    curves: Sequence[Curves],
    baseline: str | None = None,
    console: Console | None = None,
    repetitions: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[SummaryRow]:
    """Prints the tables and writes summary.csv, curves.csv, learning_curves.png, intervals.png, and profiles.png where
    scores are known.

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
        _print_notes(console, restart_notes(curves))
    save_summary(folder / "summary.csv", rows)
    save_curves(folder / "curves.csv", curves)
    pictures.learning_curves(folder / "learning_curves.png", curves, min(repetitions, 200), seed, confidence)
    pictures.interval_plot(folder / "intervals.png", curves, repetitions, seed, confidence)
    names = "summary.csv, curves.csv, learning_curves.png, intervals.png"
    if curves[0].pooled is not None:
        pictures.profiles(folder / "profiles.png", curves, min(repetitions, 500), seed, confidence)
        names += ", profiles.png"
    else:
        remove_figure(folder / "profiles.png")  # that of other results
    if asked() != "png":
        names += f"; pictures as {asked().upper()} too"
    if console is not None:
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
    if groups:
        console.print(group_table([row for row in groups if row.statistic == "IQM"], confidence))
    _print_notes(console, general_notes(rows))
    pooled = next((row.group for row in reversed(groups) if row.measure == "score"), None)
    others = [row for row in groups if row.statistic != "IQM" and row.group == pooled]
    if others:
        console.print()
        console.print(statistics_table(others, confidence))
        note = "Optimality gap: how far runs stay below 1 on average. Other groups and measures are in summary.csv."
        _print_notes(console, [note])
    if comparisons:
        console.print()
        console.print(comparison_table(comparisons, confidence))
        better = f"Runs better: chance that a run beats a run of {comparisons[0].baseline} on the same task."
        _print_notes(
            console, ["*: the interval leaves out 0.   Tasks better: tasks whose mean over seeds is higher.", better]
        )
    console.print()
    names = {row.task for row in tasks}
    if len(names) <= _MAX_TASKS:
        console.print(task_table(tasks))
    else:
        _print_notes(console, [f"The {len(names)} single tasks are in summary.csv."])
    _print_notes(console, task_notes(tasks))


def _print_notes(console: Console, notes: Sequence[str]) -> None:
    for note in notes:
        console.print(Text(note, style="dim"))
