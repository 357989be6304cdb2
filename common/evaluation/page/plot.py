"""Lines with bands as SVG: few decimals, no script, and titles that show on hovering."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from metaobj.common.evaluation.bootstrap import Interval
from metaobj.common.evaluation.page.markup import Markup, tag
from metaobj.common.evaluation.statistics import FloatArray
from metaobj.common.evaluation.wording import with_interval
from metaobj.common.pictures.style import COLOURS

_COLOURS = COLOURS[:4]
"""Those that stand out 3 : 1 from white and from near black, and from each other whatever kind of colour vision."""
_DASHES = (None, "7 3", "2 2.5")
_WIDTH, _HEIGHT, _TOP, _BOTTOM, _RIGHT = 340, 230, 22, 36, 18
_CHARACTER = 6.2
"""Width of a character of a tick's label, about."""


@dataclass(frozen=True, eq=False)
class Line:
    """A method's line and its band; all arrays are [points]."""

    name: str
    number: int
    """Of the method, which gives the line its look."""
    x: FloatArray
    y: Interval


def look(number: int) -> dict[str, str | None]:
    """Stroke of the method with this number: twelve differ, then they come again."""
    turn, colour = divmod(number, len(_COLOURS))
    return {"stroke": _COLOURS[colour], "stroke_dasharray": _DASHES[turn % len(_DASHES)]}


def plot(
    label: str,
    lines: Sequence[Line],
    x_label: str,
    y_label: str,
    x_limits: tuple[float, float],
    y_limits: tuple[float, float],
    levels: Mapping[str, float] | None = None,
) -> Markup:
    """A panel with an axis on the left and one below; what leaves the limits is drawn along the edge.

    Args:
        label: what the picture tells those who cannot see it.
        lines: of the methods; they have equally many points.
        x_label: what is told to the right.
        y_label: what is told upwards.
        x_limits: the least and the greatest x.
        y_limits: the least and the greatest y.
        levels: values of y that are marked by a dashed line; the first's name is told on the right, the
            others' on the left, where learning curves leave room.
    """
    x_ticks, y_ticks = _ticks(*x_limits, 5), _ticks(*y_limits, 5)
    left = 12 + _CHARACTER * max(len(_short(value)) for value in y_ticks)
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def across(x: FloatArray) -> FloatArray:
        return left + (right - left) * (np.clip(x, *x_limits) - x_limits[0]) / (x_limits[1] - x_limits[0])

    def upwards(y: FloatArray) -> FloatArray:
        return bottom - (bottom - _TOP) * (np.clip(y, *y_limits) - y_limits[0]) / (y_limits[1] - y_limits[0])

    parts = []
    for tick, y in zip(y_ticks, upwards(y_ticks), strict=True):
        parts.append(_line("grid", left, y, right, y))
        parts.append(tag("text", _short(tick), x=_rounded(left - 6), y=_rounded(y + 3.5), text_anchor="end"))
    for tick, x in zip(x_ticks, across(x_ticks), strict=True):
        parts.append(_line("axis", x, bottom, x, bottom + 4))
        parts.append(tag("text", _short(tick), x=_rounded(x), y=bottom + 16, text_anchor="middle"))
    parts.append(_line("axis", left, bottom, right, bottom))
    parts.append(tag("text", y_label, x=2, y=12))
    parts.append(tag("text", x_label, x=right, y=_HEIGHT - 5, text_anchor="end"))
    for line in lines:
        edge = np.concatenate([line.y.low, line.y.high[::-1]])
        points = _points(across(np.concatenate([line.x, line.x[::-1]])), upwards(edge))
        parts.append(tag("polygon", class_="band", points=points, fill=look(line.number)["stroke"]))
    for line in lines:
        x, y = across(line.x), upwards(line.y.point)
        parts.append(tag("polyline", class_="line", points=_points(x, y), **look(line.number)))
        if len(x) == 1:
            parts.append(tag("circle", cx=_rounded(x[0]), cy=_rounded(y[0]), r=3.5, fill=look(line.number)["stroke"]))
    for number, (name, value) in enumerate((levels or {}).items()):
        y = float(upwards(np.array([value]))[0])
        parts.append(_line("level", left, y, right, y))
        x, anchor = (left + 4, None) if number else (right, "end")
        parts.append(tag("text", name, class_="halo", x=_rounded(x), y=_rounded(y - 4), text_anchor=anchor))
    parts.extend(_hover_strips(lines, across(lines[0].x), left, right, bottom, x_label))
    return tag("svg", *parts, viewBox=f"0 0 {_WIDTH} {_HEIGHT}", role="img", aria_label=label, class_="plot")


def key(names: Sequence[str]) -> Markup:
    """Which line is whose."""
    return tag("ul", *(tag("li", swatch(number), name) for number, name in enumerate(names)), class_="key")


def swatch(number: int) -> Markup:
    """A short piece of a method's line."""
    line = tag("line", class_="line", x1=0, y1=6, x2=28, y2=6, **look(number))
    return tag("svg", line, viewBox="0 0 28 12", width=28, height=12, class_="swatch", aria_hidden="true")


def interval_bar(number: int, interval: Sequence[float], limits: tuple[float, float], zero: bool = False) -> Markup:
    """A point and the ends of its interval, beside their numbers, with a mark at zero where this matters."""
    width, height = 130, 16
    point, low, high, origin = (width * (x - limits[0]) / (limits[1] - limits[0]) for x in (*interval, 0.0))
    colour = look(number)["stroke"]
    parts = [_line("axis", origin, 0, origin, height)] if zero else []
    parts.append(tag("line", x1=_rounded(low), y1=8, x2=_rounded(high), y2=8, stroke=colour, class_="whisker"))
    parts.append(tag("circle", cx=_rounded(point), cy=8, r=4, fill=colour))
    box = f"0 0 {width} {height}"
    return tag("svg", *parts, width=width, height=height, viewBox=box, class_="bar", aria_hidden="true")


def padded(values: ArrayLike) -> tuple[float, float]:
    """Limits around values, with some air."""
    low, high = float(np.min(values)), float(np.max(values))
    air = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    return low - air, high + air


def _hover_strips(
    lines: Sequence[Line], x: FloatArray, left: float, right: float, bottom: float, x_label: str
) -> list[Markup]:
    """Over each point a strip that shows all methods' numbers while it is hovered."""
    edges = np.concatenate([[left], (x[1:] + x[:-1]) / 2, [right]])
    strips = []
    for at, value in enumerate(lines[0].x):
        numbers = [f"{line.name}: {with_interval(line.y.point[at], line.y.low[at], line.y.high[at])}" for line in lines]
        title = tag("title", "\n".join([f"{_short(value)} {x_label}", *numbers]))
        place = {"x": _rounded(edges[at]), "width": _rounded(edges[at + 1] - edges[at])}
        strips.append(tag("rect", title, class_="hover", y=_TOP, height=bottom - _TOP, **place))
    return strips


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Markup:
    return tag("line", class_=kind, x1=_rounded(x1), y1=_rounded(y1), x2=_rounded(x2), y2=_rounded(y2))


def _points(x: FloatArray, y: FloatArray) -> str:
    return " ".join(f"{_rounded(a)},{_rounded(b)}" for a, b in zip(x, y, strict=True))


def _rounded(value: float) -> str:
    return f"{value:z.1f}".removesuffix(".0")


def _ticks(low: float, high: float, count: int) -> FloatArray:
    """About `count` round numbers within the limits."""
    least = (high - low) / count
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)
    return np.arange(math.ceil(low / step), math.floor(high / step) + 1, dtype=np.float64) * step


def _short(value: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size <= abs(value) < 1e3 * size:
            return f"{value / size:.4g}{letter}"
    return f"{value:.3g}"
