"""Agents that are judged by the outer value function, an option of every rule, in float64."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.agent import log_probability
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.population import make_families
from metaobj.common.types import Rollout
from metaobj.selftuning.methods import ONLINE
from tests.selftuning.lives import B, T, born

pytestmark = pytest.mark.usefixtures("float64")
NAMES = [name for name in ONLINE if "-" not in name]
GAMMA = 0.99
A = 2


def noise(number, *shape):
    return jax.random.normal(jax.random.key(number), shape)


def seen_by(rule):
    """(heads, next heads, batch on which the agent acted itself)"""
    heads, next_heads = (
        {name: noise(first + at, T, B, size) for at, (name, size) in enumerate(rule.heads(A).items())}
        for first in (10, 20)
    )
    action = jnp.arange(T * B).reshape(T, B) % A
    ended = [jnp.zeros((T, B), bool).at[at].set(True) for at in ((1, 0), (2, 1))]
    rollout = Rollout(noise(1, T, B), action, noise(2, T, B), *ended, noise(3, T, B))
    values, beyond = noise(4, T, B), noise(5, T, B)
    next_values = jnp.where(rollout.truncated.at[-1].set(True), beyond, jnp.roll(values, -1, 0))
    next_values = jnp.where(rollout.terminated, 0.0, next_values)
    behaviour = jax.nn.log_softmax(heads["policy"])
    known = {"values": values, "next_values": next_values, "discount": jnp.asarray(GAMMA)}
    return heads, next_heads, Batch.of(rollout, **known, behaviour=behaviour)


def judged(rule, heads, next_heads, batch):
    """What is descended where agents are judged by their loss, or after it where they are judged by a target."""
    loss = rule.meta_loss(heads, next_heads, batch, {"inconsistency": 0.0})[0]
    targets = rule.guide.targets((), heads, next_heads, batch)[0]
    return loss, rule.guide.loss(heads, targets, batch)


def test_it_is_an_option_of_every_rule_and_changes_nothing_else():
    assert NAMES == ["MG", "Mixed", "STAC", "STACX", "BMG", "FRODO"]
    for name in NAMES:
        without, with_it = ONLINE[name], ONLINE[f"{name}-outer"]
        assert without.rule.outer.critic == "agent" and with_it.rule.outer.critic == "outer"
        assert replace(with_it, name=name, rule=without.rule) == without
        assert replace(with_it.rule, outer=without.rule.outer) == without.rule


@pytest.mark.parametrize("name", NAMES)
def test_outer_values_are_read_with_it_alone(name):
    for variant, reads in ((name, False), (f"{name}-outer", True)):
        rule = ONLINE[variant].rule
        heads, next_heads, batch = seen_by(rule)
        other = batch._replace(values=noise(6, T, B), next_values=noise(7, T, B))
        for ours, theirs in zip(*(judged(rule, heads, next_heads, one) for one in (batch, other)), strict=True):
            assert (ours != theirs) == reads


@pytest.mark.parametrize("name", NAMES)
def test_with_it_outer_advantages_are_the_outer_values_at_the_outer_discount(name):
    """On-policy G - V, where G bootstraps from V; the agent's own values are judged as before."""
    own, rule = ONLINE[name].rule, ONLINE[f"{name}-outer"].rule
    heads, next_heads, batch = seen_by(rule)
    outer = lambda_returns(batch.rollout, batch.next_values, GAMMA, rule.outer.lambda_) - batch.values
    targets = rule.guide.targets((), heads, next_heads, batch)[0]
    np.testing.assert_allclose(targets.advantages, outer, rtol=1e-10)
    theirs = own.guide.targets((), heads, next_heads, batch)[0]
    np.testing.assert_array_equal(targets.values, theirs.values)
    log_pi_a = log_probability(heads["policy"], batch.rollout.action)
    change = -rule.outer.policy_weight * jnp.mean(log_pi_a * (outer - theirs.advantages))
    for ours, without in zip(*(judged(one, heads, next_heads, batch) for one in (rule, own)), strict=True):
        np.testing.assert_allclose(ours - without, change, rtol=1e-9)


def test_the_outer_values_learn_at_the_outer_discount():
    """Whatever the discount is that the agent learns at."""
    method = ONLINE["MG-outer"]
    for name in NAMES:
        assert ONLINE[f"{name}-outer"].discount == GAMMA
    family = make_families([Entry("tests.worlds:RING", num_environments=B)], method.programs(T))[0]
    program = family.program.program
    lifetime = born(replace(family, program=program))
    lifetime = replace(lifetime, value=noise(1, 3))
    after, batch, _ = jax.jit(program.act)(lifetime)
    rollout = batch.rollout
    next_values = jnp.where(rollout.terminated, 0.0, lifetime.value[rollout.next_observation])
    np.testing.assert_allclose(batch.next_values, next_values, rtol=1e-12)
    targets = np.asarray(lambda_returns(rollout, next_values, GAMMA, method.value.lambda_))
    for state in range(3):
        there = targets[np.asarray(rollout.observation) == state]
        wanted = lifetime.value[state] + 0.5 * (there.mean() - lifetime.value[state]) if there.size else None
        assert wanted is None or abs(after.value[state] - wanted) < 1e-9
    assert (after.value != lifetime.value).any()
