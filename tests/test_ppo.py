"""PPO, a rule to compare with, for both kinds of action."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.settings import AgentSettings
from metaobj.common.agents.stochastic import CategoricalPolicy, NormalPolicy
from metaobj.common.errors import UserError
from metaobj.common.evaluation.baselines import ddpg, discrete_ppo, ppo
from metaobj.common.evaluation.checks import check_steps
from metaobj.common.evaluation.training import train_agents
from metaobj.common.evaluation.worlds import draw_worlds
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, Entry
from metaobj.common.lifetimes.population import make_families
from metaobj.common.lifetimes.ppo import PPOSettings
from metaobj.common.rules.handwritten import clipped_surrogate

pytestmark = pytest.mark.usefixtures("quick_compilation")
AGENT = AgentSettings(hidden=(16,), random_steps=32, test_environments=4)
DENSE = AgentConfig("dense", (16,), (), "adam")


def test_the_surrogate_by_hand():
    log_ratio, advantage = jnp.log(jnp.array([1.5, 1.5, 0.5, 0.5, 1.1])), jnp.array([2.0, -2.0, 2.0, -2.0, 3.0])
    # max gain at ratio 1.2; full loss at 1.5; 0.5 as it is; loss bounded at 0.8; within the bounds as it is
    np.testing.assert_allclose(clipped_surrogate(log_ratio, advantage), [-2.4, 3.0, -1.0, 1.6, -3.3], rtol=1e-6)


@pytest.mark.slow
def test_it_learns_to_go_to_the_origin_in_the_steps_that_others_have():
    method = ppo(2, 0.9, AGENT)
    entry = Entry("tests.worlds_continuous:LINE", num_environments=4, updates=960, agent=ACTOR_CRITIC)
    (family,) = make_families([entry], method.programs)
    assert family.program.horizon == 64 and method.updates(entry, family.program) == 30
    worlds = draw_worlds(family, "a world", jax.random.key(0), 2)
    settings = {"learning_rate": 3e-3, "entropy_weight": 0.0}
    record = train_agents(method.rule, (), family, worlds, 30, [settings], jax.random.key(1), 5)
    # the start is a window of 20 steps in each of 4 environments, as the others have
    assert record.random is not None and record.env_steps[-1] == 20 * 4 + 960 * 8
    assert (record.returns[:, -1] > 0.2 * record.random).all(), (record.random, record.returns)
    assert not record.diverged.any()


@pytest.mark.slow
def test_it_learns_discrete_actions():
    """The right one of three in each state pays 1: by chance an episode of at most five steps pays a third of that."""
    method = discrete_ppo(20)
    entry = Entry("tests.worlds:OBSERVED_LESSON", num_environments=8, updates=192, agent=DENSE)
    (family,) = make_families([entry], method.programs)
    assert family.program.horizon == 128
    worlds = draw_worlds(family, "a world", jax.random.key(0), 2)
    settings = {"learning_rate": 3e-3, "entropy_weight": 0.01}
    record = train_agents(method.rule, (), family, worlds, 30, [settings], jax.random.key(1), 10)
    assert record.env_steps[-1] == 192 * 20 * 8 and record.random is None
    # An episode lasts about 3.4 steps in the mean, of which the first bin has a third and more.
    assert (record.returns[:, 0] < 1.7).all() and (record.returns[:, -1] > 2.7).all(), record.returns


@pytest.mark.parametrize(
    ("rows", "horizon"), [(6400, 64), (2400, 60), (30_000, 60), (63, 63), (128, 64), (48, 48), (1280 * 7, 64), (17, 17)]
)
def test_an_update_divides_the_life(rows, horizon):
    assert PPOSettings(horizon=64).horizon_of(rows) == horizon and rows % horizon == 0


def test_a_life_that_no_update_divides_is_refused():
    with pytest.raises(UserError, match="lives of 7919 steps given; PPO's rollouts of about 64 must divide them"):
        PPOSettings(horizon=64).horizon_of(7919)


@pytest.mark.parametrize("updates", [960, 1200, 37])
def test_all_methods_live_the_same_number_of_steps(updates):
    entry = Entry("tests.worlds_continuous:LINE", num_environments=4, updates=updates, agent=ACTOR_CRITIC)
    check_steps([ddpg(2, 0.9, AGENT), ppo(2, 0.9, AGENT)], [entry])


def test_lives_of_different_lengths_are_refused():
    short = AgentSettings(hidden=(16,), random_steps=400, test_environments=4)
    entry = Entry("tests.worlds_continuous:LINE", num_environments=4, updates=960, agent=ACTOR_CRITIC)
    with pytest.raises(UserError, match="LINE: agents would not live the same number of steps: DDPG 7760 and PPO 8080"):
        check_steps([ddpg(2, 0.9, AGENT), ppo(2, 0.9, short)], [entry])


@partial(jax.jit, static_argnums=0)
def acted(policy):
    """(parameters, observations [5, 3], 4000 actions in each, their log-probabilities, entropies)"""
    observation = jax.random.normal(jax.random.key(0), (5, 3))
    params = policy.init(jax.random.key(1), observation[:1])
    drawn = policy.draw(jax.random.key(2), 4000, observation)
    actions = jax.vmap(lambda noise: policy.act(params, observation, noise))(drawn)
    told = jax.vmap(lambda action: policy.log_probability(params, observation, action))(actions)
    return params, observation, actions, told, policy.entropy(params, observation)


def test_log_probabilities_and_entropies_by_hand():
    discrete = CategoricalPolicy((3,), 4, DENSE)
    params, observation, actions, told, entropy = jax.device_get(acted(discrete))
    every = jax.vmap(lambda a: discrete.log_probability(params, observation, jnp.full(5, a)))
    every = np.asarray(jax.jit(every)(jnp.arange(4)))
    np.testing.assert_allclose(np.exp(every).sum(0), 1.0, rtol=1e-5)
    np.testing.assert_allclose(entropy, -(np.exp(every) * every).sum(0), rtol=1e-5)
    shares = np.stack([(actions == a).mean(0) for a in range(4)])
    np.testing.assert_allclose(shares, np.exp(every), atol=0.04)
    np.testing.assert_allclose(told, np.take_along_axis(every, actions, 0), rtol=1e-5)

    normal = NormalPolicy((8,), True, 2, 0.6)
    params, observation, actions, told, entropy = jax.device_get(acted(normal))
    np.testing.assert_allclose(actions.mean(0), jax.jit(normal.best)(params, observation), atol=0.05)
    np.testing.assert_allclose(actions.std(0), 0.6, atol=0.03)
    np.testing.assert_allclose(-told.mean(0), entropy, atol=0.06)
