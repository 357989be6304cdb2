import dataclasses

import matplotlib.image
import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.evaluation import pictures, statistics
from metaobj.common.pictures import training
from metaobj.common.pictures.style import COLOURS


def _share_of_colour(path, colour: str) -> float:
    """Share of the pixels that have just this colour."""
    picture = matplotlib.image.imread(path)[..., :3]
    wanted = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return float((np.abs(picture - wanted).max(axis=-1) < 0.01).mean())


@pytest.fixture
def methods(make_curves):
    return [make_curves("LPG", 0.9), make_curves("A2C", 0.6, seed=1)]


def test_learning_curves_draw_every_method(methods, tmp_path):
    pictures.learning_curves(tmp_path / "new" / "one.png", methods[:1], repetitions=20)
    pictures.learning_curves(tmp_path / "two.png", methods, repetitions=20)
    assert _share_of_colour(tmp_path / "new" / "one.png", COLOURS[0]) > 0.001
    assert _share_of_colour(tmp_path / "new" / "one.png", COLOURS[1]) == 0
    assert _share_of_colour(tmp_path / "two.png", COLOURS[1]) > 0.001


def test_learning_curves_with_budgets_that_differ_within_a_group(methods, tmp_path):
    steps = np.arange(1, 21) * np.array([[1.0], [2.0], [3.0], [4.0]])
    curves = [dataclasses.replace(entry, env_steps=steps) for entry in methods]
    assert not pictures._budgets_agree(curves[0], [0, 1])
    assert pictures._budgets_agree(curves[0], [2])
    np.testing.assert_allclose(pictures._progress(curves[0], [0, 1], False), np.arange(1, 21) * 5)
    np.testing.assert_allclose(pictures._progress(curves[0], [2], True), np.arange(1, 21) * 3)
    pictures.learning_curves(tmp_path / "a.png", curves, repetitions=20)
    assert _share_of_colour(tmp_path / "a.png", COLOURS[1]) > 0.001


def test_a_single_bin_and_seed_can_be_drawn(make_curves, tmp_path):
    pictures.learning_curves(tmp_path / "a.png", [make_curves(bins=1, seeds=1)], repetitions=5)
    assert _share_of_colour(tmp_path / "a.png", COLOURS[0]) > 0


def _panels(monkeypatch) -> list:
    """Filled with the titles, lines and limits of every panel of the next picture."""
    seen: list = []

    def keep(figure, path):
        seen.extend((panel.get_title(loc="left"), panel.get_lines(), panel.get_ylim()) for panel in figure.axes)

    monkeypatch.setattr(pictures, "save_figure", keep)
    return seen


def test_learning_curves_have_a_panel_per_task(methods, tmp_path, monkeypatch):
    seen = _panels(monkeypatch)
    curves = [dataclasses.replace(entry, headline=[True, True, True, False]) for entry in methods]
    pictures.learning_curves(tmp_path / "a.png", curves, repetitions=5)
    titles = ["all normalised (3 tasks)", "held-out grids (2 tasks)"]
    assert [title for title, *_ in seen] == [*titles, "dense", "sparse", "chain 10", "CartPole-v1 (not in the means)"]
    scores = curves[1].normalised[0]  # of the second method on the first task, [seeds, bins]
    expected = [statistics.interquartile_mean(at_bin[None]) for at_bin in scores.T]
    np.testing.assert_allclose(seen[2][1][1].get_ydata(), expected)


def test_wide_bands_leave_the_lines_their_room(make_curves, tmp_path, monkeypatch):
    seen = _panels(monkeypatch)
    curves = make_curves(seeds=2)
    returns = curves.returns + np.array([[-40.0], [40.0]])
    pictures.learning_curves(tmp_path / "a.png", [dataclasses.replace(curves, returns=returns)], repetitions=50)
    _, _, (low, high) = seen[2]
    assert high - low < 6  # of lines from 0 to 0.9 and bands that are some 200 wide


def test_profiles_are_shares_of_runs(methods, tmp_path, monkeypatch):
    pictures.profiles(tmp_path / "all.png", methods, repetitions=20)
    assert _share_of_colour(tmp_path / "all.png", COLOURS[1]) > 0.0005
    seen = _panels(monkeypatch)
    pictures.profiles(tmp_path / "all.png", methods, repetitions=20)
    x, y = seen[0][1][0].get_data()  # final, LPG
    finals = methods[0].normalised[:3, :, -2:].mean(axis=-1)
    np.testing.assert_allclose(y, [(finals > threshold).mean() for threshold in x])
    with pytest.raises(ValueError, match="no group with scores"):
        pictures.profiles(tmp_path / "raw.png", [dataclasses.replace(methods[0], reference=None)])


def test_interval_plot_of_tasks_where_none_counts_in_means(methods, tmp_path, monkeypatch):
    seen = _panels(monkeypatch)
    pictures.interval_plot(tmp_path / "a.png", [dataclasses.replace(one, headline=[False] * 4) for one in methods])
    assert [len(lines) for _, lines, _ in seen] == [2 * 2 * 3 + 2] * 3 + [2 * 2] * 3  # three tasks in scores, one not


def test_interval_plot(methods, tmp_path):
    pictures.interval_plot(tmp_path / "all.png", methods, repetitions=20)
    raw = [dataclasses.replace(entry, reference=None, groups=None) for entry in methods]
    pictures.interval_plot(tmp_path / "raw.png", raw, repetitions=20)
    for name in ("all.png", "raw.png"):
        assert _share_of_colour(tmp_path / name, COLOURS[0]) > 0.0005
        assert _share_of_colour(tmp_path / name, COLOURS[1]) > 0.0005


def test_training_curve_survives_gaps(tmp_path):
    rows: list[dict[str, object]] = [
        {"step": 2 * i, "return": float(i), "norm": 10.0**i, "per_task": [[1.0], [2.0, 3.0]]} for i in range(10)
    ]
    rows[3] = {"step": 6}
    rows[4]["return"] = float("nan")
    rows[5]["return"] = None
    training.training_curve(tmp_path / "a.png", rows, ["return", "norm", "per_task", "absent"])
    assert _share_of_colour(tmp_path / "a.png", COLOURS[0]) > 0.001
    x, y = training._series(rows, "return", "step")
    np.testing.assert_array_equal(x, [0, 2, 4, 8, 10, 12, 14, 16, 18])
    np.testing.assert_array_equal(y, [0, 1, 2, np.nan, np.nan, 6, 7, 8, 9])


def test_training_curve_smooths_long_runs(tmp_path):
    rng = np.random.default_rng(0)
    rows = [{"step": i, "loss": rng.normal(), "norm": np.exp(4 * rng.normal())} for i in range(300)]
    rows[7]["loss"] = float("inf")
    training.training_curve(tmp_path / "a.png", rows)
    assert _share_of_colour(tmp_path / "a.png", COLOURS[0]) > 0.001
    np.testing.assert_allclose(training._moving_average(np.array([1.0, 3.0, np.nan, 5.0]), 2), [2.0, 3.0, 5.0])


def test_training_curve_without_numbers_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"none of \['loss'\] holds a number in any of the 1 metrics rows"):
        training.training_curve(tmp_path / "a.png", [{"step": 1}], ["loss"])


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4), (2, 3, 4, 2), (30, 2, 2)])
def test_sampler_table(shape, tmp_path):
    table = np.random.default_rng(0).dirichlet(np.ones(np.prod(shape[1:])), shape[0]).reshape(shape)
    axes = [(f"axis {index}", [0.1 * i for i in range(size)]) for index, size in enumerate(shape[1:])]
    training.sampler_table(tmp_path / "a.png", table, axes)
    assert _share_of_colour(tmp_path / "a.png", "#08306b") > 0.001  # the darkest blue marks the likeliest setting


def test_sampler_table_refuses_what_does_not_fit(tmp_path):
    axes = [("learning rate", (1, 2)), ("KL weight", (1, 2, 3))]
    with pytest.raises(UserError, match=r"probabilities: shape \(4, 3, 2\)"):
        training.sampler_table(tmp_path / "a.png", np.ones((4, 3, 2)), axes)
    with pytest.raises(UserError, match="tasks: got 1 names, need 4"):
        training.sampler_table(tmp_path / "a.png", np.ones((4, 2, 3)), axes, ["a"])
