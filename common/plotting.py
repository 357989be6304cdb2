"""Pictures as PNG files, in one style. Drawn with matplotlib's objects on a canvas without a window or global state."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator

from metaobj.common.errors import UserError
from metaobj.common.evaluation import statistics
from metaobj.common.evaluation.results import ALL, Curves, check_comparable, final_and_area
from metaobj.common.evaluation.statistics import FloatArray

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe and Ito's, no yellow
INK, MUTED, _GRID = "#262626", "#6b6b6b", "#e4e4e4"
_TITLE, _LABEL, _TICK = 11.5, 9.5, 8.5  # font sizes in points
_DPI = 150
_MAX_PANELS = 24
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
    figure, panels = _grid_of_panels(len(groups), width=3.9, height=2.9, max_columns=3)
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
        axes[0].set_yticks(centres, [_plain(_wrapped(label, 24)) for label in labels])
        axes[0].set_ylim(centres[-1] + len(curves) / 2 + 0.4, -0.9)  # downwards, in the order of the table
        label = _SCORE_LABEL if first.is_normalised(block[0]) else _RETURN_LABEL
        for panel in axes:
            for above, below in zip(centres, centres[1:], strict=False):
                panel.axhline((above + below) / 2, color=_GRID, linewidth=0.8)
            panel.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
            panel.margins(x=0.08)
            style_panel(panel, x_label=label, grid_axis="x")
            panel.tick_params(axis="y", length=0, labelsize=_LABEL)
    for panel, title in zip(rows[0], ("final (last 10 % of bins)", "mean over the lifetime (AUC)"), strict=True):
        panel.set_title(title, fontsize=_LABEL + 1, color=INK, loc="left")
    set_title(figure, "Final performance and area under the curve", f"IQM over tasks and seeds, {_band(confidence)}")
    add_legend(figure, [entry.method for entry in curves])
    save_figure(figure, path)


def training_curve(
    path: str | Path,
    rows: Sequence[Mapping[str, object]],
    keys: Sequence[str] | None = None,
    x_key: str = "step",
    title: str = "Meta-training",
) -> None:
    """One panel per metric against meta-updates, with a moving average where there are many points.

    A row may lack a key, or hold something other than a number there: it has no point in that panel. A key that no row
    has gets no panel. Values that are NaN, infinite or None (what metrics files hold for them) are counted in the
    panel's title. Positive values that span more than three decades are drawn on a logarithmic scale.

    Args:
        path: of the PNG.
        rows: logged metrics in the order of training.
        keys: what to draw; None draws every key that holds numbers.
        x_key: what holds the number of meta-updates; the place of a row stands in for it where it is missing.
        title: over the picture.

    Raises:
        UserError: no row has a number under any of the keys.
    """
    wanted = list(dict.fromkeys(key for row in rows for key in row)) if keys is None else list(keys)
    series = {key: _series(rows, key, x_key) for key in wanted if key != x_key}
    series = {key: values for key, values in series.items() if len(values[0])}
    if not series:
        raise UserError(f"keys: none of {wanted} holds a number in any of the {len(rows)} metrics rows")
    figure, panels = _grid_of_panels(len(series), width=3.6, height=2.5, max_columns=3)
    for panel, (key, (x, y)) in zip(panels, series.items(), strict=True):
        finite = np.isfinite(y)
        log = bool(finite.any()) and y[finite].min() > 0 and y[finite].max() > 1000 * y[finite].min()
        y = np.where(finite, y, np.nan)
        panel.plot(x, y, color=_COLOURS[0], marker="." if len(y) < 40 else None, linewidth=1.5)
        window = len(y) // 25
        if window >= 4:
            panel.lines[0].set(alpha=0.35, linewidth=0.8)
            # On a logarithmic axis the average that looks like one is the geometric mean.
            average = np.exp(_moving_average(np.log(y), window)) if log else _moving_average(y, window)
            centre = (window - 1) // 2
            panel.plot(x[centre : centre + len(average)], average, color=_COLOURS[0], linewidth=1.8)
        if log:
            panel.set_yscale("log")
            panel.yaxis.set_minor_locator(NullLocator())
        lost = f" ({np.sum(~finite)} not finite)" if not finite.all() else ""
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        style_panel(panel, title=key.replace("_", " ") + lost, x_label="meta-updates")
    set_title(figure, title)
    save_figure(figure, path)


def sampler_table(
    path: str | Path,
    probabilities: FloatArray,
    axes: Sequence[tuple[str, Sequence[float]]],
    tasks: Sequence[str] | None = None,
) -> None:
    """How likely each setting of hyperparameters is to be drawn, a heatmap per task.

    Args:
        path: of the PNG.
        probabilities: [tasks, *grid], the grid of one dimension or more; the third and later ones are summed over.
        axes: name and values of each dimension of the grid, such as [("learning rate", (20, 40)), ("KL weight", (1,))].
        tasks: names; numbers stand in for them.

    Raises:
        UserError: shapes do not fit together.
    """
    table = np.asarray(probabilities, dtype=np.float64)
    shape = tuple(len(values) for _, values in axes)
    if table.ndim < 2 or table.shape[1:] != shape or len(table) == 0:
        raise UserError(f"probabilities: shape {table.shape}, need [tasks, *grid] with the grid {shape} of the axes")
    statistics.require_finite("probabilities", table, tuple(name for name, _ in axes))
    names = [f"task {index}" for index in range(len(table))] if tasks is None else list(tasks)
    if len(names) != len(table):
        raise UserError(f"tasks: got {len(names)} names, need {len(table)}, one per table of probabilities")
    # What varies comes first: only two dimensions can be shown.
    order = sorted(range(len(axes)), key=lambda i: len(axes[i][1]) == 1)
    table, axes = table.transpose(0, *(i + 1 for i in order)), [axes[i] for i in order]
    table = table.sum(axis=tuple(range(3, table.ndim))) if table.ndim > 2 else table[:, None, :]
    (y_name, y_values), (x_name, x_values) = (("", ("",)), axes[0]) if len(axes) == 1 else axes[:2]
    shown = min(len(table), _MAX_PANELS)
    cells = table.shape[1:]
    width, height = max(2.2, 0.55 * cells[1] + 1.1), max(1.4, 0.4 * cells[0] + 1.2)
    figure, panels = _grid_of_panels(shown, width, height, max_columns=4)
    top = table[:shown].max()
    for panel, name, grid in zip(panels, names, table, strict=False):
        panel.imshow(grid, cmap="Blues", vmin=0, vmax=top, aspect="auto")
        for row, column in np.ndindex(cells) if cells[0] * cells[1] <= 40 else ():
            colour = "white" if grid[row, column] > 0.6 * top else INK
            text = f"{grid[row, column]:.2f}"
            panel.text(column, row, text, ha="center", va="center", fontsize=7.5, color=colour)
        panel.set_xticks(range(cells[1]), [_short(value) for value in x_values])
        panel.set_yticks(range(cells[0]), [_short(value) for value in y_values])
        style_panel(panel, title=name, x_label=x_name, y_label=y_name, grid_axis=None)
        panel.tick_params(length=0)
    bar = figure.colorbar(panels[0].images[0], ax=panels, shrink=0.8, aspect=30, pad=0.02)
    style_panel(bar.ax, y_label="probability", grid_axis=None)
    bar.outline.set_visible(False)
    parts = [f"first {shown} of {len(table)} tasks"] if shown < len(table) else []
    parts += [f"summed over {', '.join(name for name, _ in axes[2:])}"] if len(axes) > 2 else []
    set_title(figure, "Hyperparameter sampler: probability of each setting", "; ".join(parts))
    save_figure(figure, path)


def _series(rows: Sequence[Mapping[str, object]], key: str, x_key: str) -> tuple[FloatArray, FloatArray]:
    """The x and y of the rows that have a number under the key."""
    points = []
    for index, row in enumerate(rows):
        x, y = _as_number(row.get(x_key, index)), _as_number(row.get(key, ""))
        if y is not None:
            points.append((index if x is None or not math.isfinite(x) else x, y))
    return np.asarray([x for x, _ in points]), np.asarray([y for _, y in points])


def _moving_average(values: FloatArray, window: int) -> FloatArray:
    """Of each `window` values in a row, NaN left out: [n] -> [n - window + 1]."""
    known = np.isfinite(values)
    box = np.ones(window)
    counts = np.convolve(known, box, mode="valid")
    sums = np.convolve(np.where(known, values, 0.0), box, mode="valid")
    return np.where(counts > 0.5, sums / np.maximum(counts, 1), np.nan)


def _as_number(value: object) -> float | None:
    if isinstance(value, Sequence | Mapping):  # strings among them
        return None
    array = np.asarray(np.nan if value is None else value)
    return float(array) if array.ndim == 0 and array.dtype.kind in "iufb" else None


def _budgets_agree(entry: Curves, group: str) -> bool:
    steps = entry.env_steps
    return steps.ndim == 1 or bool((steps[entry.rows(group)] == steps[entry.rows(group)[0]]).all())


def _progress(entry: Curves, group: str, in_steps: bool) -> FloatArray:
    """The group's x axis [bins]: environment steps, or per cent of each task's budget."""
    steps = entry.env_steps[None] if entry.env_steps.ndim == 1 else entry.env_steps[entry.rows(group)]
    return steps[0] if in_steps else (100 * steps / steps[:, -1:]).mean(axis=0)


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches; its layout finds the room for labels by itself."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.03, hspace=0.04)
    return Figure(figsize=(width, height), layout=layout)


def _grid_of_panels(count: int, width: float, height: float, max_columns: int) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of about the given size in inches, in rows as even as can be."""
    rows = math.ceil(count / max_columns)
    columns = math.ceil(count / rows)
    figure = new_figure(max(6.0, width * columns), height * rows + 1.0)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for panel in grid[count:]:
        panel.remove()
    return figure, list(grid[:count])


def style_panel(
    panel: Axes,
    title: str = "",
    x_label: str = "",
    y_label: str = "",
    grid_axis: Literal["both", "x", "y"] | None = "both",
) -> None:
    """The look that all panels share."""
    if grid_axis is not None:
        panel.grid(True, axis=grid_axis, color=_GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    for spine in panel.spines.values():
        spine.set_visible(False)
    if grid_axis == "both":
        panel.spines["bottom"].set(visible=True, color=MUTED)
    panel.tick_params(labelsize=_TICK, colors=MUTED, labelcolor=INK, length=3)
    if title:
        panel.set_title(_plain(_wrapped(title, 40)), fontsize=_LABEL + 1, color=INK, loc="left")
    panel.set_xlabel(_plain(x_label), fontsize=_LABEL, color=MUTED)
    panel.set_ylabel(_plain(y_label), fontsize=_LABEL, color=MUTED)


def set_title(figure: Figure, title: str, subtitle: str = "") -> None:
    """What the whole picture shows, and on the next line how it was made."""
    figure.suptitle(_plain(title) + (f"\n{_plain(subtitle)}" if subtitle else ""), fontsize=_TITLE, color=INK)


def add_legend(figure: Figure, names: Sequence[str]) -> None:
    """Names of the first colours, below the panels, where they cover no data."""
    handles = [Line2D([], [], color=colour, linewidth=3) for colour in colours(len(names))]
    figure.legend(
        handles,
        [_plain(name) for name in names],
        loc="outside lower center",
        ncols=min(len(names), 5),
        frameon=False,
        fontsize=_LABEL,
        labelcolor=INK,
    )


def colours(count: int) -> list[str]:
    """The first `count` of the colours, again from the start where there are not enough."""
    return [_COLOURS[index % len(_COLOURS)] for index in range(count)]


def _band(confidence: float) -> str:
    return f"{100 * confidence:g} % stratified bootstrap intervals"


def _plain(text: str) -> str:
    """Text in which a dollar sign is a dollar sign."""
    return text.replace("$", r"\$")


def _wrapped(text: str, width: int) -> str:
    return "\n".join(textwrap.wrap(text, width)) or text


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | int | np.number) else str(value)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write the PNG; its folder is made if missing."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure).print_figure(str(path), dpi=_DPI, facecolor="white", format="png")
