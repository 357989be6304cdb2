"""Pictures of an evaluation: learning curves, and final performance with its intervals."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import EngFormatter, MaxNLocator

from metaobj.common.evaluation import statistics
from metaobj.common.evaluation.curves import ALL, Curves, check_comparable, final_and_area
from metaobj.common.evaluation.statistics import FloatArray
from metaobj.common.pictures.style import (
    GRID,
    INK,
    LABEL,
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

_SCORE_LABEL = "score (0 random, 1 optimal or baseline)"
_RETURN_LABEL = "episode return"


def learning_curves(
    path: str | Path, curves: Sequence[Curves], repetitions: int = 200, seed: int = 0, confidence: float = 0.95
) -> None:
    """One panel per group, and one for all normalised groups: IQM over tasks and seeds with its bootstrap band.

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
    groups = sorted(curves[0].group_names, key=lambda group: group != ALL)
    figure, panels = grid_of_panels(len(groups), width=3.9, height=2.9, max_columns=3)
    for panel, group in zip(panels, groups, strict=True):
        first = curves[0]
        in_steps = all(_budgets_agree(entry, group) for entry in curves)
        for colour, entry in zip(colours(len(curves)), curves, strict=True):
            x = _progress(entry, group, in_steps)
            by_bin = np.moveaxis(entry.values(group), -1, 0)  # [bins, tasks, seeds]
            middle, low, high = statistics.stratified_bootstrap(
                by_bin, statistics.interquartile_mean, repetitions, seed, confidence
            )
            panel.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0)
            panel.plot(x, middle, color=colour, linewidth=1.8, marker="o" if len(x) == 1 else None)
        panel.xaxis.set_major_formatter(EngFormatter(sep="") if in_steps else "{x:.0f} %")
        panel.set_xlim(left=0)
        count = len(first.rows(group))
        name = "all normalised groups" if group == ALL else group
        style_panel(
            panel,
            title=f"{name} ({count} task{'s' * (count != 1)})",
            x_label="environment steps" if in_steps else "share of the step budget",
            y_label=_SCORE_LABEL if first.is_normalised(group) else _RETURN_LABEL,
        )
    # Scores mean the same in every panel, so they get the same axis.
    scored = [panel for panel, group in zip(panels, groups, strict=True) if curves[0].is_normalised(group)]
    limits = [limit for panel in scored for limit in panel.get_ylim()]
    for panel in scored:
        panel.set_ylim(min(limits), max(limits))
    set_title(figure, "Learning curves on the evaluation tasks", f"IQM over tasks and seeds, {_band(confidence)}")
    add_legend(figure, [entry.method for entry in curves])
    save_figure(figure, path)


def interval_plot(
    path: str | Path, curves: Sequence[Curves], repetitions: int = 2000, seed: int = 0, confidence: float = 0.95
) -> None:
    """Final performance and area under the curve side by side: IQM as a point, its bootstrap interval as a bar.

    Normalised groups share an axis; every other group has its own, in returns.

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
    first = curves[0]
    normalised = [group for group in first.group_names if first.is_normalised(group)]
    blocks = [normalised] if normalised else []
    blocks += [[group] for group in first.group_names if not first.is_normalised(group)]
    lines = [len(block) * (len(curves) + 0.8) for block in blocks]
    figure = new_figure(9.0, 1.3 + 0.75 * len(blocks) + 0.21 * sum(lines))
    rows = figure.subplots(
        len(blocks), 2, squeeze=False, sharex="row", sharey="row", gridspec_kw={"height_ratios": lines}
    )
    for axes, block in zip(rows, blocks, strict=True):
        for g, group in enumerate(block):
            for m, (colour, entry) in enumerate(zip(colours(len(curves)), curves, strict=True)):
                interval = statistics.stratified_bootstrap(
                    final_and_area(entry.values(group)), statistics.interquartile_mean, repetitions, seed, confidence
                )
                y = g * (len(curves) + 0.8) + m
                for which, panel in enumerate(axes):
                    point, low, high = (float(number[which]) for number in interval)
                    panel.plot([low, high], [y, y], color=colour, linewidth=5, alpha=0.35, solid_capstyle="butt")
                    panel.plot([point], [y], color=colour, marker="o", markersize=6)
        centres = [g * (len(curves) + 0.8) + (len(curves) - 1) / 2 for g in range(len(block))]
        labels = ["all normalised" if group == ALL else group for group in block]
        axes[0].set_yticks(centres, [plain(wrapped(label, 24)) for label in labels])
        axes[0].set_ylim(centres[-1] + len(curves) / 2 + 0.4, -0.9)  # downwards, in the order of the table
        label = _SCORE_LABEL if first.is_normalised(block[0]) else _RETURN_LABEL
        for panel in axes:
            for above, below in zip(centres, centres[1:], strict=False):
                panel.axhline((above + below) / 2, color=GRID, linewidth=0.8)
            panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            panel.margins(x=0.08)
            style_panel(panel, x_label=label, grid_axis="x")
            panel.tick_params(axis="y", length=0, labelsize=LABEL)
    for panel, title in zip(rows[0], ("final (last 10 % of bins)", "mean over the lifetime (AUC)"), strict=True):
        panel.set_title(title, fontsize=LABEL + 1, color=INK, loc="left")
    set_title(figure, "Final performance and area under the curve", f"IQM over tasks and seeds, {_band(confidence)}")
    add_legend(figure, [entry.method for entry in curves])
    save_figure(figure, path)


def _budgets_agree(entry: Curves, group: str) -> bool:
    steps = entry.env_steps
    return steps.ndim == 1 or bool((steps[entry.rows(group)] == steps[entry.rows(group)[0]]).all())


def _progress(entry: Curves, group: str, in_steps: bool) -> FloatArray:
    """The group's x axis [bins]: environment steps, or per cent of each task's budget."""
    steps = entry.env_steps[None] if entry.env_steps.ndim == 1 else entry.env_steps[entry.rows(group)]
    return steps[0] if in_steps else (100 * steps / steps[:, -1:]).mean(axis=0)


def _band(confidence: float) -> str:
    return f"{100 * confidence:g} % stratified bootstrap intervals"
