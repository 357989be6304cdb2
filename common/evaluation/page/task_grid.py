"""The table of single tasks: returns and scores beside each other."""

from collections.abc import Mapping

from metaobj.common.evaluation.evaluation import Evaluation
from metaobj.common.evaluation.page import derived
from metaobj.common.evaluation.page.cells import body, number_cell, table, text_cell
from metaobj.common.evaluation.page.markup import Markup, breakable, folded, joined, tag
from metaobj.common.evaluation.page.plot import swatch
from metaobj.common.evaluation.summary import SummaryRow
from metaobj.common.evaluation.wording import digits

Rows = Mapping[tuple[str, str, str], SummaryRow]


def tasks(evaluation: Evaluation) -> Markup:
    """Final returns and scores of every task; areas are folded."""
    rows = derived.task_rows(evaluation)
    return joined([_grid(evaluation, rows, "final"), folded("The same for the area", _grid(evaluation, rows, "area"))])


def _grid(evaluation: Evaluation, rows: Rows, measure: str) -> Markup:
    first = evaluation.curves[0]
    units = ("return", "score") if any(unit == "score" for _, _, unit in rows) else ("return",)
    bodies = []
    for group in dict.fromkeys(first.groups or ()):
        inside = [index for index, name in enumerate(first.groups or ()) if name == group]
        lines = [_line(evaluation, rows, measure, units, index) for index in inside]
        own = [first.tasks[index] for index in inside] == [group]  # a task that is a group of its own needs no title
        bodies.append(body(lines, "" if own else group, columns=4 + len(evaluation.curves) * len(units)))
    top = [
        tag("th", "Task", scope="col", rowspan=2),
        *(tag("th", name, scope="col", rowspan=2, class_="number") for name in ("Random", "Score 1")),
        *(
            tag("th", swatch(number), breakable(entry.method), scope="colgroup", colspan=len(units), class_="method")
            for number, entry in enumerate(evaluation.curves)
        ),
        tag("th", "Where these are from", scope="col", rowspan=2),
    ]
    below = [tag("th", unit, scope="col", class_="number") for _ in evaluation.curves for unit in units]
    caption = f"{measure.capitalize()}: mean over seeds, with 95 % intervals. The highest of a task is bold."
    return table(f"{measure} by task and method", caption, [tag("tr", *top), tag("tr", *below)], bodies)


def _line(evaluation: Evaluation, rows: Rows, measure: str, units: tuple[str, ...], index: int) -> Markup:
    first = evaluation.curves[0]
    task = first.tasks[index]
    levels = derived.levels(first, index)
    largest = max(map(abs, levels.values()), default=0)
    known = [text_cell(digits(levels[name], largest) if levels else "", "number") for name in ("random", "score 1")]
    highest = {
        unit: max(
            (row.interval(measure)[0] for (name, _, of), row in rows.items() if (name, of) == (task, unit)), default=0
        )
        for unit in units
    }
    cells = []
    for entry in evaluation.curves:
        for unit in units:
            row = rows.get((task, entry.method, unit))
            if row is None:
                cells.append(text_cell("", "number"))
                continue
            numbers = row.interval(measure)
            lost = f"{row.diverged} of {row.seeds} diverged" if row.diverged and unit == "return" else ""
            cells.append(number_cell(numbers, strong=numbers[0] == highest[unit], remark=lost))
    source = text_cell(evaluation.sources.get(task, ""), "source")
    return tag("tr", tag("th", breakable(task), scope="row"), *known, *cells, source)
