"""A table of numbers as colours, with their intervals in words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from metaobj.common.pictures.style import INK, new_figure, plain, save_figure, set_title, style_panel, wrapped


def heat_map(
    path: str | Path,
    values: NDArray[np.float64],
    intervals: NDArray[np.float64],
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
    subtitle: str,
    row_label: str,
    column_label: str,
) -> None:
    """Writes a PNG.

    Args:
        path: the file.
        values: [rows, columns]; NaN leaves a cell empty.
        intervals: [2, rows, columns], lower and upper ends.
        rows: their names.
        columns: their names.
        title: of the picture.
        subtitle: in smaller words, how it was made.
        row_label: what the rows are.
        column_label: what the columns are.

    Raises:
        ValueError: shapes do not fit.
        UserError: the file cannot be written.
    """
    shape = (len(rows), len(columns))
    if values.shape != shape or intervals.shape != (2, *shape):
        raise ValueError(f"values: shape {values.shape}, intervals {intervals.shape}; need {shape} and {(2, *shape)}")
    figure = new_figure(max(6.0, 1.5 * len(columns) + 2.5), 0.75 * len(rows) + 2.0)
    panel = figure.subplots()
    # Scores: 0 is the uniform policy's, 1 the best; beyond them the colour says no more.
    panel.imshow(values, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    for row, column in np.ndindex(shape):
        if np.isfinite(values[row, column]):
            low, high = intervals[:, row, column]
            colour = "white" if values[row, column] > 0.6 else INK
            panel.text(
                column, row - 0.12, f"{values[row, column]:.2f}", ha="center", va="center", color=colour, size=11
            )
            text = f"[{low:.2f}, {high:.2f}]"
            panel.text(column, row + 0.24, text, ha="center", va="center", color=colour, size=7.5)
    panel.set_xticks(range(shape[1]), [plain(wrapped(name, 16)) for name in columns])
    panel.set_yticks(range(shape[0]), [plain(wrapped(name, 20)) for name in rows])
    style_panel(panel, x_label=column_label, y_label=row_label, grid_axis=None)
    panel.tick_params(length=0)
    set_title(figure, title, subtitle)
    save_figure(figure, path)
