"""FRODO's returns in float64: what they read, that they are differentiated, and what consistency is."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.meta.objectives import Last, meta_loss
from metaobj.common.meta.online import ForwardTrace, Online
from metaobj.selftuning.frodo import Frodo, inconsistency
from metaobj.selftuning.losses import Outer
from tests.selftuning.lives import T, born, family_of

pytestmark = pytest.mark.usefixtures("float64")
# Values do not move, for they are constant to gradients.
RULE = Frodo(Outer(0.8, 1.0, 0.0, 0.03, critic="outer"), units=3, value_weight=0.0, consistency_weight=0.3)


@pytest.fixture(scope="module")
def lifetime(float64):
    return born(family_of(RULE))


@pytest.fixture(scope="module")
def seen(lifetime):
    """(heads, next heads, batch)"""
    program = family_of(RULE).program
    batch = jax.jit(program.act)(lifetime)[1]
    apply = program.agent.apply
    params = lifetime.learner.params
    return apply(params, batch.rollout.observation), apply(params, batch.rollout.next_observation), batch


@pytest.mark.slow
def test_the_meta_gradient_is_the_finite_difference(lifetime):
    """Of one update: what the LSTM reads is constant to gradients, and a second one reads what the first changed."""
    program, eta = family_of(RULE).program, RULE.init(jax.random.key(0))

    @jax.jit
    def loss(eta):
        return meta_loss(Last(), program, RULE, 1, eta, lifetime, jnp.int32(0))[0]

    # Where G_{t+1} is constant no difference is a gradient: without consistency, then.
    loose = replace(RULE, consistency_weight=0.0)

    @jax.jit
    def loose_loss(eta):
        return meta_loss(Last(), program, loose, 1, eta, lifetime, jnp.int32(0))[0]

    gradient = jax.jit(jax.grad(loose_loss))(eta)
    for name, part in (("output", "kernel"), ("lstm", "recurrent"), ("lstm", "input")):
        direction = jax.random.normal(jax.random.key(1), eta[name][part].shape)
        above, below = (
            loose_loss({**eta, name: {**eta[name], part: eta[name][part] + step * direction}}) for step in (1e-5, -1e-5)
        )
        wanted = (above - below) / 2e-5
        np.testing.assert_allclose(jnp.sum(gradient[name][part] * direction), wanted, rtol=1e-6)
        assert wanted != 0
    assert loss(eta) > loose_loss(eta)


@pytest.mark.slow
def test_returns_end_with_episodes_and_read_what_follows(seen):
    heads, next_heads, batch = seen
    eta = RULE.init(jax.random.key(0))
    over = jnp.zeros_like(batch.rollout.terminated).at[2].set(True)
    batch = batch._replace(rollout=batch.rollout._replace(terminated=over, truncated=jnp.zeros_like(over)))

    def returns(rewards):
        there = batch._replace(rollout=batch.rollout._replace(reward=rewards))
        return RULE.returns(eta, heads, next_heads, there)[:, 0]

    reads = jax.jacobian(returns)(batch.rollout.reward)[:, :, 0] != 0  # [T, T]
    later, earlier = np.triu(np.ones((T, T), bool)), np.arange(T) <= 2
    np.testing.assert_array_equal(reads, later & (earlier[:, None] == earlier[None]))
    of_values = jax.grad(lambda h, n: jnp.sum(RULE.returns(eta, h, n, batch)), argnums=(0, 1))(heads, next_heads)
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(of_values))


def test_a_residual_begins_with_one_step_of_td(seen):
    heads, next_heads, batch = seen
    rule = replace(RULE, residual=True)
    returns = rule.returns(rule.init(jax.random.key(0)), heads, next_heads, batch)
    wanted = lambda_returns(batch.rollout, next_heads["value"][..., 0], batch.discount, 0.0)
    np.testing.assert_allclose(returns, wanted, rtol=1e-12)


def test_true_returns_are_consistent(seen):
    """However much is still to come after the rollout; where an episode was cut nothing is known."""
    _, next_heads, batch = seen
    returns = lambda_returns(batch.rollout, next_heads["value"][..., 0], batch.discount, 1.0)
    np.testing.assert_allclose(inconsistency(returns, batch), 0.0, atol=1e-20)
    known = ~batch.rollout.truncated.at[-1].set(True) | batch.rollout.terminated
    shift = jnp.zeros_like(returns).at[0].set(2.0)
    np.testing.assert_allclose(inconsistency(returns + shift, batch), 4.0 * known[0].sum() / known.sum())


def test_what_cannot_be_is_told():
    with pytest.raises(UserError, match="units: 0 given; must be at least 1"):
        Frodo(units=0)
    with pytest.raises(UserError, match="consistency_weight: -1.0 given; must be at least 0"):
        Frodo(consistency_weight=-1.0)
    program = family_of(RULE).program
    with pytest.raises(UserError, match="online.estimator: a forward trace given; must be another one for Frodo"):
        Online(program, RULE, estimator=ForwardTrace())
    Online(program, replace(RULE, consistency_weight=0.0), estimator=ForwardTrace())
