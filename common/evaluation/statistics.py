"""Point estimates over tasks and runs, after Agarwal et al. 2021 (arXiv 2108.13264); `bootstrap` has their intervals.

Everywhere `scores` is [..., tasks, seeds], a seed being one run; leading axes hold several measures of the same runs
(the bins of a learning curve, say).
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from metaobj.common.errors import require_finite

FloatArray: TypeAlias = NDArray[np.float64]


def interquartile_mean(scores: ArrayLike) -> FloatArray:
    """Mean of the middle half of all runs, tasks and seeds pooled: [..., tasks, seeds] -> [...].

    Where a quartile falls inside a run, that run counts with the part of it that lies in the middle half, so the
    trimmed share is exactly 25 % at either end for any number of runs. Where four divides their number this is the
    25 % trimmed mean that others take; elsewhere that one trims whole runs, and so fewer.

    Raises:
        ValueError: a score is not finite, or there are none.
    """
    values = checked_scores("scores", scores)
    count = values.shape[-2] * values.shape[-1]
    edges = np.arange(count + 1)
    weights = np.diff(np.clip(edges, count / 4, 3 * count / 4)) / (count / 2)
    return np.asarray(np.sort(values.reshape(*values.shape[:-2], count), axis=-1) @ weights)[()]


def mean(scores: ArrayLike) -> FloatArray:
    """Mean over tasks and seeds: [..., tasks, seeds] -> [...]."""
    return np.asarray(checked_scores("scores", scores).mean(axis=(-2, -1)))[()]


def median(scores: ArrayLike) -> FloatArray:
    """Median over tasks of the means over seeds: [..., tasks, seeds] -> [...]."""
    return np.asarray(np.median(checked_scores("scores", scores).mean(axis=-1), axis=-1))[()]


def optimality_gap(scores: ArrayLike, optimal: float = 1.0) -> FloatArray:
    """How far runs stay below `optimal` on average, those above it counting as there: [..., tasks, seeds] -> [...]."""
    return np.asarray(np.maximum(optimal - checked_scores("scores", scores), 0.0).mean(axis=(-2, -1)))[()]


def area_under_curve(curves: ArrayLike) -> FloatArray:
    """Mean over a lifetime of bins of equal width, [..., bins] -> [...]: the area divided by the lifetime's length.

    Raises:
        ValueError: a value is not finite, or there are no bins.
    """
    values = np.asarray(curves, dtype=np.float64)
    if values.ndim < 1 or values.shape[-1] == 0:
        raise ValueError(f"curves: shape {values.shape}, need [..., bins] with at least one bin")
    require_finite("curves", values, ("bin",))
    return np.asarray(values.mean(axis=-1))[()]


def probability_of_improvement(scores_a: ArrayLike, scores_b: ArrayLike) -> FloatArray:
    """Chance that a run of a beats a run of b on the same task, ties counting half, averaged over tasks.

    Args:
        scores_a: [..., tasks, seeds of a].
        scores_b: [..., tasks, seeds of b]; the seeds may differ in number.

    Raises:
        ValueError: a score is not finite, or the tasks do not match.
    """
    a, b = checked_pair(scores_a, scores_b)
    gap = a[..., :, None] - b[..., None, :]  # [..., tasks, seeds of a, seeds of b]
    return np.asarray(0.5 + 0.5 * np.sign(gap).mean(axis=(-3, -2, -1)))[()]


def checked_scores(name: str, scores: ArrayLike) -> FloatArray:
    """The scores as an array.

    Raises:
        ValueError: one is not finite, or there are none.
    """
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim < 2 or values.shape[-1] == 0 or values.shape[-2] == 0:
        raise ValueError(f"{name}: shape {values.shape}, need [..., tasks, seeds] with at least one of each")
    require_finite(name, values, ("task", "seed"))
    return values


def checked_pair(scores_a: ArrayLike, scores_b: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Scores of two methods as arrays.

    Raises:
        ValueError: one is not finite, there are none, or the tasks do not match.
    """
    a, b = checked_scores("scores_a", scores_a), checked_scores("scores_b", scores_b)
    if a.shape[:-1] != b.shape[:-1]:
        raise ValueError(f"scores_b: shape {b.shape} beside {a.shape} of scores_a, all but the seeds must match")
    return a, b
