import csv
import dataclasses

import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.evaluation.curves import ALL, Curves, Reference, final_score, measures
from metaobj.common.evaluation.curves_file import load_curves, save_curves
from metaobj.common.evaluation.summary import summary_table


def test_final_score_is_the_last_tenth():
    assert final_score(np.arange(20.0)) == 18.5
    assert final_score(np.arange(5.0)) == 4.0


def test_normalisation_is_per_task_and_not_clipped():
    returns = np.array([[[1.0, 3.0, 6.0]], [[0.0, 10.0, -10.0]], [[1.0, 1.0, 1.0]]])
    reference = Reference(np.array([1.0, 0.0, 0.0]), np.array([5.0, 10.0, np.nan]))
    curves = Curves("LPG", ["a", "b", "c"], returns, np.arange(1, 4), reference)
    np.testing.assert_allclose(curves.normalised[:2, 0], [[0.0, 0.5, 1.25], [0.0, 1.0, -1.0]])
    assert np.isnan(curves.normalised[2]).all()


def test_groups_without_a_reference_stay_raw_and_out_of_all(make_curves):
    curves = make_curves()
    assert curves.group_names == ["held-out grids", "delayed chains", "CartPole", ALL]
    assert [curves.is_normalised(group) for group in curves.group_names] == [True, True, False, True]
    assert curves.rows(ALL) == [0, 1, 2]
    np.testing.assert_array_equal(curves.values("CartPole"), curves.returns[3:])
    np.testing.assert_array_equal(curves.values(ALL), curves.normalised[:3])


def test_one_normalised_group_needs_no_pooled_row(make_curves):
    whole = make_curves()
    curves = dataclasses.replace(whole, groups=["a", "a", "a", "b"])
    assert curves.group_names == ["a", "b"]
    assert dataclasses.replace(whole, groups=None, reference=None).group_names == ["all tasks"]


def test_summary_by_hand():
    env_steps = np.arange(1, 11) * 100
    ramp = np.linspace(0, 0.9, 10)  # final 0.9, mean 0.45
    rising = np.stack([np.stack([ramp, ramp]), np.stack([ramp, ramp])])
    flat = np.stack([np.full((3, 10), 0.5), np.full((3, 10), 1.0)])
    lpg = Curves("LPG", ["a", "b"], rising, env_steps)
    a2c = Curves("A2C", ["a", "b"], flat, env_steps)
    rows = summary_table([lpg, a2c], baseline="A2C", repetitions=50)
    assert [(row.kind, row.task, row.method, row.statistic) for row in rows] == [
        ("group", "", "LPG", "IQM"),
        ("group", "", "A2C", "IQM"),
        ("group", "", "LPG", "median"),
        ("group", "", "A2C", "median"),
        ("group", "", "LPG", "mean"),
        ("group", "", "A2C", "mean"),
        ("comparison", "", "LPG", "IQM difference"),
        ("task", "a", "LPG", "mean"),
        ("task", "a", "A2C", "mean"),
        ("task", "b", "LPG", "mean"),
        ("task", "b", "A2C", "mean"),
    ]
    first, comparison, last = rows[0], rows[6], rows[-1]
    assert (first.measure, first.tasks, first.seeds, first.meta_seeds) == ("return", 2, 2, 1)
    assert first.interval("final") == pytest.approx((0.9, 0.9, 0.9))
    assert first.interval("area") == pytest.approx((0.45, 0.45, 0.45))
    assert first.interval("best") == pytest.approx((0.9, 0.9, 0.9))
    assert (comparison.final, comparison.area, comparison.best) == pytest.approx((0.9 - 0.75, 0.45 - 0.75, 0.9 - 0.75))
    shares = (comparison.final_tasks_better, comparison.area_tasks_better, comparison.best_tasks_better)
    assert shares == (0.5, 0.0, 0.5)
    assert comparison.interval("final_improvement") == (0.5, 0.5, 0.5)
    assert comparison.interval("area_improvement") == (0.0, 0.0, 0.0)
    assert (comparison.baseline, comparison.seeds) == ("A2C", 2)
    assert (last.final, last.area, last.random, last.optimal) == (1.0, 1.0, None, None)


def test_best_is_at_the_bin_of_the_highest_mean():
    curves = np.array([[[0.0, 3.0, 1.0], [0.0, 1.0, 2.0]], [[5.0, 0.0, 1.0], [1.0, 0.0, 0.0]]])
    # Means over seeds: 0, 2, 1.5 on the first task and 3, 0, 0.5 on the second.
    np.testing.assert_array_equal(measures(curves)[2], [[3.0, 1.0], [5.0, 1.0]])
    assert measures(curves).shape == (3, 2, 2)


def test_statistics_of_groups_by_hand():
    scores = np.array([[[0.2], [0.4]], [[0.5], [0.7]], [[0.9], [1.5]]])
    curves = Curves("LPG", ["a", "b", "c"], 10 * scores, np.ones(1), Reference(np.zeros(3), np.full(3, 10.0)))
    rows = {row.statistic: row for row in summary_table([curves], repetitions=200) if row.kind == "group"}
    assert rows["median"].final == pytest.approx(0.6)  # of 0.3, 0.6, 1.2
    assert rows["mean"].final == pytest.approx(0.7)
    assert rows["optimality gap"].final == pytest.approx((0.8 + 0.6 + 0.5 + 0.3 + 0.1 + 0) / 6)
    assert all(row.measure == "score" for row in rows.values())
    assert rows["optimality gap"].final_low >= 0


def test_a_task_with_scores_is_told_in_returns_as_well(make_curves):
    curves = make_curves()
    rows = {(row.task, row.measure): row for row in summary_table([curves], repetitions=20) if row.kind == "task"}
    assert set(rows) == {("CartPole-v1", "return")} | {
        (task, measure) for task in ("dense", "sparse", "chain 10") for measure in ("score", "return")
    }
    score, plain = rows["dense", "score"], rows["dense", "return"]
    assert (plain.random, plain.optimal) == (score.random, score.optimal) == (1.0, 5.0)
    assert plain.final == pytest.approx(curves.returns[0, :, -2:].mean())
    assert plain.interval("area") == pytest.approx([1 + 4 * number for number in score.interval("area")])
    assert (rows["CartPole-v1", "return"].random, rows["CartPole-v1", "return"].optimal) == (None, None)
    measured = dataclasses.replace(curves, floor=np.array([1.0, 0.0, -1.0, 22.0]))
    last = summary_table([measured], repetitions=20)[-1]
    assert (last.task, last.random, last.optimal) == ("CartPole-v1", 22.0, None)


def test_meta_seeds_make_intervals_wide(make_curves):
    flat = make_curves(seeds=12)
    shift = np.repeat([-1.0, 0.0, 1.0], 4)[:, None]
    flat = dataclasses.replace(flat, returns=flat.returns + 0.2 * shift)
    nested = dataclasses.replace(flat, meta_seeds=3)
    of_flat, of_nested = (summary_table([one], repetitions=300)[0] for one in (flat, nested))
    assert (of_nested.seeds, of_nested.meta_seeds, of_flat.meta_seeds) == (12, 3, 1)
    assert of_nested.final == of_flat.final
    assert of_nested.final_high - of_nested.final_low > 2 * (of_flat.final_high - of_flat.final_low)
    against = summary_table([nested, make_curves("A2C", 0.6, seed=1)], "A2C", repetitions=100)
    assert next(row for row in against if row.kind == "comparison").meta_seeds == 3


def test_means_leave_out_what_is_no_headline(make_curves):
    curves = dataclasses.replace(make_curves(), headline=[True, False, False, True])
    assert curves.group_names == ["held-out grids", "CartPole"]  # the chain has no headline task, and one group is left
    assert (curves.rows("held-out grids"), curves.pooled) == ([0], "held-out grids")
    rows = summary_table([curves], repetitions=20)
    assert {(row.group, row.tasks) for row in rows if row.kind == "group"} == {("held-out grids", 1), ("CartPole", 1)}
    counted = {row.task: row.headline for row in rows if row.kind == "task"}
    assert counted == {"dense": True, "sparse": False, "chain 10": False, "CartPole-v1": True}
    nothing = dataclasses.replace(curves, headline=[False] * 4)
    assert (nothing.group_names, nothing.pooled) == ([], None)
    assert {row.kind for row in summary_table([nothing], repetitions=20)} == {"task"}


def test_summary_of_groups(make_curves):
    curves = [make_curves("LPG", 0.9), make_curves("A2C", 0.6, seed=1)]
    table = summary_table(curves, "A2C", repetitions=100)
    rows = {(row.kind, row.group, row.method): row for row in table if row.statistic.startswith("IQM")}
    pooled = rows["group", ALL, "LPG"]
    assert (pooled.measure, pooled.tasks) == ("score", 3)
    assert pooled.final_low < 0.88 < pooled.final_high  # the mean of the last two of twenty bins
    assert rows["group", "CartPole", "A2C"].measure == "return"
    assert rows["group", "CartPole", "A2C"].final > 200
    assert rows["comparison", ALL, "LPG"].final == pytest.approx(0.3, abs=0.03)
    assert rows["comparison", ALL, "LPG"].final_tasks_better == 1.0
    assert ("comparison", ALL, "A2C") not in rows


def test_no_comparison_without_a_baseline(make_curves):
    assert {row.kind for row in summary_table([make_curves()], repetitions=10)} == {"group", "task"}


def test_curves_come_back_from_csv_as_they_were(make_curves, tmp_path):
    per_task = np.arange(1, 21) * np.array([[1.0], [2.0], [0.1], [1 / 3]])
    curves = [make_curves("LPG"), dataclasses.replace(make_curves('A2C, "tuned"', seeds=2), env_steps=per_task)]
    save_curves(tmp_path / "new folder" / "curves.csv", curves)
    loaded = load_curves(tmp_path / "new folder" / "curves.csv")
    for before, after in zip(curves, loaded, strict=True):
        assert (after.method, after.tasks, after.groups) == (before.method, before.tasks, before.groups)
        np.testing.assert_array_equal(after.returns, before.returns)
        np.testing.assert_array_equal(after.env_steps, before.env_steps)
        np.testing.assert_array_equal(after.reference, before.reference)


def test_meta_seeds_and_headline_come_back_from_csv(make_curves, tmp_path):
    before = dataclasses.replace(make_curves(seeds=6), meta_seeds=3, headline=[True, False, True, True])
    save_curves(tmp_path / "curves.csv", [before])
    (after,) = load_curves(tmp_path / "curves.csv")
    assert (after.meta_seeds, after.headline) == (3, (True, False, True, True))
    np.testing.assert_array_equal(after.returns, before.returns)
    with open(tmp_path / "curves.csv", newline="") as file:
        line = list(csv.DictReader(file))[20 * 3]
    assert (line["meta_seed"], line["seed"], float(line["return"])) == ("1", "1", before.returns[0, 3, 0])


def test_curves_csv_is_tidy(make_curves, tmp_path):
    curves = make_curves(seeds=2, bins=3)
    save_curves(tmp_path / "curves.csv", [curves])
    with open(tmp_path / "curves.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4 * 2 * 3
    line = lines[1 * 6 + 1 * 3 + 2]
    assert (line["method"], line["task"], line["seed"], line["bin"]) == ("LPG", "sparse", "1", "2")
    assert float(line["return"]) == curves.returns[1, 1, 2]
    assert float(line["score"]) == curves.normalised[1, 1, 2]
    assert lines[-1]["score"] == ""


def test_unreadable_curves_are_the_users_to_mend(make_curves, tmp_path):
    path = tmp_path / "curves.csv"
    with pytest.raises(UserError, match="cannot be read"):
        load_curves(path)
    path.write_text("method,return\nLPG,1\n")
    with pytest.raises(UserError, match="columns are"):
        load_curves(path)
    save_curves(path, [make_curves()])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(lines[:30] + lines[31:]))
    with pytest.raises(UserError, match="not a complete curves.csv.*dense, seed 1|not a complete curves.csv.*seed"):
        load_curves(path)
    path.write_text("\n".join(lines[:-1] + ["LPG,g"]))
    with pytest.raises(UserError, match="not a complete curves.csv"):
        load_curves(path)


def test_nan_is_refused_with_its_place(make_curves):
    curves = make_curves()
    returns = curves.returns.copy()
    returns[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match="LPG on sparse: nan at seed 2, bin 3"):
        dataclasses.replace(curves, returns=returns)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ["a", "b", "c"]}, "tasks: 3 different names, need 4"),
        ({"tasks": ["a", "b", "c", "c"]}, "tasks: 3 different names, need 4"),
        ({"returns": np.zeros((4, 20))}, "returns: shape"),
        ({"groups": ["a", "b"]}, "groups"),
        ({"meta_seeds": 3}, "meta_seeds: got 3, need a divisor of the 4 seeds"),
        ({"meta_seeds": 0}, "meta_seeds: got 0"),
        ({"headline": [True]}, r"headline: got 1 flags, need one per task \(4\)"),
        ({"groups": ["a", "b", "c", "all"]}, "groups"),
        ({"env_steps": np.arange(19)}, "env_steps: shape"),
        ({"env_steps": np.logspace(1, 5, 20)}, "about equal width"),
        ({"env_steps": np.arange(20)[::-1]}, "increasing"),
        ({"reference": Reference(np.zeros(4), np.zeros(4))}, "reference: optimal 0 and random 0 on dense"),
        ({"reference": Reference(np.zeros(3), np.ones(3))}, r"reference: shape \(3,\), need \[tasks\] \(4\)"),
    ],
)
def test_what_does_not_fit_is_refused(make_curves, change, message):
    with pytest.raises(UserError, match=message):
        dataclasses.replace(make_curves(), **change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "LPG"}, "method: .* differ"),
        ({"tasks": ["a", "b", "c", "d"]}, "tasks: those of A2C and LPG differ"),
        ({"env_steps": np.arange(1, 21) * 1020.0}, "same budget"),
        ({"headline": [True, True, False, True]}, "headline: that of A2C and LPG differs"),
        ({"reference": None}, "reference: that of A2C and LPG differs"),
    ],
)
def test_methods_that_cannot_be_compared_are_refused(make_curves, change, message):
    other = dataclasses.replace(make_curves("A2C"), **change)
    with pytest.raises(UserError, match=message):
        summary_table([make_curves("LPG"), other], repetitions=10)


def test_unknown_baseline_and_empty_list_are_refused(make_curves):
    with pytest.raises(UserError, match="baseline: got 'PPO', need one of"):
        summary_table([make_curves()], baseline="PPO")
    with pytest.raises(UserError, match="at least one method"):
        summary_table([])


def test_methods_with_other_bins_are_not_compared(make_curves):
    with pytest.raises(UserError, match="bins: A2C and LPG have 10 and 20, need the same number"):
        summary_table([make_curves("LPG", bins=20), make_curves("A2C", bins=10)])
