"""A table of numbers as colours, with their intervals in words."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metaobj.common.pictures.style import INK, new_figure, plain, save_figure, set_title, style_panel, wrapped


def heat_map(
    path: str | Path,
    values: NDArray[np.float64],
    intervals: NDArray[np.float64],
    shades: NDArray[np.float64],
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
        shades: [rows, columns], from 0 to 1 as far as colours tell it; NaN leaves a cell white.
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
    if values.shape != shape or intervals.shape != (2, *shape) or shades.shape != shape:
        raise ValueError(f"values: shape {values.shape}, intervals {intervals.shape}; need {shape} and {(2, *shape)}")
    figure = new_figure(max(6.0, 1.5 * len(columns) + 2.5), 0.75 * len(rows) + 2.0)
    panel = figure.subplots()
    panel.imshow(shades, cmap="Blues", vmin=0.0, vmax=1.0, aspect="auto")
    for row, column in np.ndindex(shape):
        if np.isfinite(values[row, column]):
            low, high = intervals[:, row, column]
            colour = "white" if shades[row, column] > 0.6 else INK
            form = ".2f" if max(abs(values[row, column]), abs(low), abs(high)) < 100 else ".0f"
            words: Any = {"ha": "center", "va": "center", "color": colour}
            panel.text(column, row - 0.12, f"{values[row, column]:{form}}", size=11, **words)
            panel.text(column, row + 0.24, f"[{low:{form}}, {high:{form}}]", size=7.5, **words)
    panel.set_xticks(range(shape[1]), [plain(wrapped(name, 16)) for name in columns])
    panel.set_yticks(range(shape[0]), [plain(wrapped(name, 20)) for name in rows])
    style_panel(panel, x_label=column_label, y_label=row_label, grid_axis=None)
    panel.tick_params(length=0)
    set_title(figure, title, subtitle)
    save_figure(figure, path)
