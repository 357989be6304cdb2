"""Tuning, training fresh agents and scoring them, on worlds of three states."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.errors import UserError
from metaobj.common.evaluation.baselines import a2c
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import (
    EvaluationProtocol,
    _worst_where_diverged,
    check_sizes,
    evaluate,
    tune,
)
from metaobj.common.evaluation.results import Curves, Reference, relative_to, score_diverged
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives import evaluate as evaluation
from metaobj.common.objectives.loading import load_objective
from metaobj.common.rules.handwritten import A2C

PROTOCOL = EvaluationProtocol(seeds=6, tuning_seeds=6, bins=4)
LESSON = Entry("tests.worlds:LESSON", num_environments=4, updates=40)


@pytest.fixture(scope="module")
def method(quick_compilation: None) -> Method:
    """A2C with a learning rate at which nothing is learned and one at which tables learn."""
    made = a2c(8, 0.9, ValueConfig())
    return replace(made, grid=lambda agent: {"learning_rate": (1e-6, 20.0), "entropy_weight": (0.0,)})


def test_tuning_finds_the_setting_that_learns(method: Method) -> None:
    told: list[str] = []
    best, table = tune(PROTOCOL, method, [LESSON], told.append)
    assert best == {"learning_rate": 20.0, "entropy_weight": 0.0}
    (low, high) = (score for _, score in table)
    assert high > low + 0.3 and len(told) == 2
    # An episode of the right actions throughout has the reward 1 a step; of uniform ones 1/3.
    curves = evaluate(PROTOCOL, method, [LESSON], {LESSON.environment: best})
    assert curves.returns.shape == (1, 6, 4) and curves.method == "A2C"
    np.testing.assert_array_equal(curves.env_steps[0], np.arange(1, 5) * 10 * 8 * 4)
    assert curves.returns[0, :, -1].mean() > curves.returns[0, :, 0].mean()
    idle = evaluate(PROTOCOL, method, [LESSON], {LESSON.environment: {**best, "learning_rate": 1e-6}})
    assert curves.returns[0, :, -1].mean() > 2 * idle.returns[0, :, -1].mean()
    again = evaluate(PROTOCOL, method, [LESSON], {LESSON.environment: best})
    np.testing.assert_array_equal(curves.returns, again.returns)
    other = evaluate(replace(PROTOCOL, seed=1), method, [LESSON], {LESSON.environment: best})
    assert (curves.returns != other.returns).any()


def curves_of(method: str, finals: list[float], floor: float, random: float, optimal: float) -> Curves:
    """One task without a reference, whose final returns are these, and one with."""
    returns = np.stack([np.array(finals)[:, None] + np.array([-3.0, 0.0]), np.full((len(finals), 2), 0.5)])
    reference = Reference(np.array([np.nan, random]), np.array([np.nan, optimal]))
    return Curves(method, ["raw", "known"], returns, np.array([1.0, 2.0]), reference, floor=np.array([floor, np.nan]))


def test_scores_relative_to_a_baseline_by_hand() -> None:
    """Interquartile mean of the baseline's finals 1, 3, 5, 99 is 4: score 1; the floor -4 is score 0."""
    base = curves_of("A2C", [1.0, 3.0, 5.0, 99.0], -4.0, 0.0, 2.0)
    ours = curves_of("LPG", [0.0, 4.0, 8.0, 12.0], -4.0, 0.0, 2.0)
    _, scored = relative_to([base, ours], "A2C")
    np.testing.assert_allclose(scored.normalised[0, :, 1], [0.5, 1.0, 1.5, 2.0])
    np.testing.assert_allclose(scored.normalised[1], 0.25)  # as its own reference says


@pytest.mark.parametrize("gain", [0.0, 1e-12, -1e-12, 1e-3])
def test_next_to_no_gain_is_no_unit(gain: float) -> None:
    """Such as 1e-12, of which another method would have gained 5e11 times as much."""
    base = curves_of("A2C", [gain] * 4, 0.0, 0.0, 2.0)
    ours = curves_of("LPG", [5.0, 5.1, 5.2, 5.3], 0.0, 0.0, 2.0)
    for scored in relative_to([base, ours], "A2C"):
        assert np.isnan(scored.normalised[0]).all() and not scored.is_normalised("all tasks")


def test_a_gain_that_may_be_chance_is_no_unit() -> None:
    base = curves_of("A2C", [-9.0, -5.0, 5.0, 11.0], 0.0, 0.0, 2.0)
    assert np.isnan(relative_to([base], "A2C")[0].normalised[0]).all()


@pytest.mark.parametrize(("floor", "known"), [(-4.0, True), (4.0, False), (9.0, False), (np.nan, False)])
def test_a_baseline_that_gains_nothing_scores_nobody(floor: float, known: bool) -> None:
    base = curves_of("A2C", [1.0, 3.0, 5.0, 99.0], floor, 0.0, 2.0)
    (scored,) = relative_to([base], "A2C")
    assert np.isfinite(scored.normalised[0]).all() == known
    np.testing.assert_allclose(scored.normalised[1], 0.25)
    (as_it_was,) = relative_to([replace(base, floor=None)], "A2C")
    assert np.isnan(as_it_was.normalised[0]).all()


def test_a_learned_method_is_tuned_over_what_it_was_trained_with() -> None:
    loaded = load_objective("pretrained:lpg-cpu")
    method = evaluation.learned(loaded)
    assert method.name == "LPG"
    tabular = method.grid(AgentConfig())
    assert tabular["learning_rate"] == (40.0, 80.0, 160.0) and tabular["kl_weight"] == (0.1, 0.5, 1.0)
    assert max(method.grid(AgentConfig("dense"))["learning_rate"]) < 0.1, "agents that it never met"
    assert evaluation.learned(load_objective("pretrained:metagenrl-demo")).name == "MetaGenRL"


def test_tuning_is_on_what_was_trained_on_most() -> None:
    entries = [Entry("grid/sparse", 3), Entry("grid/dense", 9, updates=900), Entry("grid/long_dense", 5, updates=100)]
    chosen = evaluation.tuning_entries(entries, AgentConfig(), longest=500)
    assert [(entry.environment, entry.updates) for entry in chosen] == [("grid/dense", 500), ("grid/long_dense", 100)]
    dense = AgentConfig("dense", (64,), optimiser="adam")
    (other,) = evaluation.tuning_entries(entries, dense, longest=300)
    assert (other.environment, other.agent, other.updates) == ("grid/random_small", dense, 300)


@pytest.mark.parametrize("against", [None, pytest.param("ddpg", marks=pytest.mark.slow), "TD3+DDPG", "SARSA"])
def test_an_objective_beside_its_baselines(
    against: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_curves: Callable[..., Curves]
) -> None:
    """What is tuned, trained, told and written; agents themselves are not trained here."""
    calls: list[tuple[str, str, Any]] = []

    def tuned(protocol: EvaluationProtocol, method: Method, entries: list[Entry], say: Any) -> Any:
        calls.append(("tune", method.name, [entry.environment for entry in entries]))
        return {"learning_rate": 1.0}, [({"learning_rate": 1.0}, 0.5)]

    def trained(protocol: EvaluationProtocol, method: Method, suite: list[Entry], settings: Any, say: Any) -> Curves:
        calls.append(("evaluate", method.name, settings))
        return make_curves(method.name, seed=len(calls))

    monkeypatch.setattr(evaluation, "tune", tuned)
    monkeypatch.setattr(evaluation, "evaluate", trained)
    suite = "tests.worlds_continuous:POINT"
    arguments = ("pretrained:metagenrl-demo", suite, tmp_path / "out", EvaluationProtocol(seeds=4))
    if against == "SARSA":
        with pytest.raises(UserError, match="against: 'sarsa' given; choose from DDPG, TD3, PPO"):
            evaluation.evaluate_objective(*arguments, against=against)
        assert not calls and not (tmp_path / "out").exists()
        return
    rows = evaluation.evaluate_objective(*arguments, against=against)
    methods = ["MetaGenRL", *(["TD3", "DDPG"] if against == "TD3+DDPG" else ["DDPG"])]
    assert [name for what, name, _ in calls if what == "evaluate"] == methods
    assert all(
        given == ["Pendulum-v1/varied", "control/point_mass/varied"] for what, _, given in calls if what == "tune"
    )
    assert all(given == {suite: {"learning_rate": 1.0}} for what, _, given in calls if what == "evaluate")
    assert {row.baseline for row in rows if row.kind == "comparison"} == {methods[1]}
    record = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert list(record["tuning"]) == methods and record["protocol"]["seeds"] == 4
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "evaluation.json",
        "summary.csv",
        "curves.csv",
        "learning_curves.png",
        "intervals.png",
    }


class Broken(A2C):
    """Its gradient is not a number."""

    def loss(self, *arguments: Any) -> Any:
        return super().loss(*arguments) * np.nan


def test_agents_that_diverge_have_the_worst_return_of_all_methods(method: Method) -> None:
    """Also those that go on acting: the largest of logits that are not numbers is action 0."""
    steps = {LESSON.environment: {"learning_rate": 20.0, "entropy_weight": 0.0}}
    broken = evaluate(PROTOCOL, replace(method, name="Broken", rule=Broken()), [LESSON], steps)
    healthy = evaluate(PROTOCOL, method, [LESSON], steps)
    assert np.isnan(broken.returns).all() and broken.lost(0) == 6 and healthy.lost(0) == 0
    scored, as_it_was = score_diverged([broken, healthy])
    assert (scored.returns == healthy.returns.min()).all() and scored.lost(0) == 6
    np.testing.assert_array_equal(as_it_was.returns, healthy.returns)
    (alone,) = score_diverged([broken])
    assert (alone.returns == 0).all(), "nothing else is known"
    measured = replace(broken, floor=np.full((1, 6), -7.0))
    assert all((entry.returns[np.asarray(entry.diverged)] == -7).all() for entry in score_diverged([measured, healthy]))


def test_a_setting_that_diverges_is_not_chosen(method: Method) -> None:
    """On a task whose returns are all negative 0 would be the best of them."""
    scores = np.array([[[-3.0, -2.0]], [[np.nan, np.nan]], [[-5.0, np.nan]]])
    worst = _worst_where_diverged(scores)
    np.testing.assert_array_equal(worst, [[[-3.0, -2.0]], [[-5.0, -5.0]], [[-5.0, -5.0]]])


def test_sizes_are_held_against_memory_and_updates(method: Method) -> None:
    check_sizes(PROTOCOL, method, [LESSON])
    with pytest.raises(UserError, match="bins: 41 given; an agent of A2C has 40 updates on tests.worlds:LESSON"):
        check_sizes(replace(PROTOCOL, bins=41), method, [LESSON])
    for name in ("seeds", "tuning_seeds"):
        says = f"{name}: 2000000000 given; so many agents of A2C on tests.worlds:LESSON take [0-9.e+]+ GiB"
        with pytest.raises(UserError, match=says):
            check_sizes(replace(PROTOCOL, **{name: 2_000_000_000}), method, [LESSON], [LESSON])
    crowded = replace(LESSON, num_environments=2**31 - 1)  # as a stranger's file may say
    with pytest.raises(UserError, match="tuning_seeds: 6 given; so many agents of A2C on tests.worlds:LESSON take"):
        check_sizes(PROTOCOL, method, [LESSON], [crowded])
