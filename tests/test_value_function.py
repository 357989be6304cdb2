from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.value_function import TabularValue, ValueConfig
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.lifetimes.on_policy import on_policy
from metaobj.common.lifetimes.population import make_families
from metaobj.common.rules.handwritten import A2C
from tests.test_meta_step import entry
from tests.worlds import RingParams

pytestmark = pytest.mark.usefixtures("quick_compilation")
DISCOUNT, ROLLOUTS = 0.8, 150
REWARD = np.array([[2.0, 2.0], [0.5, 0.5], [1.5, 1.5]])
END = np.array([0.0, 0.03, 0.0])


def true_values():
    """Of the uniform policy: V = mean over actions of r + gamma (1 - end) V(s')."""
    moves = np.zeros((3, 3))
    for state in range(3):
        moves[state, state] += 0.5
        moves[state, (state + 1) % 3] += 0.5
    return np.linalg.solve(np.eye(3) - DISCOUNT * (1 - END)[:, None] * moves, REWARD.mean(1))


def learn(program):
    """A lifetime that acts by its first policy throughout, and the value loss of each rollout."""
    # The limit is a truncation: values that did not bootstrap there would come out far too small.
    params = RingParams(jnp.asarray(REWARD), jnp.asarray(END), jnp.int32(2))
    hyperparameters = {"learning_rate": jnp.zeros(()), "entropy_weight": jnp.zeros(())}
    lifetime = program.start(jax.random.key(0), Birth(params, hyperparameters, 10))

    def one(lifetime, _):
        lifetime, batch, _ = program.act(lifetime)
        return lifetime, jnp.mean(batch.advantages**2)

    return lifetime, *jax.lax.scan(one, lifetime, None, length=ROLLOUTS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("made", "accuracy"),
    [
        (entry("tests.worlds:RING"), 0.5),
        (entry("tests.worlds:OBSERVED_RING", agent=AgentConfig("dense", (16,), (), "adam")), 0.7),
    ],
    ids=["tabular", "network"],
)
def test_the_value_loss_falls_and_the_values_are_the_policys(made, accuracy):
    config = ValueConfig(tabular_step_size=0.1, learning_rate=0.03, lambda_=0.2)
    (family,) = make_families([made], on_policy(A2C(), rollout_steps=8, discount=DISCOUNT, value=config))
    program = family.program
    before, after, losses = jax.jit(partial(learn, program))()
    # Targets are noisy, so the loss does not go to zero.
    assert np.mean(losses[-20:]) < 0.4 * np.mean(losses[:2])
    jax.tree.map(np.testing.assert_array_equal, before.learner, after.learner)
    observed = jax.vmap(program.environment.observe)(jnp.arange(3))
    np.testing.assert_allclose(program.value_function.apply(after.value, observed), true_values(), atol=accuracy)
    assert np.abs(true_values()).min() > 2 * accuracy


def test_a_tables_step_averages_over_a_states_visits():
    value = TabularValue(3, ValueConfig(tabular_step_size=0.5))
    observation = jnp.array([[0, 0], [0, 2]])
    after = value.update(jnp.array([1.0, 5.0, 0.0]), observation, jnp.array([[2.0, 4.0], [6.0, 8.0]]), 0.1)
    np.testing.assert_allclose(after, [1 + 0.5 * (4 - 1), 5.0, 4.0])


@pytest.mark.parametrize(
    "wrong",
    [{"tabular_step_size": 0}, {"tabular_step_size": 1.5}, {"learning_rate": 0.0}, {"lambda_": -0.1}, {"lambda_": 2}],
)
def test_bad_settings_are_named(wrong):
    with pytest.raises(UserError, match=f"value.{next(iter(wrong))}: "):
        ValueConfig(**wrong)


def test_with_scaled_rewards_the_unit_that_they_are_paid_in_does_not_matter():
    """What is learnt from is the same; what is reported is what was paid. Returns come to a size of about 1."""
    config = ValueConfig(lambda_=0.5, scale_rewards=True)
    (family,) = make_families(
        [entry("tests.worlds:RING")], on_policy(A2C(), rollout_steps=8, discount=0.9, value=config)
    )
    program = family.program

    @jax.jit
    def live(unit):
        params = RingParams(unit * jnp.asarray(REWARD), jnp.asarray(END), jnp.int32(2))
        hyperparameters = {"learning_rate": jnp.zeros(()), "entropy_weight": jnp.zeros(())}
        lifetime = program.start(jax.random.key(0), Birth(params, hyperparameters, 10))

        def one(lifetime, _):
            lifetime, batch, acted = program.act(lifetime)
            return lifetime, (batch.advantages, batch.values, batch.rollout.reward, batch.advantage_size, acted.reward)

        return jax.lax.scan(one, lifetime, None, length=30)[1]

    ones, hundreds = live(1.0), live(100.0)
    for one, hundred in zip(ones[:4], hundreds[:4], strict=True):
        np.testing.assert_allclose(one, hundred, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(100 * ones[4], hundreds[4], rtol=1e-5)
    advantages, values, *_, sizes, _ = ones
    assert 0.3 < np.sqrt(np.mean((advantages + values)[-10:] ** 2)) < 1.2
    assert (sizes >= 0.99 * np.sqrt(np.mean(advantages**2, axis=(1, 2)))).all()


@pytest.mark.slow
def test_a_network_learns_returns_as_they_are_paid_whatever_the_rule_is_told():
    def value_after(scale_rewards):
        config = ValueConfig(learning_rate=0.03, scale_rewards=scale_rewards)
        small = Entry("grid/random_small", 1, 2, agent=AgentConfig("dense", (4,), optimiser="rmsprop"))
        (family,) = make_families([small], on_policy(A2C(), rollout_steps=8, discount=0.9, value=config))
        hyperparameters = {"learning_rate": jnp.zeros(()), "entropy_weight": jnp.zeros(())}
        world = family.draw_params(jax.random.key(1))
        lifetime = family.program.start(jax.random.key(0), Birth(world, hyperparameters, 10))
        return jax.lax.scan(lambda life, _: (family.program.act(life)[0], 0), lifetime, None, length=5)[0].value

    jax.tree.map(np.testing.assert_array_equal, *map(jax.jit(value_after, static_argnums=0), (False, True)))
