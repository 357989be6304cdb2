"""The page and the pictures of `experiments/carry_study.py`."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from scipy import stats

from metaobj.common.files import atomic_write
from metaobj.common.pictures.style import (
    COLOURS,
    INK,
    LABEL,
    MUTED,
    grid_of_panels,
    save_figure,
    set_title,
    style_panel,
)


class Row(NamedTuple):
    """How agents of one rule did on one task."""

    part: str
    variant: str
    seed: int
    step: int  # meta-updates
    task: str
    rate: float  # the best
    final: float  # score in the last tenth of their lives
    area: float  # mean over their lives
    seconds: float  # of meta-training


def read_rows(path: Path) -> list[Row]:
    """What the table holds; nothing where there is none."""
    if not path.exists():
        return []
    kinds = Row.__annotations__
    with path.open(newline="") as file:
        return [Row(**{name: kinds[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and a 95 % interval by Student's t over meta-training seeds; the mean alone where there is one."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, mean, mean
    half = float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
    return mean, mean - half, mean + half


def write_page(folder: Path) -> None:
    """README.md and the pictures, of all that the table holds."""
    rows = read_rows(folder / "study.csv")
    tasks = list(dict.fromkeys(row.task for row in rows))
    against = {row.task: row for row in rows if row.variant == "A2C"}
    sections = [_HEAD]
    for part, title in TITLES.items():
        own = [row for row in rows if row.part == part]
        if not own:
            continue
        sections.append(f"## {title}\n\n![{title}]({part}.png)\n")
        picture = folder / f"{part}.png"
        if part == "parts":
            _dots(picture, own, tasks, against)
        elif part == "starts":
            _lines(picture, own, tasks, against, "meta-updates", lambda row: (row.variant, row.step))
        else:
            last = max(row.step for row in own)
            ended = [row for row in own if row.step == last]
            _lines(picture, ended, tasks, against, "training worlds of each kind", lambda row: ("", int(row.variant)))
            most = max(int(row.variant) for row in own)
            long = [row for row in own if int(row.variant) == most]
            _lines(folder / "updates.png", long, tasks, against, "meta-updates", lambda row: ("", row.step))
            sections.append("![By meta-updates](updates.png)\n")
        sections.append(_table(own, tasks, against))
    atomic_write(folder / "README.md", "\n".join(sections))


TITLES = {
    "parts": "What each part is for",
    "starts": "Starts: alone, with meta-training, and meta-training alone",
    "worlds": "More worlds, more meta-updates",
}
_HEAD = """# What makes a rule carry, at a size that two cores can repeat

`python -m experiments.carry_study` (`--help` tells how; the sizes stand in `experiments/carry_study.py`). Rules meet
tables alone, in small grids and Markov chains; fresh agents learn by the frozen rule in held-out chains and layouts,
and with networks in Catch. Scores are of the last tenth of their lives: 0 is the uniform policy's, 1 the best policy's;
they are means over meta-training seeds, with 95 % intervals by Student's t. Every rule, and A2C, has the best of four
learning rates on each task (tables: of five, to 320), told by other agents than those that are scored; A2C has the best
of three entropy weights besides. Every variant has as many meta-updates, of which one with K = 1 takes a third of the
environment steps of K = 5, and one that looks five updates ahead five thirds. The start took 1000 updates of
distillation, once for all seeds. All data is in `study.csv`.
"""


def _table(rows: Sequence[Row], tasks: Sequence[str], against: Mapping[str, Row]) -> str:
    lines = ["| | seeds | " + " | ".join(tasks) + " |", "|---" * (len(tasks) + 2) + "|"]
    for variant in dict.fromkeys(row.variant for row in rows):
        own = [row for row in rows if row.variant == variant]
        last = max(row.step for row in own)
        for step in sorted({0, last} & {row.step for row in own}):
            cells = []
            for task in tasks:
                values = [row.final for row in own if row.task == task and row.step == step]
                mean, low, high = interval(values)
                cells.append(f"{mean:.2f} [{low:.2f}, {high:.2f}]" if len(values) > 1 else f"{mean:.2f}")
            seeds = len({row.seed for row in own})
            label = f"{variant}: before meta-training" if step == 0 else variant
            lines.append(f"| {label} | {seeds} | " + " | ".join(cells) + " |")
    if against:
        lines.append("| A2C | | " + " | ".join(f"{against[task].final:.2f}" for task in tasks) + " |")
    return "\n".join(lines) + "\n"


def _dots(path: Path, rows: Sequence[Row], tasks: Sequence[str], against: Mapping[str, Row]) -> None:
    variants = list(dict.fromkeys(row.variant for row in rows))
    last = {variant: max(row.step for row in rows if row.variant == variant) for variant in variants}
    figure, panels = grid_of_panels(len(tasks), 3.6, 0.32 * len(variants) + 1.0, 2)
    for at, (panel, task) in enumerate(zip(panels, tasks, strict=True)):
        for place, variant in enumerate(variants):
            values = [r.final for r in rows if (r.task, r.variant, r.step) == (task, variant, last[variant])]
            mean, low, high = interval(values)
            panel.plot([low, high], [place, place], color=COLOURS[0], linewidth=2, alpha=0.5)
            panel.plot(values, [place] * len(values), ".", color=COLOURS[0], markersize=4, alpha=0.6)
            panel.plot([mean], [place], "o", color=COLOURS[0], markersize=6)
        _reference(panel, against.get(task), vertical=True)
        panel.set_yticks(range(len(variants)), variants if at % 2 == 0 else [""] * len(variants), fontsize=LABEL - 1)
        panel.invert_yaxis()
        panel.set_xlim(-1.05 if min(r.final for r in rows if r.task == task) < -0.2 else -0.05, 1.05)
        style_panel(panel, task, "final score", grid_axis="x")
    seeds, updates = len({row.seed for row in rows}), max(last.values())
    subtitle = f"{seeds} meta-training seeds, {updates} meta-updates, 95 % intervals; dashed: A2C"
    set_title(figure, "What each part of LPG is for", subtitle)
    save_figure(figure, path)


def _lines(
    path: Path,
    rows: Sequence[Row],
    tasks: Sequence[str],
    against: Mapping[str, Row],
    x_label: str,
    place: Callable[[Row], tuple[str, int]],
) -> None:
    """A line for each name that `place` gives, over the number that it gives."""
    names = list(dict.fromkeys(place(row)[0] for row in rows))
    figure, panels = grid_of_panels(len(tasks), 3.6, 2.6, 2)
    for panel, task in zip(panels, tasks, strict=True):
        for colour, name in zip(COLOURS, names, strict=False):
            points = sorted({place(row)[1] for row in rows if row.task == task and place(row)[0] == name})
            found = [interval([r.final for r in rows if r.task == task and place(r) == (name, x)]) for x in points]
            mean, low, high = np.array(found).T
            panel.plot(points, mean, "o-", color=colour, markersize=4, linewidth=1.6, label=name)
            panel.fill_between(points, low, high, color=colour, alpha=0.15, linewidth=0)
        _reference(panel, against.get(task), vertical=False)
        if min(points) > 0 and max(points) > 8 * min(points):
            panel.set_xscale("log", base=2)
            panel.set_xticks(points, [str(x) for x in points])
        panel.set_ylim(-1.05 if min(row.final for row in rows if row.task == task) < -0.2 else -0.05, 1.08)
        style_panel(panel, task, x_label, "final score")
    if len(names) > 1:
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=LABEL, labelcolor=INK
        )
    seeds = len({row.seed for row in rows})
    set_title(figure, f"Final scores by {x_label}", f"{seeds} meta-training seeds, 95 % intervals; dashed: A2C")
    save_figure(figure, path)


def _reference(panel: Axes, row: Row | None, vertical: bool) -> None:
    if row is not None:
        draw = panel.axvline if vertical else panel.axhline
        draw(row.final, color=MUTED, linestyle="--", linewidth=1.2)
