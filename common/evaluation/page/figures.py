"""The pictures of the page: learning curves of every task, and performance profiles."""

import numpy as np

from metaobj.common.evaluation.bootstrap import performance_profile
from metaobj.common.evaluation.curves import MEASURES, Curves, measures
from metaobj.common.evaluation.evaluation import Evaluation
from metaobj.common.evaluation.page import derived
from metaobj.common.evaluation.page.markup import Markup, breakable, tag
from metaobj.common.evaluation.page.plot import Line, key, padded, plot
from metaobj.common.evaluation.statistics import FloatArray
from metaobj.common.evaluation.wording import digits, group_label

_MOST_POINTS = 100
"""Of a learning curve; a longer one is drawn at so many of its bins."""
_THRESHOLDS = 61


def learning_curves(evaluation: Evaluation) -> Markup:
    """A panel for every task."""
    first = evaluation.curves[0]
    count = first.returns.shape[-1]
    bins = np.unique(np.linspace(0, count - 1, min(count, _MOST_POINTS)).round().astype(int))
    dashed = " Dashed: the returns that scores of 0 and 1 stand for." if first.reference is not None else ""
    drawn = f" Drawn at {len(bins)} of {count} bins." if len(bins) < count else ""
    intro = f"Mean return over seeds against environment steps; bands are 95 % bootstrap intervals.{dashed}{drawn}"
    panels = [_task_panel(evaluation, task, bins) for task in range(len(first.tasks))]
    names = [entry.method for entry in evaluation.curves]
    return tag("div", tag("p", intro), key(names), tag("div", *panels, class_="panels"))


def _task_panel(evaluation: Evaluation, task: int, bins: FloatArray) -> Markup:
    name = evaluation.curves[0].tasks[task]
    lines, ends, lost = [], [], []
    for number, entry in enumerate(evaluation.curves):
        lines.append(Line(entry.method, number, *derived.learning_curve(entry, task, bins)))
        ends.append(f"{entry.method} {digits(lines[-1].y.point[-1], float(np.max(np.abs(lines[-1].y.point))))}")
        if count := entry.lost(task):
            lost.append(f"{entry.method}: {count} of {entry.returns.shape[1]} diverged")
    levels = derived.levels(evaluation.curves[0], task)
    seen = [_worth_showing(entry, task, line) for entry, line in zip(evaluation.curves, lines, strict=True)]
    panel = plot(
        label=f"Learning curves on {name}. Mean return at the end: {', '.join(ends)}.",
        lines=lines,
        x_label="environment steps",
        y_label="episode return",
        x_limits=(0.0, max(float(line.x[-1]) for line in lines)),
        # Where nobody has a return of its own and nothing is known, there is nothing to make room for.
        y_limits=padded(np.concatenate([*seen, [*levels.values()]]) if levels or any(map(len, seen)) else [0.0]),
        levels=levels,
    )
    remarks = [tag("span", text, class_="bad") for text in lost]
    return tag("figure", tag("figcaption", breakable(name)), panel, *remarks)


def _worth_showing(entry: Curves, task: int, line: Line) -> FloatArray:
    """The returns that a panel must have room for: where agents diverged, those of the others, if there are any."""
    if entry.diverged is None or not entry.lost(task):
        return np.concatenate([line.y.low, line.y.high])
    kept = entry.returns[task][~entry.diverged[task].any(axis=-1)]
    return kept.mean(axis=0) if len(kept) else np.empty(0)


def profiles(evaluation: Evaluation) -> Markup:
    """Two panels: shares of runs above every final score, and above every area."""
    first = evaluation.curves[0]
    group = derived.headline_group(first)
    if not first.is_normalised(group):
        return tag("p", "No group of tasks has scores, so runs on different tasks cannot be counted together.")
    runs = [measures(entry.values(group)) for entry in evaluation.curves]  # [3, tasks, seeds] each
    pooled = np.concatenate([values.ravel() for values in runs])
    low, high = float(np.clip(np.quantile(pooled, 0.01), -1, 0)), float(np.clip(np.quantile(pooled, 0.99), 1, 2))
    thresholds = np.linspace(low, high, _THRESHOLDS)
    panels = []
    for which, measure in enumerate(MEASURES[:2]):
        lines = []
        for number, (entry, values) in enumerate(zip(evaluation.curves, runs, strict=True)):
            options = {"repetitions": derived.REPETITIONS, "meta_seeds": entry.meta_seeds}
            shares = performance_profile(values[which], thresholds, **options)
            lines.append(Line(entry.method, number, thresholds, shares))
        panel = plot(
            label=f"Share of runs whose {measure} score is above a threshold, by method; {group_label(group)}.",
            lines=lines,
            x_label=f"{measure} score",
            y_label="share of runs above",
            x_limits=(low, high),
            y_limits=(0.0, 1.0),
        )
        panels.append(tag("figure", tag("figcaption", measure.capitalize()), panel))
    tasks, seeds = runs[0].shape[1:]
    intro = (
        f"How many of a method's runs ({group_label(group)}: {tasks} tasks, {seeds} seeds each) score more than the "
        "threshold below. A curve that is higher everywhere is better; where two cross, each is better for some."
    )
    names = [entry.method for entry in evaluation.curves]
    return tag("div", tag("p", intro), key(names), tag("div", *panels, class_="panels"))
