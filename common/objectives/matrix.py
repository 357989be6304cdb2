"""The matrix of training family by test family: one objective meta-trained on each, all evaluated on all."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from metaobj.common.errors import UserError
from metaobj.common.evaluation.bootstrap import stratified_bootstrap
from metaobj.common.evaluation.curves import Curves, final_score
from metaobj.common.evaluation.protocol import Tuning
from metaobj.common.evaluation.wording import with_interval
from metaobj.common.files import write_csv
from metaobj.common.lifetimes.distributions import make_distribution
from metaobj.common.objectives.compare import Comparison, compare, prepare
from metaobj.common.objectives.plugin import Plugin
from metaobj.common.objectives.selection import selection_entries
from metaobj.common.objectives.train import meta_train
from metaobj.common.pictures.heat_map import heat_map
from metaobj.common.pictures.style import wrapped


@dataclass(frozen=True)
class Sizes:
    """What each evaluation of the matrix takes."""

    seeds: int | None = None
    tuning_seeds: int | None = None
    steps: int | None = None
    tuning: Tuning = "suite"


class MatrixCell(NamedTuple):
    """How agents of one objective, or of a baseline, did on one family."""

    trained_on: str  # or the baseline's name
    tested_on: str
    measure: str  # "score", or "return" where nothing is known that would make it one
    final: float  # interquartile mean over tasks and agents
    final_low: float
    final_high: float
    tasks: int
    seeds: int


def train_and_test(
    plugin: Plugin[Any, Any],
    config: Any,
    families: Sequence[str],
    folder: Path,
    sizes: Sizes,
    console: Console | None = None,
) -> list[MatrixCell]:
    """Meta-train on each family by the same configuration, evaluate each objective and the first baseline on each
    family's held-out worlds, where it has such a part. Run again in the same folder, it goes on where it was.

    Args:
        plugin: the kind of objective.
        config: its configuration but for the distribution; its budget is everyone's.
        families: names of distributions.
        folder: where the runs, the evaluations, matrix.csv and matrix.png go.
        sizes: of the evaluations.
        console: where progress is shown.

    Raises:
        UserError: fewer than two families, a family is unknown, or a run or an evaluation cannot be made.
    """
    console = console or Console(quiet=True)
    if len(set(families)) < max(len(families), 2):
        raise UserError(f"families: {' '.join(families) or 'none'} given; must be two or more, all different")
    suites = [suite_of(family, plugin) for family in families]
    baseline = plugin.baselines(config)[0].name
    runs = [folder / _plain(family) for family in families]
    comparisons = [
        Comparison(
            names=(*map(str, runs), baseline),
            suite=suite,
            seeds=sizes.seeds,
            tuning_seeds=sizes.tuning_seeds,
            seed=config.seed,
            tuning=sizes.tuning,
            baseline=baseline,
            steps=sizes.steps,
            trust=True,  # the families were named by the user
        )
        for suite in suites
    ]
    for family in families:
        selection_entries(plugin, replace(config, distribution=family))
    for comparison in comparisons:  # refuses what cannot be evaluated before anything is trained
        prepare(replace(comparison, names=(baseline,)))
    for family, run in zip(families, runs, strict=True):
        console.print(Rule(f"meta-training on {family}"))
        resume = (run / "config.json").exists()
        outcome = meta_train(plugin, replace(config, distribution=family), run, resume=resume, console=console)
        if outcome.signal is not None:
            console.print(f"stopped at step {outcome.step} and saved; the same command goes on from there")
            raise SystemExit(128 + outcome.signal)
    cells: list[MatrixCell] = []
    for family, comparison in zip(families, comparisons, strict=True):
        console.print(Rule(f"agents on {family}"))
        evaluation = compare(comparison, folder / f"on-{_plain(family)}", console)
        names = (*families, baseline)
        cells += [_cell(name, family, curves) for name, curves in zip(names, evaluation.curves, strict=True)]
    write_csv(folder / "matrix.csv", MatrixCell._fields, cells)
    _draw(folder / "matrix.png", cells, (*families, baseline), families, plugin.title)
    console.print(_table(cells, (*families, baseline), families))
    console.print(Text(f"Files in {folder}: matrix.csv, matrix.png", style="dim"), soft_wrap=True)
    return cells


def suite_of(family: str, plugin: Plugin[Any, Any]) -> str:
    """The environments of a distribution as a suite: their held-out parts."""
    entries = make_distribution(family, 1, plugin.distributions)
    return "+".join(dict.fromkeys(entry.environment for entry in entries))


def _plain(name: str) -> str:
    return name.replace("/", "-").replace(":", "-")


def _cell(trained_on: str, tested_on: str, curves: Curves) -> MatrixCell:
    group = curves.pooled or curves.group_names[0]
    finals = final_score(curves.values(group))  # [tasks, seeds]
    final, low, high = map(float, stratified_bootstrap(finals, meta_seeds=curves.meta_seeds))
    measure = "score" if curves.pooled else "return"
    return MatrixCell(trained_on, tested_on, measure, final, low, high, *finals.shape)


def _arrays(cells: Sequence[MatrixCell], rows: Sequence[str], columns: Sequence[str]) -> np.ndarray:
    """[3, rows, columns]: final, low, high."""
    found = {(cell.trained_on, cell.tested_on): (cell.final, cell.final_low, cell.final_high) for cell in cells}
    return np.array([[found[row, column] for column in columns] for row in rows]).transpose(2, 0, 1)


def _heads(cells: Sequence[MatrixCell], columns: Sequence[str]) -> list[str]:
    """The test families, with the unit where it is not a score."""
    units = {cell.tested_on: cell.measure for cell in cells}
    return [column if units[column] == "score" else f"{column} (returns)" for column in columns]


def _draw(path: Path, cells: Sequence[MatrixCell], rows: Sequence[str], columns: Sequence[str], title: str) -> None:
    values = _arrays(cells, rows, columns)
    heads = _heads(cells, columns)
    scored = np.array([head == column for head, column in zip(heads, columns, strict=True)])
    heat_map(
        path,
        values[0],
        values[1:],
        np.where(scored, values[0], np.nan),
        rows,
        heads,
        f"{title}: final score by what it was trained on and what it is tested on",
        "interquartile mean over tasks and agents, with 95 % intervals; darker is better",
        "meta-trained on",
        "tested on",
    )


def _table(cells: Sequence[MatrixCell], rows: Sequence[str], columns: Sequence[str]) -> Table:
    table = Table(title=Text("Final score, trained on x tested on"), title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("Trained on", no_wrap=True)
    width = max(8, (80 - 16) // len(columns) - 2)  # so that up to six fit a usual terminal
    for head in _heads(cells, columns):
        table.add_column(Text(wrapped(head, width)), justify="right", no_wrap=True)
    values = _arrays(cells, rows, columns)
    for at, row in enumerate(rows):
        cells_of_row = (
            with_interval(point, low, high, between="\n").replace(", ", ",\n ")
            for point, low, high in zip(*values[:, at], strict=True)
        )
        table.add_row(Text(wrapped(row, 14)), *map(Text, cells_of_row), end_section=True)
    return table
