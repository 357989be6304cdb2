"""One style for all pictures: PNG files, drawn by matplotlib on a canvas without a window or global state."""

import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from metaobj.common.files import atomic_write, make_folder

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")  # Okabe and Ito's, no yellow
INK, MUTED, GRID = "#262626", "#6b6b6b", "#e4e4e4"
_TITLE, LABEL, _TICK = 11.5, 9.5, 8.5  # font sizes in points
_DPI = 150
MAX_PANELS = 24


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches; its layout finds the room for labels by itself."""
    layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.1, wspace=0.03, hspace=0.04)
    return Figure(figsize=(width, height), layout=layout)


def grid_of_panels(count: int, width: float, height: float, max_columns: int) -> tuple[Figure, list[Axes]]:
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
        panel.grid(True, axis=grid_axis, color=GRID, linewidth=0.8)
    panel.set_axisbelow(True)
    for spine in panel.spines.values():
        spine.set_visible(False)
    if grid_axis == "both":
        panel.spines["bottom"].set(visible=True, color=MUTED)
    panel.tick_params(labelsize=_TICK, colors=MUTED, labelcolor=INK, length=3)
    if title:
        panel.set_title(plain(wrapped(title, 40)), fontsize=LABEL + 1, color=INK, loc="left")
    panel.set_xlabel(plain(x_label), fontsize=LABEL, color=MUTED)
    panel.set_ylabel(plain(y_label), fontsize=LABEL, color=MUTED)


def set_title(figure: Figure, title: str, subtitle: str = "") -> None:
    """What the whole picture shows, and on the next line how it was made."""
    figure.suptitle(plain(title) + (f"\n{plain(subtitle)}" if subtitle else ""), fontsize=_TITLE, color=INK)


def add_legend(figure: Figure, names: Sequence[str]) -> None:
    """Names of the first colours, below the panels, where they cover no data."""
    rows = max(-(-len(names) // 5), 1)
    handles = [Line2D([], [], color=colour, linewidth=3) for colour in colours(len(names))]
    figure.legend(
        handles,
        [plain(name) for name in names],
        loc="outside lower center",
        ncols=max(-(-len(names) // rows), 1),  # rows of equal lengths
        frameon=False,
        fontsize=LABEL,
        labelcolor=INK,
    )


def colours(count: int) -> list[str]:
    """The first `count` of the colours, again from the start where there are not enough."""
    return [COLOURS[index % len(COLOURS)] for index in range(count)]


def plain(text: str) -> str:
    """Text in which a dollar sign is a dollar sign."""
    return text.replace("$", r"\$")


def wrapped(text: str, width: int) -> str:
    """Text in lines of at most `width` characters, broken at spaces, or within a name after one of / _ - and :; what
    has none of them is longer.
    """
    lines = [""]
    for piece in re.findall(r"[^\s/_:-]+[\s/_:-]*|[\s/_:-]+", text):
        if lines[-1].strip() and len((lines[-1] + piece).rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return "\n".join(line.rstrip() for line in lines)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write the PNG, atomically; its folder is made if missing.

    Raises:
        UserError: the file cannot be written.
    """
    image = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(image, dpi=_DPI, facecolor="white", format="png")
    make_folder(Path(path).parent)
    atomic_write(path, image.getvalue())
