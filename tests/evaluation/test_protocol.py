"""Tuning, training fresh agents and scoring them, on worlds of three states."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.environments.protocol import Environment
from metaobj.common.errors import UserError
from metaobj.common.evaluation.baselines import a2c
from metaobj.common.evaluation.checks import check_sizes
from metaobj.common.evaluation.curves import Curves, Reference
from metaobj.common.evaluation.journal import Journal
from metaobj.common.evaluation.method import FEW, Method, Settings, beyond, edges, few
from metaobj.common.evaluation.protocol import (
    Contestant,
    EvaluationProtocol,
    Trials,
    _worst_where_diverged,
    evaluate,
    planned_settings,
    tune,
)
from metaobj.common.evaluation.scoring import relative_to, score_diverged
from metaobj.common.evaluation.training import Record
from metaobj.common.experience.rollout import Acted, Episodes, reset
from metaobj.common.keys import Purpose
from metaobj.common.lifetimes.distributions import CONTROL_DENSE, Entry
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.rules.handwritten import A2C

PROTOCOL = EvaluationProtocol(seeds=6, tuning_seeds=6, bins=4)
LESSON = Entry("tests.worlds:LESSON", num_environments=4, updates=40)


@pytest.fixture(scope="module")
def method(quick_compilation: None) -> Method:
    """A2C with a learning rate at which nothing is learned and one at which tables learn."""
    made = a2c(8, 0.9, ValueConfig())
    return replace(made, grid=lambda agent: {"learning_rate": (1e-6, 20.0), "entropy_weight": (0.0,)})


def contest(method: Method) -> Contestant:
    return Contestant(method.name, (method,))


def live(method: Method, setting: Settings, protocol: EvaluationProtocol = PROTOCOL) -> Curves:
    return evaluate(Trials(protocol), contest(method), [LESSON], {LESSON.environment: setting})


@pytest.mark.slow
def test_tuning_finds_the_setting_that_learns(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    more: list[float] = []
    journal = Journal(say=told.append)
    monkeypatch.setattr(journal, "more", more.append)
    choice = tune(Trials(PROTOCOL, journal=journal), contest(method), [LESSON])
    assert len(more) == len(told) - 1 and all(more)  # what follows an edge had not been counted
    by_rate = {setting["learning_rate"]: score for setting, score in choice.tried}
    # Four times as much each time, as the best was the highest: twice at most.
    assert list(by_rate)[:3] == [1e-6, 20.0, 80.0] and len(told) == len(by_rate) - 1 <= 3
    assert choice.setting["learning_rate"] == max(by_rate, key=lambda rate: by_rate[rate]) >= 20.0
    assert by_rate[20.0] > by_rate[1e-6] + 0.3
    # An episode of the right actions throughout has the reward 1 a step; of uniform ones 1/3.
    best: Settings = {"learning_rate": 20.0, "entropy_weight": 0.0}
    curves = live(method, best)
    assert curves.returns.shape == (1, 6, 4) and curves.method == "A2C"
    np.testing.assert_array_equal(curves.env_steps[0], np.arange(1, 5) * 10 * 8 * 4)
    assert curves.returns[0, :, -1].mean() > curves.returns[0, :, 0].mean()
    idle = live(method, {**best, "learning_rate": 1e-6})
    assert curves.returns[0, :, -1].mean() > 2 * idle.returns[0, :, -1].mean()
    np.testing.assert_array_equal(curves.returns, live(method, best).returns)
    assert (curves.returns != live(method, best, replace(PROTOCOL, seed=1)).returns).any()


@pytest.mark.slow
def test_all_settings_in_one_program_are_each_alone(method: Method) -> None:
    trials = Trials(PROTOCOL)
    together = trials.train(method, LESSON, method.settings(LESSON.agent), "tuning")
    for setting, record in zip(method.settings(LESSON.agent), together, strict=True):
        (alone,) = trials.train(method, LESSON, [setting], "tuning")
        np.testing.assert_allclose(record.returns, alone.returns, rtol=1e-5)
        np.testing.assert_array_equal(record.env_steps, alone.env_steps)


@pytest.mark.slow
def test_on_the_suite_itself_the_same_few_rates_for_everyone(method: Method) -> None:
    """And the agents that are reported are others than those a rate was chosen by."""
    protocol = replace(PROTOCOL, tuning="suite")
    settings = planned_settings(protocol, replace(method, usual=lambda agent: {"entropy_weight": 0.5}), LESSON.agent)
    assert len(settings) == FEW and {setting["entropy_weight"] for setting in settings} == {0.5}
    trials = Trials(protocol)
    setting = {"learning_rate": 20.0, "entropy_weight": 0.0}
    (tuned,), (told,) = (trials.train(method, LESSON, [setting], purpose) for purpose in ("tuning", "evaluation"))
    assert (tuned.returns != told.returns).any()


@pytest.mark.parametrize(
    ("rates", "wanted"),
    [
        ((1.0, 2.0, 4.0, 8.0, 16.0), [1, 2, 4, 8, 16]),
        ((1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0), [1, 4, 16, 64, 256]),
        ((2.0, 4.0, 8.0), [1, 2, 4, 8, 16]),
        ((3.0,), [0.1875, 0.75, 3, 12, 48]),
        ((0.0, 0.1, 0.2), [0.05, 0.1, 0.2, 0.4, 0.8]),
    ],
)
def test_few_rates(rates: tuple[float, ...], wanted: list[float]) -> None:
    np.testing.assert_allclose(few(rates), wanted)


def test_what_lies_beyond_an_edge() -> None:
    grid = [{"rate": rate, "weight": weight} for rate in (1.0, 2.0, 8.0) for weight in (0.0, 0.1)]
    assert edges(grid, grid, {"rate": 2.0, "weight": 0.0}) == {}, "nothing is below 0"
    corner = {"rate": 8.0, "weight": 0.1}
    assert edges(grid, grid, corner) == {"rate": "highest", "weight": "highest"}
    more = beyond(grid, grid, corner)
    assert more == [{"rate": 32.0, "weight": 0.1}, {"rate": 8.0, "weight": 0.4}]
    # From the corner one step along the rate: further weights were tried at the old rate alone.
    assert edges(grid, [*grid, *more], more[0]) == {"rate": "highest", "weight": "highest"}
    assert beyond(grid, [*grid, *more], more[0])[1] == {"rate": 32.0, "weight": 0.4}
    assert edges(grid, [*grid, *more], corner) == {}, "further ones were tried and are no better"
    assert beyond(grid, grid, {"rate": 1.0, "weight": 0.0}) == [{"rate": 0.5, "weight": 0.0}]
    assert beyond([{"rate": 5.0}], [{"rate": 5.0}], {"rate": 5.0}) == [], "one value is no grid"


def test_usual_values_are_the_middle_of_the_grid(method: Method) -> None:
    wide = replace(method, grid=lambda agent: {"learning_rate": (1.0,), "entropy_weight": (0.3, 0.5)})
    assert {setting["entropy_weight"] for setting in wide.few_settings(LESSON.agent)} == {0.3}
    tables, networks = (a2c(8, 0.9, ValueConfig()).few_settings(agent) for agent in (LESSON.agent, CONTROL_DENSE))
    assert {setting["entropy_weight"] for setting in tables} == {0.01}
    assert {setting["critic_learning_rate"] for setting in networks} == {0.03}


@pytest.mark.slow
def test_a_setting_on_the_edge_is_followed_and_told(method: Method) -> None:
    low = replace(method, grid=lambda agent: {"learning_rate": (1e-6, 2e-6), "entropy_weight": (0.0,)})
    choice = tune(Trials(PROTOCOL), contest(low), [LESSON])
    assert len(choice.tried) > 2 and set(choice.edges) <= {"learning_rate"}


@dataclass(frozen=True, eq=False)
class Scored(Trials):
    """Agents whose score is this from their lives' middle on, at whatever setting; with or without a known best."""

    score: float = 0.0
    known: bool = True

    def train(self, method: Method, entry: Entry, settings: Sequence[Settings], purpose: Purpose) -> list[Record]:
        returns = np.tile([0.0, self.score], (6, 1))
        random, optimal = np.zeros(6), np.ones(6) if self.known else None
        return [Record(returns, np.array([1.0, 2.0]), random, optimal, returns < -1)] * len(settings)


@pytest.mark.parametrize(("score", "known", "little"), [(0.05, True, True), (0.5, True, False), (0.05, False, False)])
def test_a_choice_where_little_was_learnt_is_marked(method: Method, score: float, known: bool, little: bool) -> None:
    choice = tune(Scored(PROTOCOL, score=score, known=known), contest(method), [LESSON, LESSON])
    assert choice.little == little and choice.worlds == ["tests.worlds:LESSON"]


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


class Broken(A2C):
    """Its gradient is not a number."""

    def loss(self, *arguments: Any) -> Any:
        return super().loss(*arguments) * np.nan


def test_agents_that_diverge_have_the_worst_return_of_all_methods(method: Method) -> None:
    """Also those that go on acting: the largest of logits that are not numbers is action 0."""
    setting = {"learning_rate": 20.0, "entropy_weight": 0.0}
    broken = live(replace(method, name="Broken", rule=Broken()), setting)
    healthy = live(method, setting)
    assert np.isnan(broken.returns).all() and broken.lost(0) == 6 and healthy.lost(0) == 0
    scored, as_it_was = score_diverged([broken, healthy])
    assert (scored.returns == healthy.returns.min()).all() and scored.lost(0) == 6
    np.testing.assert_array_equal(as_it_was.returns, healthy.returns)
    (alone,) = score_diverged([broken])
    assert (alone.returns == 0).all(), "nothing else is known"
    measured = replace(broken, floor=np.full((1, 6), -7.0))
    assert all((entry.returns[np.asarray(entry.diverged)] == -7).all() for entry in score_diverged([measured, healthy]))


@struct.dataclass
class Lost:
    """A lifetime of an agent that begins anew with every update."""

    own: jax.Array
    worlds: Any
    restarts: jax.Array


@dataclass(frozen=True)
class Losing:
    """How it lives."""

    environment: Environment
    steps_per_update = 8 * 4
    first_steps = early_steps = 0

    def start(self, key: jax.Array, birth: Birth) -> Lost:
        worlds = reset(key, self.environment, birth.environment_params, 1)
        return Lost(jnp.zeros(()), worlds, jnp.int32(0))

    def update(self, rule: Any, weights: Any, lifetime: Lost) -> tuple[Lost, dict[str, jax.Array], Acted]:
        acted = Acted(jnp.zeros(()), Episodes(jnp.int32(1), jnp.ones(())))
        return lifetime.replace(restarts=lifetime.restarts + 1), {}, acted  # type: ignore[attr-defined]  # of flax

    def test(self, lifetime: Lost, at_random: bool = False) -> None:
        return None


def test_restarts_are_counted(method: Method) -> None:
    losing = replace(method, name="Losing", programs=lambda entry, environment: Losing(environment))
    curves = live(losing, {"learning_rate": 1.0})
    assert curves.restarts == 6 * 40 and curves.lost(0) == 0, "of every agent with every update"


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
