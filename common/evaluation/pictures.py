"""Pictures of an evaluation: learning curves, performance with its intervals, and performance profiles."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from metaobj.common.evaluation.bootstrap import performance_profile, stratified_bootstrap
from metaobj.common.evaluation.curves import ALL, Curves, check_comparable, measures
from metaobj.common.evaluation.statistics import FloatArray, interquartile_mean
from metaobj.common.pictures.style import (
    GRID,
    INK,
    LABEL,
    MAX_PANELS,
    add_legend,
    colours,
    grid_of_panels,
    new_figure,
    plain,
    save_figure,
    set_title,
    style_panel,
    wrapped,
)

_SCORE = "score: 0 random, 1 optimal or baseline"
_MEASURES = ("final (last 10 % of bins)", "area (mean over the lifetime)", "best (bin of the highest mean)")
_THRESHOLDS = 101


@dataclass(frozen=True)
class _Part:
    """What a panel or a line shows: a group or a single task."""

    name: str
    rows: list[int]
    in_scores: bool
    remark: str = ""

    def values(self, entry: Curves) -> FloatArray:
        """[tasks, seeds, bins] in the part's unit."""
        return (entry.normalised if self.in_scores else entry.returns)[self.rows]

    @property
    def unit(self) -> str:
        return "score" if self.in_scores else "episode return"


def learning_curves(
    path: str | Path, curves: Sequence[Curves], repetitions: int = 200, seed: int = 0, confidence: float = 0.95
) -> None:
    """One panel per task, before them one per group of several tasks: IQM over tasks and seeds with its bootstrap band.

    Args:
        path: of the PNG.
        curves: one entry per method, all on the same tasks.
        repetitions: of the stratified bootstrap.
        seed: of the stratified bootstrap.
        confidence: of the band.

    Raises:
        UserError: the methods cannot be compared.
    """
    check_comparable(curves)
    # The overall answer comes first, then what it is made of.
    groups = sorted(_groups(curves[0]), key=lambda part: part.name != _name(ALL))
    every = [part for part in groups if len(part.rows) > 1] + _tasks(curves[0])
    parts = every[:MAX_PANELS]
    figure, panels = grid_of_panels(len(parts), width=3.6, height=2.7, max_columns=3 if len(parts) <= 9 else 4)
    for panel, part in zip(panels, parts, strict=True):
        in_steps = all(_budgets_agree(entry, part.rows) for entry in curves)
        drawn = []
        for colour, entry in zip(colours(len(curves)), curves, strict=True):
            x = _progress(entry, part.rows, in_steps)
            by_bin = np.moveaxis(part.values(entry), -1, 0)  # [bins, tasks, seeds]
            interval = stratified_bootstrap(
                by_bin, interquartile_mean, repetitions, seed, confidence, meta_seeds=entry.meta_seeds
            )
            middle, low, high = interval
            panel.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
            panel.plot(x, middle, color=colour, linewidth=1.8, marker="o" if len(x) == 1 else None)
            drawn.append(interval)
        _limit(panel, np.array(drawn))
        panel.xaxis.set_major_formatter(EngFormatter(sep="") if in_steps else "{x:.0f} %")
        panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
        panel.set_xlim(left=0)
        style_panel(
            panel,
            title=part.name + part.remark,
            x_label="environment steps" if in_steps else "share of the step budget",
            y_label=part.unit,
        )
    # Scores mean the same in every panel, so they get the same axis.
    scored = [panel for panel, part in zip(panels, parts, strict=True) if part.in_scores]
    limits = [limit for panel in scored for limit in panel.get_ylim()]
    for panel in scored:
        panel.set_ylim(min(limits), max(limits))
    remarks = ["IQM over tasks and seeds", _band(confidence)] + [_SCORE] * bool(scored)
    if len(every) > len(parts):
        remarks.append(f"the last {len(every) - len(parts)} tasks are in curves.csv alone")
    _title(figure, "Learning curves on the evaluation tasks", remarks)
    add_legend(figure, [entry.method for entry in curves])
    save_figure(figure, path)


def interval_plot(
    path: str | Path, curves: Sequence[Curves], repetitions: int = 2000, seed: int = 0, confidence: float = 0.95
) -> None:
    """Final, area and best side by side: IQM as a point, its bootstrap interval as a bar.

    Normalised groups share an axis; every other group has its own, in returns. Where no task counts in means, tasks
    stand in place of groups.

    Args:
        path: of the PNG.
        curves: one entry per method, all on the same tasks.
        repetitions: of the stratified bootstrap.
        seed: of the stratified bootstrap.
        confidence: of the intervals.

    Raises:
        UserError: the methods cannot be compared.
    """
    check_comparable(curves)
    parts = _groups(curves[0]) or _tasks(curves[0])
    scored = [part for part in parts if part.in_scores]
    blocks = ([scored] if scored else []) + [[part] for part in parts if not part.in_scores]
    pitch = len(curves) + 0.8
    lines = [len(block) * pitch for block in blocks]
    figure = new_figure(11.0, 1.3 + 0.75 * len(blocks) + 0.21 * sum(lines))
    rows = figure.subplots(
        len(blocks), len(_MEASURES), squeeze=False, sharex="row", sharey="row", gridspec_kw={"height_ratios": lines}
    )
    for axes, block in zip(rows, blocks, strict=True):
        for at, part in enumerate(block):
            for m, (colour, entry) in enumerate(zip(colours(len(curves)), curves, strict=True)):
                interval = stratified_bootstrap(
                    measures(part.values(entry)), interquartile_mean, repetitions, seed, confidence, entry.meta_seeds
                )
                y = at * pitch + m
                for which, panel in enumerate(axes):
                    point, low, high = (float(number[which]) for number in interval)
                    panel.plot([low, high], [y, y], color=colour, linewidth=5, alpha=0.35, solid_capstyle="butt")
                    panel.plot([point], [y], color=colour, marker="o", markersize=6)
        centres = [at * pitch + (len(curves) - 1) / 2 for at in range(len(block))]
        axes[0].set_yticks(centres, [plain(wrapped(part.name, 24)) for part in block])
        axes[0].set_ylim(centres[-1] + len(curves) / 2 + 0.4, -0.9)  # downwards, in the order of the table
        for panel in axes:
            for above, below in zip(centres, centres[1:], strict=False):
                panel.axhline((above + below) / 2, color=GRID, linewidth=0.8)
            panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            panel.margins(x=0.08)
            style_panel(panel, x_label=block[0].unit, grid_axis="x")
            panel.tick_params(axis="y", length=0, labelsize=LABEL)
    for panel, title in zip(rows[0], _MEASURES, strict=True):
        panel.set_title(title, fontsize=LABEL + 1, color=INK, loc="left")
    remarks = ["IQM over tasks and seeds", _band(confidence)] + [_SCORE] * bool(scored)
    _title(figure, "Final, area and best", remarks)
    add_legend(figure, [entry.method for entry in curves])
    save_figure(figure, path)


def profiles(
    path: str | Path, curves: Sequence[Curves], repetitions: int = 500, seed: int = 0, confidence: float = 0.95
) -> None:
    """Performance profiles of all scores that count in means: the share of runs above each score, with its band.

    Args:
        path: of the PNG.
        curves: one entry per method, all on the same tasks, some of which have scores (`Curves.pooled`).
        repetitions: of the stratified bootstrap.
        seed: of the stratified bootstrap.
        confidence: of the band, at each score by itself.

    Raises:
        UserError: the methods cannot be compared.
        ValueError: there are no scores.
    """
    check_comparable(curves)
    group = curves[0].pooled
    if group is None:
        raise ValueError("curves: no group with scores, which profiles are made of")
    runs = [measures(entry.values(group)) for entry in curves]  # [measures, tasks, seeds]
    # A few runs far out would leave no room for the others.
    everyone = np.concatenate([one.ravel() for one in runs])
    least, greatest = np.quantile(everyone, [0.01, 0.99])
    thresholds = np.linspace(min(0.0, least), max(1.0, greatest), _THRESHOLDS)
    figure, panels = grid_of_panels(len(_MEASURES), width=3.6, height=2.9, max_columns=len(_MEASURES))
    for which, (panel, title) in enumerate(zip(panels, _MEASURES, strict=True)):
        for colour, entry, scores in zip(colours(len(curves)), curves, runs, strict=True):
            middle, low, high = performance_profile(
                scores[which], thresholds, repetitions, seed, confidence, entry.meta_seeds
            )
            panel.fill_between(thresholds, low, high, color=colour, alpha=0.18, linewidth=0, step="mid")
            panel.step(thresholds, middle, color=colour, linewidth=1.8, where="mid")
        panel.set_ylim(-0.02, 1.02)
        panel.set_xlim(thresholds[0], thresholds[-1])
        style_panel(panel, title=title, x_label="score", y_label="share of runs above it" if which == 0 else "")
    tasks = len(curves[0].rows(group))
    name = f"{_name(group)}, {tasks} task{'s' * (tasks != 1)}"
    _title(figure, f"Performance profiles ({name})", [f"pointwise {_band(confidence)}", _SCORE])
    add_legend(figure, [entry.method for entry in curves])
    save_figure(figure, path)


def _groups(entry: Curves) -> list[_Part]:
    parts = [(_name(group), entry.rows(group), entry.is_normalised(group)) for group in entry.group_names]
    return [_Part(*part, f" ({len(part[1])} tasks)" if len(part[1]) > 1 else "") for part in parts]


def _tasks(entry: Curves) -> list[_Part]:
    counted = zip(entry.tasks, entry.headline or (), strict=True)
    return [
        _Part(task, [index], entry.has_reference(index), "" if counts else " (not in the means)")
        for index, (task, counts) in enumerate(counted)
    ]


def _name(group: str) -> str:
    return "all normalised" if group == ALL else group


def _limit(panel: Axes, drawn: FloatArray) -> None:
    """Room for lines, and for bands while they do not dwarf them; `drawn` is [methods, line and low and high, bins]."""
    lines = drawn[:, 0]
    room = 2 * np.ptp(lines) or np.ptp(drawn)
    least, greatest = max(drawn.min(), lines.min() - room), min(drawn.max(), lines.max() + room)
    margin = 0.05 * (greatest - least) or 0.5
    panel.set_ylim(least - margin, greatest + margin)


def _budgets_agree(entry: Curves, rows: Sequence[int]) -> bool:
    steps = entry.env_steps
    return steps.ndim == 1 or bool((steps[rows] == steps[rows[0]]).all())


def _progress(entry: Curves, rows: Sequence[int], in_steps: bool) -> FloatArray:
    """The x axis [bins] of some tasks: environment steps, or per cent of each task's budget."""
    steps = entry.env_steps[None] if entry.env_steps.ndim == 1 else entry.env_steps[rows]
    return steps[0] if in_steps else (100 * steps / steps[:, -1:]).mean(axis=0)


def _title(figure: Figure, title: str, remarks: Sequence[str]) -> None:
    """The remarks below the title, in as many lines as the figure's width asks for."""
    set_title(figure, title, wrapped("; ".join(remarks), int(11 * figure.get_figwidth())))


def _band(confidence: float) -> str:
    return f"{100 * confidence:g} % stratified bootstrap intervals"
