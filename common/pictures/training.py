"""Pictures of a run: its metrics over time, and what the hyperparameter sampler came to."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import EngFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from metaobj.common.errors import UserError, require_finite
from metaobj.common.pictures.style import COLOURS, INK, MAX_PANELS, grid_of_panels, save_figure, set_title, style_panel

FloatArray = NDArray[np.float64]


def training_curve(
    path: str | Path,
    rows: Sequence[Mapping[str, object]],
    keys: Sequence[str] | None = None,
    x_key: str = "step",
    title: str = "Meta-training",
    names: Mapping[str, str] | None = None,
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
        names: what keys are called in it; by default their own words.

    Raises:
        UserError: no row has a number under any of the keys.
    """
    wanted = list(dict.fromkeys(key for row in rows for key in row)) if keys is None else list(keys)
    series = {key: _series(rows, key, x_key) for key in wanted if key != x_key}
    series = {key: values for key, values in series.items() if len(values[0])}
    if not series:
        raise UserError(f"keys: none of {wanted} holds a number in any of the {len(rows)} metrics rows")
    figure, panels = grid_of_panels(len(series), width=3.6, height=2.5, max_columns=3)
    for panel, (key, (x, y)) in zip(panels, series.items(), strict=True):
        finite = np.isfinite(y)
        log = bool(finite.any()) and y[finite].min() > 0 and y[finite].max() > 1000 * y[finite].min()
        y = np.where(finite, y, np.nan)
        panel.plot(x, y, color=COLOURS[0], marker="." if len(y) < 40 else None, linewidth=1.5)
        window = len(y) // 25
        if window >= 4:
            panel.lines[0].set(alpha=0.35, linewidth=0.8)
            # On a logarithmic axis the average that looks like one is the geometric mean.
            average = np.exp(_moving_average(np.log(y), window)) if log else _moving_average(y, window)
            centre = (window - 1) // 2
            panel.plot(x[centre : centre + len(average)], average, color=COLOURS[0], linewidth=1.8)
        if log:
            panel.set_yscale("log")
            panel.yaxis.set_minor_locator(NullLocator())
        lost = f" ({np.sum(~finite)} not finite)" if not finite.all() else ""
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        style_panel(panel, title=_called(key, names) + lost, x_label="meta-updates")
    set_title(figure, title)
    save_figure(figure, path)


def seeds_curve(
    path: str | Path,
    runs: Sequence[Sequence[Mapping[str, object]]],
    keys: Sequence[str],
    names: Mapping[str, str] | None = None,
    x_key: str = "step",
) -> None:
    """One panel per metric against meta-updates: the mean over runs of one configuration that differ in their seed, and
    the range from the lowest to the highest. Only meta-updates that all of them have logged count; a metric that one of
    them lacks there has no panel.

    Args:
        path: of the PNG.
        runs: the logged metrics of each.
        keys: what to draw, see `training_curve`.
        names: likewise.
        x_key: likewise.

    Raises:
        UserError: no metric has numbers in all of them.
    """
    figures: dict[str, tuple[FloatArray, FloatArray]] = {}
    for key in dict.fromkeys(keys):
        found = [dict(zip(*_series(rows, key, x_key), strict=True)) for rows in runs]
        steps = sorted(set.intersection(*(set(run) for run in found))) if found else []
        values = np.array([[run[step] for step in steps] for run in found])
        if steps and np.isfinite(values).all():
            figures[key] = np.array(steps), values
    if not figures:
        raise UserError(f"keys: none of {list(keys)} holds numbers in all {len(runs)} runs")
    figure, panels = grid_of_panels(len(figures), width=3.6, height=2.5, max_columns=3)
    for panel, (key, (x, y)) in zip(panels, figures.items(), strict=False):
        panel.fill_between(x, y.min(axis=0), y.max(axis=0), color=COLOURS[0], alpha=0.18, linewidth=0)
        panel.plot(x, y.mean(axis=0), color=COLOURS[0], marker="." if len(x) < 40 else None, linewidth=1.5)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        style_panel(panel, title=_called(key, names), x_label="meta-updates")
    set_title(figure, "Meta-training", f"mean over {len(runs)} seeds, and from the lowest to the highest")
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
    require_finite("probabilities", table, tuple(name for name, _ in axes))
    names = [f"task {index}" for index in range(len(table))] if tasks is None else list(tasks)
    if len(names) != len(table):
        raise UserError(f"tasks: got {len(names)} names, need {len(table)}, one per table of probabilities")
    # What varies comes first: only two dimensions can be shown.
    order = sorted(range(len(axes)), key=lambda i: len(axes[i][1]) == 1)
    table, axes = table.transpose(0, *(i + 1 for i in order)), [axes[i] for i in order]
    table = table.sum(axis=tuple(range(3, table.ndim))) if table.ndim > 2 else table[:, None, :]
    (y_name, y_values), (x_name, x_values) = (("", ("",)), axes[0]) if len(axes) == 1 else axes[:2]
    shown = min(len(table), MAX_PANELS)
    cells = table.shape[1:]
    width, height = max(2.2, 0.55 * cells[1] + 1.1), max(1.4, 0.4 * cells[0] + 1.2)
    figure, panels = grid_of_panels(shown, width, height, max_columns=4)
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


def _called(key: str, names: Mapping[str, str] | None) -> str:
    return (names or {}).get(key, key.replace("_", " "))


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


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | int | np.number) else str(value)
