import csv
import dataclasses

import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.evaluation.curves import ALL, Curves, Reference, final_score
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
    assert [(row.kind, row.task, row.method) for row in rows] == [
        ("group", "", "LPG"),
        ("group", "", "A2C"),
        ("comparison", "", "LPG"),
        ("task", "a", "LPG"),
        ("task", "a", "A2C"),
        ("task", "b", "LPG"),
        ("task", "b", "A2C"),
    ]
    first, comparison, last = rows[0], rows[2], rows[-1]
    assert (first.measure, first.statistic, first.tasks, first.seeds) == ("return", "IQM", 2, 2)
    assert (first.final, first.final_low, first.final_high) == pytest.approx((0.9, 0.9, 0.9))
    assert (first.area, first.area_low, first.area_high) == pytest.approx((0.45, 0.45, 0.45))
    assert (comparison.final, comparison.area) == pytest.approx((0.9 - 0.75, 0.45 - 0.75))
    assert (comparison.final_tasks_better, comparison.area_tasks_better) == (0.5, 0.0)
    assert (comparison.final_improvement, comparison.area_improvement) == (0.5, 0.0)
    assert (comparison.baseline, comparison.seeds) == ("A2C", 2)
    assert (last.statistic, last.final, last.area) == ("mean", 1.0, 1.0)


def test_summary_of_groups(make_curves):
    curves = [make_curves("LPG", 0.9), make_curves("A2C", 0.6, seed=1)]
    rows = {(row.kind, row.group, row.method): row for row in summary_table(curves, "A2C", repetitions=100)}
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
