"""Means over seeds and their 95 % bootstrap intervals, in tables and in pictures."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from metaobj.common.evaluation.bootstrap import Statistic, stratified_bootstrap
from metaobj.common.evaluation.statistics import mean


def told(values: np.ndarray, digits: int = 2, statistic: Statistic = mean) -> str:
    """Of [seeds], in words."""
    point, low, high = (f"{float(x):.{digits}f}" for x in stratified_bootstrap(values[None], statistic))
    return f"{point} [{low}, {high}]"


def band(panel: Axes, x: np.ndarray, values: np.ndarray, colour: str, **line: Any) -> None:
    """Draw values [seeds, n] at x [n]: their mean as a line, interval by interval beneath it."""
    point, low, high = stratified_bootstrap(values.T[:, None], mean)
    panel.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    panel.plot(x, point, color=colour, **line)
