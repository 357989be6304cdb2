import numpy as np
import pytest

from metaobj.common.evaluation import bootstrap
from metaobj.common.evaluation.bootstrap import (
    COVERAGE,
    META_COVERAGE,
    Interval,
    bootstrap_comparison,
    bootstrap_difference,
    bootstrap_ratio,
    performance_profile,
    stratified_bootstrap,
)
from metaobj.common.evaluation.statistics import interquartile_mean, mean, median, optimality_gap
from tests.evaluation.scores import A


def unwidened(interval: Interval, widening: float) -> tuple[float, float]:
    """Low and high as the percentiles alone had them."""
    return tuple(float(interval.point + (end - interval.point) / widening) for end in interval[1:])


def test_widened_percentiles_of_a_known_distribution():
    # The mean of three draws from {0, 1, 2} is 0 with chance 1/27 and at most 1/3 with chance 4/27. The percentiles are
    # widened by sqrt(3 / 2) times 4.302653 / 1.959964, or 2.919986 / 1.644854: Student's for two degrees of freedom.
    wide = stratified_bootstrap([[0.0, 1.0, 2.0]], mean, repetitions=20_000, confidence=0.95)
    narrow = stratified_bootstrap([[0.0, 1.0, 2.0]], mean, repetitions=20_000, confidence=0.9)
    np.testing.assert_allclose(wide, [1.0, 1 - 2.6886475, 1 + 2.6886475], rtol=1e-6)
    np.testing.assert_allclose(narrow, [1.0, 1 - 2.1741978 * 2 / 3, 1 + 2.1741978 * 2 / 3], rtol=1e-6)


@pytest.mark.parametrize(
    ("statistic", "low", "high"),
    [
        (interquartile_mean, 0.3075, 0.64),
        (median, 0.26, 0.635),
        (mean, 0.275, 0.60666667),
        (optimality_gap, 0.40958333, 0.72916667),
    ],
)
def test_percentiles_are_those_of_rliable(statistic, low, high):
    # By rliable 1.2.0's get_interval_estimates, 50000 repetitions; what is random in them is in the third decimal.
    # Widened by sqrt(8 / 7) times 2.079614 / 1.959964: Student's for 3 x 7 degrees of freedom.
    interval = stratified_bootstrap(A, statistic, repetitions=20_000)
    np.testing.assert_allclose(unwidened(interval, 1.1343103), [low, high], atol=0.006)


def test_profiles_are_those_of_rliable():
    # By rliable 1.2.0's score_distributions and create_performance_profile, 20000 repetitions.
    point, low, high = performance_profile(A, [-0.5, 0, 0.25, 0.5, 0.75, 1.0, 1.5], repetitions=5000)
    shares = [23 / 24, 20 / 24, 16 / 24, 13 / 24, 5 / 24, 2 / 24, 0]
    np.testing.assert_allclose(point, shares, atol=1e-9)
    their_low = np.array([21, 16, 11, 8, 2, 0, 0]) / 24
    their_high = np.array([24, 23, 20, 18, 9, 5, 0]) / 24
    # The shares are multiples of 1/24, so percentiles may come to the next one.
    for end, theirs in ((low, their_low), (high, their_high)):
        widened = np.clip(point + 1.1343103 * (theirs - point), 0, 1)
        np.testing.assert_allclose(end, widened, atol=1.14 / 24)


def test_seeds_are_redrawn_within_tasks_only():
    point, low, high = stratified_bootstrap([[0.0, 0.0], [5.0, 5.0], [10.0, 10.0]], mean, repetitions=200)
    assert point == low == high == pytest.approx(5.0)


def test_seeds_are_redrawn_for_each_task_on_its_own():
    # With the same seeds drawn in both tasks the mean would always be 0.5.
    point, low, high = stratified_bootstrap([[0.0, 1.0], [1.0, 0.0]], mean)
    # Widened by sqrt(2) times 4.302653 / 1.959964.
    assert (point, low, high) == pytest.approx((0.5, 0.5 - 0.5 * 3.1045825, 0.5 + 0.5 * 3.1045825))


def test_measures_of_a_run_are_redrawn_together():
    scores = np.random.default_rng(3).normal(size=(3, 8))
    together = stratified_bootstrap(np.stack([scores, -scores]), repetitions=300)
    alone = stratified_bootstrap(scores, repetitions=300)
    np.testing.assert_allclose([number[0] for number in together], alone)
    np.testing.assert_allclose(together.low[1], -alone.high)


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(bootstrap, "_CHUNK_ELEMENTS", 100)
    sizes = []

    def recorded_mean(scores):
        sizes.append(scores.size)
        return mean(scores)

    stratified_bootstrap(np.random.default_rng(4).normal(size=(2, 3, 4)), recorded_mean, repetitions=50)
    assert max(sizes) <= 100
    assert sum(sizes) == 24 * 51  # the scores as given, and every repetition once


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
    with pytest.raises(ValueError, match="nan at task 2, seed 1"):
        stratified_bootstrap(scores)
    with pytest.raises(ValueError, match="scores_b.*task 2, seed 1"):
        bootstrap_difference(np.zeros((3, 2)), scores)


def test_other_tasks_are_refused():
    with pytest.raises(ValueError, match="all but the seeds must match"):
        bootstrap_difference(np.zeros((3, 2)), np.zeros((2, 2)))


@pytest.mark.parametrize("options", [{"repetitions": 0}, {"confidence": 95.0}])
def test_senseless_options_are_refused(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        stratified_bootstrap(np.zeros((2, 2)), **options)


def test_meta_seeds_are_redrawn_first_and_the_same_on_every_task():
    # Agents of a meta-seed are all alike: with meta-seeds a, b a redraw has both tasks at (a + a) / 2, (a + b) / 2 or
    # (b + b) / 2. Drawn for each task on its own, a mean of 1 could also come from 0 on one task and 2 on the other.
    scores = np.repeat([[0.0, 2.0], [0.0, 2.0]], 3, axis=1)  # [tasks, 2 meta-seeds x 3 agents]
    seen: set[tuple[float, float]] = set()

    def recorded(redrawn):
        seen.update(map(tuple, redrawn.reshape(-1, *redrawn.shape[-2:]).mean(axis=-1).tolist()))
        return mean(redrawn)

    stratified_bootstrap(scores, recorded, repetitions=200, meta_seeds=2)
    assert seen == {(0.0, 0.0), (1.0, 1.0), (2.0, 2.0)}


def test_agents_are_redrawn_within_their_meta_seed_and_task():
    scores = np.array([[0.0, 1.0, 10.0, 11.0], [0.0, 1.0, 10.0, 11.0]])  # 2 meta-seeds x 2 agents
    seen: set[tuple[tuple[int, ...], ...]] = set()

    def recorded(redrawn):
        # [..., tasks, meta-seeds, agents]
        seen.update(tuple(map(tuple, one)) for one in redrawn.astype(int).reshape(-1, 2, 4).tolist())
        return mean(redrawn)

    stratified_bootstrap(scores, recorded, repetitions=2000, meta_seeds=2)
    seeds = {tuple(value // 10 for value in task) for draw in seen for task in draw}
    assert seeds == {(0, 0, 0, 0), (0, 0, 1, 1), (1, 1, 0, 0), (1, 1, 1, 1)}
    assert all([v // 10 for v in draw[0]] == [v // 10 for v in draw[1]] for draw in seen)
    agents = {tuple(tuple(value % 10 for value in task) for task in draw) for draw in seen}
    assert len(agents) == 2**8  # drawn on each task and in each place for themselves


def test_variance_between_meta_seeds_is_in_the_interval():
    rng = np.random.default_rng(8)
    scores = np.repeat(rng.normal(size=6), 16) + 0.1 * rng.normal(size=(4, 96))
    flat, by_meta_seed = stratified_bootstrap(scores), stratified_bootstrap(scores, meta_seeds=6)
    assert flat.point == by_meta_seed.point
    assert (by_meta_seed.high - by_meta_seed.low) > 5 * (flat.high - flat.low)


def test_comparison_is_widened_for_the_fewer():
    # Of the mean, whose percentiles for a single seed of a are those of b alone.
    b = np.random.default_rng(9).normal(size=(1, 3))
    alone = stratified_bootstrap(b, mean, repetitions=500)
    with_many = bootstrap_difference(np.zeros((1, 50)), b, mean, repetitions=500)
    assert (with_many.high - with_many.low) == pytest.approx(alone.high - alone.low, rel=0.1)
    few = bootstrap_difference(np.zeros((1, 6)), np.ones((1, 6)) * [0, 1, 0, 1, 0, 1], mean, meta_seeds=(3, 1))
    many = bootstrap_difference(np.zeros((1, 6)), np.ones((1, 6)) * [0, 1, 0, 1, 0, 1], mean)
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(2.6886475 / 1.4367, rel=1e-3)


@pytest.mark.parametrize("meta_seeds", [0, 4])
def test_meta_seeds_divide_seeds(meta_seeds):
    with pytest.raises(ValueError, match="meta_seeds: got .*, need a divisor of the 6 seeds"):
        stratified_bootstrap(np.zeros((2, 6)), meta_seeds=meta_seeds)


def test_intervals_stay_within_the_range_of_a_statistic():
    interval = Interval(np.array([0.9]), np.array([-0.2]), np.array([1.3])).within(0, 1)
    assert [float(end[0]) for end in interval] == [0.9, 0.0, 1.0]


def drawn(distribution, rng, shape):
    if distribution == "normal":
        return rng.normal(size=shape)
    if distribution == "skewed":
        return 1 - rng.exponential(size=shape)
    return np.where(rng.random(shape) < 0.7, 1.0, -1.0) + 0.1 * rng.normal(size=shape)


def simulated(distribution, rng, tasks, seeds, meta_seeds=None):
    """Scores [tasks, seeds], or [tasks, meta-seeds x seeds] where meta-seeds differ as `distribution` says."""
    level = np.linspace(0, 1, tasks)[:, None]
    if meta_seeds is None:
        return level + drawn(distribution, rng, (tasks, seeds))
    shared = drawn(distribution, rng, (meta_seeds, 1)) + 0.5 * rng.normal(size=(tasks, meta_seeds, 1))
    return level + (shared + rng.normal(size=(tasks, meta_seeds, seeds))).reshape(tasks, -1)


def coverage(distribution, tasks, seeds, meta_seeds=None, trials=1000) -> float:
    """Per cent of 95 % intervals of the interquartile mean that hold what it comes to for very many runs."""
    rng = np.random.default_rng(10)
    many = (1_000_000 // tasks, None) if meta_seeds is None else (10, 40_000)
    truth = interquartile_mean(simulated(distribution, rng, tasks, *many))
    held = 0
    for trial in range(trials):
        scores = simulated(distribution, rng, tasks, seeds, meta_seeds)
        interval = stratified_bootstrap(scores, repetitions=300, seed=trial, meta_seeds=meta_seeds or 1)
        held += interval.low <= truth <= interval.high
    return 100 * held / trials


def test_ten_seeds_cover_the_truth_as_often_as_they_say():
    assert 92 <= coverage("skewed", tasks=4, seeds=10, trials=300) <= 98


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 3, 5, 10, 20])
@pytest.mark.parametrize(("tasks", "distribution"), list(COVERAGE))
def test_coverage_is_as_told(tasks, distribution, seeds):
    share = coverage(distribution, tasks, seeds)
    assert share == pytest.approx(COVERAGE[tasks, distribution][seeds], abs=2.5)
    assert seeds < 10 or 92 <= share <= 98


@pytest.mark.slow
@pytest.mark.parametrize("meta_seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("distribution", list(META_COVERAGE))
def test_coverage_of_meta_seeds_is_as_told(distribution, meta_seeds):
    share = coverage(distribution, 4, 8, meta_seeds)
    assert share == pytest.approx(META_COVERAGE[distribution][meta_seeds], abs=2.5)
    assert meta_seeds < 10 or 92 <= share <= 98
