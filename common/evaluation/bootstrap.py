"""Bootstrap intervals of statistics over tasks and runs, stratified as in Agarwal et al. 2021 (arXiv 2108.13264).

Runs within a task are interchangeable, tasks are not, so seeds are redrawn within each task and tasks never: the
intervals speak about these tasks. Where the runs come from several meta-training seeds (`meta_seeds` > 1; the seeds
axis is then meta-seeds x agents, meta-seeds major), a redraw takes meta-seeds first, the same ones on every task, as a
meta-seed's objective is one thing that is evaluated on all tasks, and then agents within each of them and each task.

Percentiles alone are too narrow where few things are redrawn: what n redrawn seeds come to spreads sqrt((n - 1) / n) as
much as it should, and a normal quantile stands where one of Student's belongs. Both are made good by widening: the
percentiles' distances from the point estimate are multiplied by sqrt(n / (n - 1)) t / z. Here n counts seeds, or
meta-seeds; t is the quantile of Student's distribution with tasks x (seeds - 1) degrees of freedom, or meta-seeds - 1;
and z is the normal one. `COVERAGE` has what this comes to. One seed gives an interval without width.
"""

from collections.abc import Callable, Mapping
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from metaobj.common.evaluation.statistics import (
    FloatArray,
    checked_pair,
    checked_scores,
    interquartile_mean,
    mean,
    probability_of_improvement,
)

Statistic: TypeAlias = Callable[[FloatArray], FloatArray]
"""[..., tasks, seeds] -> [...]"""
Comparison: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]
"""[..., tasks, seeds of a], [..., tasks, seeds of b] -> [...]"""

ENOUGH_SEEDS = 10
"""Seeds per task, or meta-seeds, that are advised."""
COVERAGE: Mapping[tuple[int, str], Mapping[int, int]] = {
    (1, "normal"): {2: 92, 3: 94, 5: 97, 10: 97, 20: 96},
    (1, "skewed"): {2: 91, 3: 92, 5: 95, 10: 96, 20: 95},
    (1, "bimodal"): {2: 76, 3: 77, 5: 84, 10: 95, 20: 94},
    (4, "normal"): {2: 92, 3: 95, 5: 95, 10: 95, 20: 96},
    (4, "skewed"): {2: 90, 3: 95, 5: 95, 10: 94, 20: 96},
    (4, "bimodal"): {2: 83, 3: 91, 5: 93, 10: 94, 20: 94},
}
"""In how many per cent of cases a 95 % interval of the interquartile mean holds the truth, by number of tasks,
distribution of a task's scores and seeds per task; simulated 1000 times each. Skewed is one minus an exponential;
bimodal are agents of which 30 % fail. (Percentiles that are not widened hold it in 76 % of cases for three normal seeds
of one task, and in 92 to 95 % for ten.)
"""
META_COVERAGE: Mapping[str, Mapping[int, int]] = {
    "normal": {2: 100, 3: 97, 5: 96, 10: 96},
    "skewed": {2: 100, 3: 97, 5: 95, 10: 95},
    "bimodal": {2: 100, 3: 94, 5: 87, 10: 94},
}
"""Likewise on four tasks, by the distribution of what meta-seeds share over all tasks and the number of meta-seeds;
each has 8 agents a task, which spread as much as meta-seeds do. Five meta-seeds of which 30 % fail are too few for any
interval: one time in six none of them has failed. Where meta-seeds do not differ at all intervals are too wide, as the
spread of agents then counts twice.
"""
_CHUNK_ELEMENTS = 2**21  # of resampled scores held at once: 16 MiB, and a few times that with what sorting needs


class Interval(NamedTuple):
    """A point estimate and its bootstrap interval; scalars, or arrays with the leading axes of the scores."""

    point: FloatArray
    low: FloatArray
    high: FloatArray

    def within(self, least: float, greatest: float) -> "Interval":
        """The interval without what lies outside the statistic's range, where widening has left it."""
        return Interval(self.point, *(np.clip(end, least, greatest) for end in (self.low, self.high)))


def stratified_bootstrap(
    scores: ArrayLike,
    statistic: Statistic = interquartile_mean,
    repetitions: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    meta_seeds: int = 1,
) -> Interval:
    """The statistic of the scores with its interval, redrawing seeds with replacement within each task.

    Args:
        scores: [..., tasks, seeds].
        statistic: [..., tasks, seeds] -> [...], called on many resampled scores at once.
        repetitions: how many times the scores are redrawn.
        seed: of the redrawing; the same seed gives the same interval.
        confidence: the share of redrawn statistics that lies in the interval before it is widened.
        meta_seeds: how many meta-training seeds the runs come from, a divisor of the seeds; redrawn first.

    Raises:
        ValueError: a score is not finite, or repetitions, confidence or meta_seeds make no sense.
    """
    values = checked_scores("scores", scores)
    widening = _widening(values, meta_seeds, confidence)

    def redraw(generator: np.random.Generator, count: int) -> FloatArray:
        return statistic(_resample(values, meta_seeds, generator, count))

    return _interval(statistic(values), redraw, values.size, repetitions, seed, confidence, widening)


def bootstrap_comparison(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    comparison: Comparison = probability_of_improvement,
    repetitions: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    meta_seeds: tuple[int, int] = (1, 1),
) -> Interval:
    """A comparison of two methods on the same tasks, each method's seeds redrawn independently of the other's.

    The interval is widened for the method that has fewer seeds, or meta-seeds, to redraw.

    Args:
        scores_a: [..., tasks, seeds of a].
        scores_b: [..., tasks, seeds of b], the tasks in the same order.
        comparison: what is estimated; `probability_of_improvement` unless told.
        repetitions: as for `stratified_bootstrap`.
        seed: likewise.
        confidence: likewise.
        meta_seeds: likewise, of a and of b.

    Raises:
        ValueError: a score is not finite, the tasks do not match, or repetitions, confidence or meta_seeds make no
            sense.
    """
    a, b = checked_pair(scores_a, scores_b)
    widening = max(_widening(a, meta_seeds[0], confidence), _widening(b, meta_seeds[1], confidence))

    def redraw(generator: np.random.Generator, count: int) -> FloatArray:
        return comparison(_resample(a, meta_seeds[0], generator, count), _resample(b, meta_seeds[1], generator, count))

    # Room for a comparison of every run of a with every run of b.
    elements = a.size * b.shape[-1]
    return _interval(comparison(a, b), redraw, elements, repetitions, seed, confidence, widening)


def bootstrap_difference(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    statistic: Statistic = interquartile_mean,
    repetitions: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    meta_seeds: tuple[int, int] = (1, 1),
) -> Interval:
    """statistic(a) - statistic(b) with its interval; see `bootstrap_comparison`."""

    def difference(a: FloatArray, b: FloatArray) -> FloatArray:
        return statistic(a) - statistic(b)

    return bootstrap_comparison(scores_a, scores_b, difference, repetitions, seed, confidence, meta_seeds)


def bootstrap_ratio(
    scores_a: ArrayLike,
    scores_b: ArrayLike,
    statistic: Statistic = interquartile_mean,
    repetitions: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    meta_seeds: tuple[int, int] = (1, 1),
) -> Interval:
    """statistic(a) / statistic(b) with its interval; see `bootstrap_comparison`.

    Raises:
        ValueError: as there, and where the statistic of b, as given or redrawn, is not positive: a ratio to a quantity
            that may be zero or negative has no meaning.
    """

    def ratio(a: FloatArray, b: FloatArray) -> FloatArray:
        denominator = statistic(b)
        if np.any(denominator <= 0):
            raise ValueError(f"scores_b: a ratio needs a positive denominator, got {np.min(denominator):g}")
        return statistic(a) / denominator

    return bootstrap_comparison(scores_a, scores_b, ratio, repetitions, seed, confidence, meta_seeds)


def performance_profile(
    scores: ArrayLike,
    thresholds: ArrayLike,
    repetitions: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
    meta_seeds: int = 1,
) -> Interval:
    """Share of runs, tasks and seeds pooled, whose score is above each threshold, with pointwise intervals.

    Args:
        scores: [tasks, seeds].
        thresholds: [thresholds].
        repetitions: as for `stratified_bootstrap`.
        seed: likewise.
        confidence: likewise.
        meta_seeds: likewise.

    Returns:
        Arrays of [thresholds].

    Raises:
        ValueError: as `stratified_bootstrap` does.
    """
    above = checked_scores("scores", scores) > np.asarray(thresholds, dtype=np.float64)[:, None, None]
    return stratified_bootstrap(above, mean, repetitions, seed, confidence, meta_seeds).within(0.0, 1.0)


def _widening(scores: FloatArray, meta_seeds: int, confidence: float) -> float:
    """What the percentiles' distances from the point estimate are multiplied by."""
    tasks, seeds = scores.shape[-2:]
    if meta_seeds < 1 or seeds % meta_seeds:
        raise ValueError(f"meta_seeds: got {meta_seeds}, need a divisor of the {seeds} seeds")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence: got {confidence}, need a number between 0 and 1, such as 0.95")
    redrawn, freedom = (meta_seeds, meta_seeds - 1) if meta_seeds > 1 else (seeds, tasks * (seeds - 1))
    if freedom == 0:
        return 1.0
    upper = (1 + confidence) / 2
    return float(np.sqrt(redrawn / (redrawn - 1)) * stdtrit(freedom, upper) / NormalDist().inv_cdf(upper))


def _interval(
    point: FloatArray,
    redraw: Callable[[np.random.Generator, int], FloatArray],
    elements: int,
    repetitions: int,
    seed: int,
    confidence: float,
    widening: float,
) -> Interval:
    """Calls `redraw` (generator, count) -> [..., count] in chunks of bounded size and takes widened percentiles."""
    if repetitions < 1:
        raise ValueError(f"repetitions: got {repetitions}, need at least 1")
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_ELEMENTS // elements)
    sizes = [min(chunk, repetitions - start) for start in range(0, repetitions, chunk)]
    drawn = np.concatenate([redraw(generator, size) for size in sizes], axis=-1)
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2], axis=-1)
    return Interval(point, point + widening * (low - point), point + widening * (high - point))


def _resample(scores: FloatArray, meta_seeds: int, generator: np.random.Generator, count: int) -> FloatArray:
    """[..., tasks, seeds] -> [..., count, tasks, seeds], the same seeds for all leading axes."""
    tasks, seeds = scores.shape[-2:]
    agents = seeds // meta_seeds
    chosen = generator.integers(meta_seeds, size=(count, 1, meta_seeds, 1))
    drawn = agents * chosen + generator.integers(agents, size=(count, tasks, meta_seeds, agents))
    return scores[..., np.arange(tasks)[:, None], drawn.reshape(count, tasks, seeds)]
