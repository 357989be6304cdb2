from itertools import product

import numpy as np
import pytest

from metaobj.common.evaluation import statistics
from metaobj.common.evaluation.statistics import (
    area_under_curve,
    bootstrap_comparison,
    bootstrap_difference,
    bootstrap_ratio,
    interquartile_mean,
    mean,
    probability_of_improvement,
    stratified_bootstrap,
)


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([[7.0]], 7.0),
        ([[0.0, 1.0, 5.0]], 1.5),  # (0.25 * 0 + 1 + 0.25 * 5) / 1.5
        ([[100.0, 0.0, 6.0, 1.0, 5.0]], 4.1),  # (0.75 * 1 + 5 + 0.75 * 6) / 2.5
        ([[1.0, 9.0, 2.0, 50.0], [4.0, 3.0, 8.0, -70.0]], 4.25),  # sorted, the middle four are 2, 3, 4, 8
    ],
)
def test_interquartile_mean_by_hand(scores, expected):
    assert interquartile_mean(scores) == pytest.approx(expected)


def test_interquartile_mean_equals_trimming_four_copies():
    # With every run four times over, a quarter of the runs is a whole number and trimming needs no fractions.
    rng = np.random.default_rng(0)
    for tasks, seeds in product((1, 2, 3), (1, 2, 5, 7)):
        scores = rng.normal(size=(tasks, seeds))
        copies = np.sort(np.repeat(scores.ravel(), 4))
        middle = copies[scores.size : 3 * scores.size]
        assert interquartile_mean(scores) == pytest.approx(middle.mean())


def test_leading_axes_are_separate_measures():
    scores = np.random.default_rng(1).normal(size=(2, 3, 4, 5))
    together = interquartile_mean(scores)
    assert together.shape == (2, 3)
    assert together[1, 2] == pytest.approx(interquartile_mean(scores[1, 2]))


def test_area_is_the_mean_over_bins():
    np.testing.assert_allclose(area_under_curve([[0.0, 1.0, 5.0], [1.0, 1.0, 1.0]]), [2.0, 1.0])


def test_probability_of_improvement_against_all_pairs():
    assert probability_of_improvement([[1.0, 2.0]], [[1.0, 0.0, 5.0]]) == pytest.approx((0.5 + 1 + 0 + 1 + 1 + 0) / 6)
    rng = np.random.default_rng(2)
    a, b = rng.integers(4, size=(3, 5)), rng.integers(4, size=(3, 6))
    wins = [[(x > y) + 0.5 * (x == y) for x, y in product(a[task], b[task])] for task in range(3)]
    assert probability_of_improvement(a, b) == pytest.approx(np.mean(wins))


def test_bootstrap_percentiles_of_a_known_distribution():
    # The mean of three draws from {0, 1, 2} is 0 with chance 1/27 and at most 1/3 with chance 4/27.
    wide = stratified_bootstrap([[0.0, 1.0, 2.0]], mean, repetitions=20_000, confidence=0.95)
    narrow = stratified_bootstrap([[0.0, 1.0, 2.0]], mean, repetitions=20_000, confidence=0.9)
    np.testing.assert_allclose(wide, [1.0, 0.0, 2.0])
    np.testing.assert_allclose(narrow, [1.0, 1 / 3, 5 / 3])


def test_seeds_are_redrawn_within_tasks_only():
    point, low, high = stratified_bootstrap([[0.0, 0.0], [5.0, 5.0], [10.0, 10.0]], mean, repetitions=200)
    assert point == low == high == pytest.approx(5.0)


def test_seeds_are_redrawn_for_each_task_on_its_own():
    # With the same seeds drawn in both tasks the mean would always be 0.5.
    point, low, high = stratified_bootstrap([[0.0, 1.0], [1.0, 0.0]], mean)
    assert (point, low, high) == (0.5, 0.0, 1.0)


def test_measures_of_a_run_are_redrawn_together():
    scores = np.random.default_rng(3).normal(size=(3, 8))
    together = stratified_bootstrap(np.stack([scores, -scores]), repetitions=300)
    alone = stratified_bootstrap(scores, repetitions=300)
    np.testing.assert_allclose([number[0] for number in together], alone)
    np.testing.assert_allclose(together.low[1], -alone.high)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(statistics, "_CHUNK_ELEMENTS", 100)
    sizes = []

    def recorded_mean(scores):
        sizes.append(scores.size)
        return mean(scores)

    stratified_bootstrap(np.random.default_rng(4).normal(size=(2, 3, 4)), recorded_mean, repetitions=50)
    assert max(sizes) <= 100
    assert sum(sizes) == 24 * 51  # the scores as given, and every repetition once


def test_interval_covers_the_truth_about_as_often_as_it_says():
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(300):
        _, low, high = stratified_bootstrap(rng.normal(size=(4, 15)), repetitions=300, seed=trial)
        covered += low <= 0 <= high
    assert 0.87 < covered / 300 < 0.99


def test_difference_redraws_methods_independently():
    scores = np.random.default_rng(6).normal(size=(3, 10))
    point, low, high = bootstrap_difference(scores, scores)
    assert point == 0
    alone = stratified_bootstrap(scores)
    assert 1.2 < (high - low) / (alone.high - alone.low) < 1.65  # near the square root of 2


def test_difference_with_unequal_seeds():
    point, low, high = bootstrap_difference([[3.0] * 5, [1.0] * 5], [[2.0] * 4, [4.0] * 4], mean)
    assert point == low == high == pytest.approx(-1.0)


def test_ratio():
    assert bootstrap_ratio([[3.0, 3.0]], [[2.0, 2.0]]) == pytest.approx((1.5, 1.5, 1.5))
    with pytest.raises(ValueError, match="positive denominator"):
        bootstrap_ratio([[3.0, 3.0]], [[2.0, -2.0]])


def test_comparison_gives_an_interval_of_the_probability():
    rng = np.random.default_rng(7)
    point, low, high = bootstrap_comparison(rng.normal(1, 1, (4, 20)), rng.normal(0, 1, (4, 20)), repetitions=300)
    assert 0.6 < low < point < high < 0.95


def test_nan_is_refused_with_its_place():
    scores = np.zeros((3, 4))
    scores[2, 1] = np.nan
    for function in (interquartile_mean, mean, stratified_bootstrap):
        with pytest.raises(ValueError, match="nan at task 2, seed 1"):
            function(scores)
    with pytest.raises(ValueError, match="scores_b.*task 2, seed 1"):
        bootstrap_difference(np.zeros((3, 2)), scores)
    with pytest.raises(ValueError, match="inf at axis 0, bin 1"):
        area_under_curve([[0.0, np.inf]])


@pytest.mark.parametrize("shape", [(3,), (0, 2), (2, 0)])
def test_shapes_that_hold_no_runs_are_refused(shape):
    with pytest.raises(ValueError, match=r"need \[\.\.\., tasks, seeds\]"):
        interquartile_mean(np.zeros(shape))


def test_other_tasks_are_refused():
    with pytest.raises(ValueError, match="all but the seeds must match"):
        bootstrap_difference(np.zeros((3, 2)), np.zeros((2, 2)))


@pytest.mark.parametrize("options", [{"repetitions": 0}, {"confidence": 95.0}])
def test_senseless_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        stratified_bootstrap(np.zeros((2, 2)), **options)


@pytest.mark.parametrize("seeds", sorted(statistics.COVERAGE))
def test_intervals_cover_as_often_as_they_are_said_to(seeds):
    """Of normal scores around 0 on one task."""
    rng = np.random.default_rng(seeds)
    intervals = [
        statistics.stratified_bootstrap(rng.normal(size=(1, seeds)), repetitions=400, seed=draw) for draw in range(800)
    ]
    share = 100 * np.mean([interval.low <= 0 <= interval.high for interval in intervals])
    assert abs(share - statistics.COVERAGE[seeds]) < 4
