import csv

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import Rollout
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.inspection import by_distance, correlation, decay, explained, inspect
from metaobj.lpg.inspection_data import DISCOUNTS, Size, Snapshot, _count, make_setup, pulses, true_values
from metaobj.lpg.objective import LPG, LPGConfig
from metaobj.lpg.plugin import plugin

ENTRIES = (
    Entry("chain/short", num_environments=2, updates=9),
    Entry("grid/small_layouts", num_environments=4, updates=7),
)
SETTINGS = ({"learning_rate": 1.0, "kl_weight": 2.0}, {"learning_rate": 3.0, "kl_weight": 4.0})
CONFIG = LPGTraining(rollout_steps=6, discount=0.9, value=ValueConfig(lambda_=0.5))
SCALARS = (0.9, 0.5, 1.0)
SIZE = Size(agents=4, ages=(0.3, 1.0), updates=6, rollouts=40, chain_agents=2, chain_updates=3)


@pytest.fixture(scope="module")
def objective() -> LPG:
    return LPG(LPGConfig(units=4, prediction_size=3))


@pytest.fixture(scope="module")
def eta(objective):
    return objective.init(jax.random.key(0))


def loaded(objective, eta, entries=ENTRIES, settings=SETTINGS) -> Loaded:
    return Loaded(plugin, objective, eta, CONFIG, entries, {}, settings, {})


@pytest.mark.slow
def test_everything_is_written_and_finite(objective, eta, tmp_path):
    seen = inspect(loaded(objective, eta), tmp_path / "new", SIZE)
    paths = {path.name: path for path in seen.files}
    pictures = {"rollout.png", "prediction.png", "bootstrapping.png", "bootstrap.png"}
    assert set(paths) == pictures | {"inspection.csv", "bootstrap.csv"}
    for path in (paths[name] for name in pictures):
        assert matplotlib.image.imread(path).std() > 0.05
    with open(paths["inspection.csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(np.isfinite(float(row["value"])) for row in rows)
    assert {row["agent_updates"] for row in rows} == {"2", "6"}
    per_age = [row for row in rows if row["quantity"] == "r_squared_of_value_from_y"]
    assert len(per_age) == 2 * len(DISCOUNTS)
    with open(paths["bootstrap.csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5 * 3 and len({(row["variant"], row["world"]) for row in rows}) == 5 * 3
    assert all(-np.inf < float(row["low"]) <= float(row["score"]) <= float(row["high"]) < np.inf for row in rows)
    assert {row["seeds"] for row in rows} == {"2"}
    (line,) = seen.verdict
    # Rollouts have 6 steps, chains 30 more at most, and lengths that 4 divides are held out.
    assert "bootstrap" in line and "of optimal on chains of " in line


def test_the_setup_takes_what_meta_training_settled_on(objective, eta):
    setup = make_setup(loaded(objective, eta), Size(updates=None))
    assert (setup.hyperparameters, setup.updates) == ({"learning_rate": 3.0, "kl_weight": 4.0}, 7)
    program = setup.family.program
    assert (program.rollout_steps, program.discount, program.lambda_, program.num_environments) == (6, 0.9, 0.5, 4)
    assert make_setup(loaded(objective, eta, (), ()), Size()).hyperparameters["learning_rate"] == 40.0


def test_nothing_moves_targets_of_later_steps(objective, eta):
    T = 5
    predictions = [np.zeros(3, np.float32), np.array([9.0, 0, 0], np.float32), np.array([0, 0, 9.0], np.float32)]
    answers = pulses(objective, eta, T, 0.5, predictions, SCALARS)
    assert answers.reward.shape == (T, T) and answers.prediction.shape == (T, T + 1)
    for answer in answers:
        later = np.tri(*answer.shape, k=-1, dtype=bool)  # step t after what happened at k
        assert np.all(np.abs(answer[later]) < 1e-7), "but for rounding"
        assert np.all(np.abs(answer[~later]) > 1e-6)


def test_a_rule_that_reads_no_predictions_does_not_bootstrap(eta):
    blind = LPG(LPGConfig(units=4, prediction_size=3, bootstrap=False))
    predictions = [np.zeros(3, np.float32), np.array([9.0, 0, 0], np.float32), np.array([0, 0, 9.0], np.float32)]
    answers = pulses(blind, eta, 5, 0.5, predictions, SCALARS)
    assert np.all(answers.prediction == 0)
    assert np.any(answers.reward != 0)


def test_true_values_of_a_chain_worked_out_by_hand():
    # States 0 -> 1 -> 2, then the end (reward 1); state 3 is never met.
    def steps(values, dtype):
        return np.asarray(values, dtype)[None, :, None]  # [L, T, B]

    rollout = Rollout(
        observation=steps([0, 1, 2, 0, 1, 2], int),
        action=steps([0] * 6, int),
        reward=steps([0, 0, 1, 0, 0, 1], np.float32),
        terminated=steps([0, 0, 1, 0, 0, 1], bool),
        truncated=steps([0] * 6, bool),
        next_observation=steps([1, 2, 3, 1, 2, 3], int),
    )
    transitions, rewards, visits = _count(rollout, 4)
    np.testing.assert_array_equal(transitions[0], [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    np.testing.assert_array_equal(rewards[0], [0, 0, 1, 0])
    np.testing.assert_array_equal(visits[0], [2, 2, 2, 0])

    class Batch:
        pass

    batch = Batch()
    batch.rollout = jax.tree.map(lambda leaf: jnp.asarray(leaf)[:, :2], rollout)  # ends on the way, in state 2
    snapshot = Snapshot(batch, *[None] * 4, steps=rollout, state_logits=None, state_phi=np.zeros((1, 4)))
    values = true_values(snapshot, 0.5, min_visits=2)
    for gamma, found in zip(DISCOUNTS, values.by_discount, strict=True):
        np.testing.assert_allclose(found[0], [gamma**2, gamma, 1, 0])
    np.testing.assert_array_equal(values.visited[0], [True, True, True, False])
    np.testing.assert_allclose(values.returns_to_go[0, :, 0], [0.25, 0.5])


def test_explained_tells_signal_from_noise():
    rng = np.random.default_rng(0)
    features, groups = rng.uniform(size=(400, 3)), rng.integers(4, size=400)
    assert explained(features, features @ [1.0, -2.0, 3.0], groups) > 0.95
    assert explained(features, rng.normal(size=400), groups) < 0.05
    assert explained(features, np.ones(400), groups) == 0
    assert explained(features, features[:, 0], np.zeros(400, int)) == 0  # nothing to learn from
    # A relation that holds within groups, but differently in each, does not carry over.
    assert explained(features, features[:, 0] * (-1.0) ** groups, groups) < 0.05


def test_small_statistics():
    assert correlation(np.array([1.0, 2, 3]), np.array([2.0, 4, 6])) == pytest.approx(1)
    assert correlation(np.array([1.0, 2, 3]), np.array([5.0, 5, 5])) == 0
    np.testing.assert_allclose(by_distance(np.array([[1.0, 3, 5], [0, 2, 5], [0, 0, 3]])), [2, 4, 5])
    assert decay(0.7 ** np.arange(6)) == pytest.approx(0.7)
    assert decay(np.zeros(4)) == 0
