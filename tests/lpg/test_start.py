"""A start for LPG from a rule that a person wrote."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.errors import UserError
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.rollout import Rollout
from metaobj.common.meta.objectives import Bootstrapped, Last
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.train import initial_weights, make_trainer, meta_train, started
from metaobj.lpg.actor_critic import ENTROPY_WEIGHT, ActorCritic
from metaobj.lpg.config import PRESETS, LPGTraining
from metaobj.lpg.meta_loss import MetaLossConfig
from metaobj.lpg.objective import LPG, LPGConfig
from metaobj.lpg.plugin import plugin
from metaobj.lpg.smaller import Frozen
from metaobj.lpg.targets import errors
from metaobj.lpg.teaching import BY_STUDENT, TEST, Distillation, trainer_of

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = replace(
    PRESETS["smoke"],
    distribution="small-layouts",
    network=LPGConfig(units=16, prediction_size=12),
    value=ValueConfig(scale_rewards=True),
    meta_updates=5,
)


def batch_of(reward, terminated):
    """Of one environment in states that are all the same to it."""
    shape = np.shape(reward)
    rollout = Rollout(
        observation=jnp.zeros(shape),
        next_observation=jnp.zeros(shape),
        action=jnp.zeros(shape, int),
        reward=jnp.asarray(reward),
        terminated=jnp.asarray(terminated),
        truncated=jnp.zeros(shape, bool),
    )
    return Batch.of(rollout, hyperparameters={"kl_weight": jnp.float32(0.5)}, discount=jnp.float32(0.9))


def test_its_critic_is_the_prediction_and_its_targets_are_returns_and_advantages():
    rule = ActorCritic(prediction_size=41, lambda_=0.5)
    grid = np.asarray(rule.grid)
    sharp = jnp.where(jnp.arange(41) == 25, 0.0, -1e9)
    value = np.expm1(grid[25])
    np.testing.assert_allclose(rule.values(sharp), value, rtol=1e-5)
    batch = batch_of(np.array([[1.0], [0.5], [2.0]], np.float32), np.array([[False], [True], [False]]))
    heads = {"policy": jnp.zeros((3, 1, 4)), "prediction": jnp.broadcast_to(sharp, (3, 1, 41))}
    (pi_hat, log_y_hat), _ = rule.targets((), heads, heads, batch)
    returns = np.array([1.0 + 0.9 * (0.5 * value + 0.5 * 0.5), 0.5, 2.0 + 0.9 * value])  # by hand, from the end back
    advantages = returns - value
    bonus = ENTROPY_WEIGHT * np.sqrt(np.mean(advantages**2)) * np.log(4)
    np.testing.assert_allclose(pi_hat[:, 0], advantages + bonus, rtol=1e-4)
    means = np.exp(log_y_hat[:, 0]) @ grid
    np.testing.assert_allclose(means, np.log1p(returns), atol=2e-3)


def test_errors_are_none_for_the_teacher_itself_and_one_for_silence():
    wanted = (jnp.array([[0.5, -1.0]]), jnp.log(jnp.array([[[0.2, 0.8], [0.5, 0.5]]])))
    same = errors(wanted, wanted)
    assert same["policy_error"] == 0 and abs(same["prediction_error"]) < 1e-6
    silent = errors((jnp.zeros((1, 2)), jnp.log(jnp.full((1, 2, 2), 0.5))), wanted)
    assert 0.99 < silent["policy_error"] < 1
    kl = 0.5 * (0.2 * np.log(0.4) + 0.8 * np.log(1.6))
    np.testing.assert_allclose(silent["prediction_error"], kl, rtol=1e-5)


@pytest.mark.slow
def test_a_learned_rule_makes_no_errors_against_itself():
    rule = LPG(LPGConfig(units=4, prediction_size=5))
    eta = rule.init(jax.random.key(0))
    batch = batch_of(np.array([[1.0], [0.5]], np.float32), np.array([[False], [True]]))
    batch = batch._replace(hyperparameters={**batch.hyperparameters, BY_STUDENT: jnp.float32(0.0)})
    heads = {"policy": jnp.zeros((2, 1, 4)), "prediction": jnp.zeros((2, 1, 5))}
    other, _ = rule.targets(eta, heads, heads, batch)
    distillation = Distillation(rule, Frozen(rule, eta))
    targets, same = distillation.targets(eta, heads, heads, batch)
    assert same["policy_error"] == 0 and abs(same["prediction_error"]) < 1e-6
    jax.tree.map(np.testing.assert_array_equal, targets, other)
    _, differ = distillation.targets(rule.init(jax.random.key(1)), heads, heads, batch)
    assert differ["policy_error"] > 1e-3 and differ["prediction_error"] > 1e-4


@pytest.mark.slow
def test_the_network_learns_it(tmp_path):
    """A run that starts so tells how well, and nothing of its first state but the weights is another one."""
    console = Console(record=True, width=200)
    config = replace(SMALL, start="actor-critic", start_updates=1200, network=LPGConfig(32, 12))
    meta_train(plugin, config, tmp_path / "run", console=console)
    told = console.export_text()
    policy, prediction = (float(number) for number in re.findall(r"by (\d\.\d+)", told))
    assert policy < 0.5 and prediction < 0.5, told


@pytest.mark.slow
def test_a_run_may_start_from_an_objective(tmp_path):
    meta_train(plugin, SMALL, tmp_path / "first")
    config = replace(SMALL, init=str(tmp_path / "first"), learning_rate=1e-12)
    meta_train(plugin, config, tmp_path / "second")
    like = make_trainer(plugin, SMALL).init().eta
    first, second = (initial_weights("lpg", str(tmp_path / name), like) for name in ("first", "second"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-9), first, second)
    assert any(np.abs(a - b).max() > 1e-3 for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(like), strict=True))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"start": "a2c"}, "start: 'a2c' given; choose from none, actor-critic"),
        ({"start": "actor-critic", "init": "x"}, "start: actor-critic given; must be none where init"),
        ({"start": "actor-critic", "value": ValueConfig()}, "without value.scale_rewards"),
        ({"start": "actor-critic", "network": LPGConfig(value_inputs=True)}, "with network.value_inputs"),
        ({"start": "actor-critic", "network": LPGConfig(bootstrap=False)}, "without network.bootstrap"),
        ({"meta_loss": MetaLossConfig(anchor=0.1), "value": ValueConfig()}, "meta_loss.anchor: 0.1 given; must be 0 w"),
        (
            {"meta_loss": MetaLossConfig(anchor=0.1), "value": ValueConfig(lambda_=0.8, scale_rewards=True)},
            "lambda_ 0.8",
        ),
        ({"start": "actor-critic", "start_updates": 7}, r"log_every: 5 given; must divide .* and start_updates \(7\)"),
    ],
)
def test_what_cannot_be_started_is_told(changes, says):
    with pytest.raises(UserError, match=says):
        replace(SMALL, **changes)


def test_a_length_without_a_start_is_told():
    """As a run begins: an older file may tell what was the default then."""
    for config in (replace(SMALL, start_updates=5), replace(SMALL, start_updates=5, init="pretrained:lpg-tabular")):
        with pytest.raises(UserError, match="start_updates: 5 given; start says that nothing is distilled"):
            started(plugin, make_trainer(plugin, config), None, Console())


def test_distillation_does_not_look_ahead():
    """Nor does it count steps of what it does not do."""
    config = replace(SMALL, start="actor-critic", meta_loss=MetaLossConfig(look_ahead=5, anchor=0.1))
    plain = replace(config, meta_loss=MetaLossConfig(), estimator="persistent-es")
    teacher = ActorCritic(config.network.prediction_size)
    assert trainer_of(teacher, config, TEST, 1).config.meta_objective == Last()
    plain_trainer = trainer_of(teacher, plain, TEST, 1)
    assert not plain_trainer.config.paired, "a teacher is learnt from by its targets, and not by what is earned"
    assert make_trainer(plugin, config).config.meta_objective == Bootstrapped(5)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("nowhere.safetensors", "init: nowhere.safetensors"),
        ("pretrained:metagenrl-demo", "init: .*metagenrl-demo.*one of kind lpg is needed"),
        ("pretrained:lpg-tabular", r"init: pretrained:lpg-tabular: lstm/.* is \(.*; this configuration needs \("),
    ],
)
def test_an_objective_that_does_not_fit_is_told(name, says):
    with pytest.raises(UserError, match=says):
        initial_weights("lpg", name, jax.eval_shape(LPG(SMALL.network).init, jax.random.key(0)))


def test_what_it_starts_from_is_that_objective():
    objective = load_objective("pretrained:lpg-tabular")
    like = jax.eval_shape(objective.objective.init, jax.random.key(0))
    jax.tree.map(np.testing.assert_array_equal, initial_weights("lpg", "pretrained:lpg-tabular", like), objective.eta)


def test_faithful_presets_start_fresh():
    assert all(PRESETS[name].start == "none" for name in ("smoke", "lpg-demo", "lpg-tabular", "lpg-paper"))
    assert LPGTraining().start == "none"
