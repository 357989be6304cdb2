from itertools import product

import numpy as np
import pytest

from metaobj.common.evaluation.statistics import (
    area_under_curve,
    interquartile_mean,
    mean,
    median,
    optimality_gap,
    probability_of_improvement,
)
from tests.evaluation.scores import A, B


@pytest.mark.parametrize(
    ("statistic", "of_a", "of_b"),
    [
        (interquartile_mean, 0.48, 0.44166666666666665),  # of 24 runs, a number that four divides
        (median, 0.47375, 0.4725),
        (mean, 0.44625, 0.52875),
        (optimality_gap, 0.5629166666666667, 0.5908333333333333),
    ],
)
def test_statistics_are_those_of_rliable(statistic, of_a, of_b):
    # Computed by rliable 1.2.0 (aggregate_iqm, _median, _mean, _optimality_gap) on these scores.
    assert statistic(A) == pytest.approx(of_a, abs=1e-9)
    assert statistic([A, B]) == pytest.approx([of_a, of_b], abs=1e-9)


def test_probability_of_improvement_is_that_of_rliable():
    assert probability_of_improvement(A, B) == pytest.approx(0.515625, abs=1e-9)  # rliable 1.2.0


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


def test_nan_is_refused_with_its_place():
    scores = np.zeros((3, 4))
    scores[2, 1] = np.nan
    for statistic in (interquartile_mean, mean, median, optimality_gap):
        with pytest.raises(ValueError, match="nan at task 2, seed 1"):
            statistic(scores)
    with pytest.raises(ValueError, match="inf at axis 0, bin 1"):
        area_under_curve([[0.0, np.inf]])


@pytest.mark.parametrize("shape", [(3,), (0, 2), (2, 0)])
def test_shapes_that_hold_no_runs_are_refused(shape):
    with pytest.raises(ValueError, match=r"need \[\.\.\., tasks, seeds\]"):
        interquartile_mean(np.zeros(shape))
