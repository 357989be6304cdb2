"""What LPG's meta-loss may have besides: an anchor at the hand-written rule, and agents ahead to be compared with."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from metaobj.common.keys import stream
from metaobj.common.meta.objectives import Bootstrapped, meta_loss
from metaobj.lpg.actor_critic import ActorCritic
from metaobj.lpg.meta_loss import NEAR
from metaobj.lpg.objective import LPG
from metaobj.lpg.targets import errors
from tests.lpg.cases import OBJECTIVE, WEIGHTS, B, Case, K, M, T, check_direction, fourth_order, perturbed, relative

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture(scope="module")
def tables(float64):
    return Case("tabular")


@pytest.mark.slow
def test_an_anchor_weighs_the_distance_from_the_hand_written_rule(tables):
    """Its meta-gradient is the finite difference, and its meta-loss is the errors above the one without it."""
    anchored = Case("tabular", LPG(OBJECTIVE.config, replace(WEIGHTS, anchor=0.5)))
    direction = perturbed(jax.random.key(0), jax.tree.map(jnp.zeros_like, anchored.eta), 1.0)
    assert check_direction(anchored, direction) != 0
    teacher, said = ActorCritic(M), []
    lifetime = anchored.lifetime
    for _ in range(K):
        batch = anchored.program.act(lifetime)[1]
        apply = partial(anchored.program.agent.apply, lifetime.learner.params)
        heads, next_heads = apply(batch.rollout.observation), apply(batch.rollout.next_observation)
        both = (rule.targets(anchored.eta, heads, next_heads, batch)[0] for rule in (OBJECTIVE, teacher))
        said.append(sum(errors(*both).values()))
        lifetime = anchored.program.update(OBJECTIVE, anchored.eta, lifetime)[0]
    np.testing.assert_allclose(anchored.value, tables.value + 0.5 * sum(said) / K, rtol=1e-10)


@dataclass(frozen=True)
class Led(Bootstrapped):
    """Which looks at one agent, whatever updates come to."""

    at: Any = None

    def target(self, program, rule, eta, trial, batch):
        return trial, self.at, batch, {}


@pytest.mark.slow
def test_looking_ahead_is_the_distance_from_what_a2c_comes_to(tables):
    """The target is A2C's, by hand; the meta-gradient is the finite difference of the distance from it."""
    program, L = tables.program, 2
    ahead = Bootstrapped(L)
    assert program.steps_per_meta_update(ahead.gathers(K)) == T * B * (K + L)
    lifetime = tables.lifetime
    for _ in range(K):
        lifetime = program.update(OBJECTIVE, tables.eta, lifetime)[0]
    after, batch, _ = program.act(lifetime)
    theta, then, seen = after.learner.params, after, batch
    for _ in range(L):

        def loss(theta, seen=seen):
            log_pi = jax.nn.log_softmax(theta["policy"][seen.rollout.observation])
            entropy = -jnp.sum(jnp.exp(log_pi) * log_pi, -1)
            log_pi_a = jnp.take_along_axis(log_pi, seen.rollout.action[..., None], -1)[..., 0]
            return -jnp.mean(log_pi_a * seen.advantages + 0.003 * entropy)

        theta = jax.tree.map(lambda p, g: p - 3.0 * g, theta, jax.grad(loss)(theta))
        key = stream(then.key, "ahead") if then is after else then.key
        then, seen, _ = program.act(replace(then, key=key, learner=replace(then.learner, params=theta)))
    target = ahead.target(program, OBJECTIVE, tables.eta, after, batch)[1].learner.params
    assert relative(target, theta) < 1e-6 < relative(target, after.learner.params)  # 0.003 is of 32 bits there

    def kl(ours):
        observation = batch.rollout.observation
        p, q = (jax.nn.softmax(params["policy"][observation]) for params in (target, ours))
        return jnp.mean(jnp.sum(p * jnp.log(p / q), -1))

    led = Led(L, at=replace(after, learner=replace(after.learner, params=target)))

    def meta(eta, ahead):
        value, (_, metrics) = meta_loss(ahead, program, OBJECTIVE, K, eta, tables.lifetime, jnp.int32(0))
        return value, metrics["look_ahead_kl"]

    (value, distance), gradient = jax.jit(partial(jax.value_and_grad(meta, has_aux=True), ahead=ahead))(tables.eta)
    np.testing.assert_allclose(distance, kl(after.learner.params), rtol=1e-6)
    direction = perturbed(jax.random.key(1), jax.tree.map(jnp.zeros_like, tables.eta), 1.0)
    direction = jax.tree.map(lambda d: d / jnp.linalg.norm(ravel_pytree(direction)[0]), direction)
    along = float(ravel_pytree(gradient)[0] @ ravel_pytree(direction)[0])
    meta_of = jax.jit(partial(meta, ahead=led))

    def at(step):
        eta = jax.tree.map(lambda w, d: w + step * d, tables.eta, direction)
        value, now = meta_of(eta)
        return float(value - now / (now + NEAR) + now / (distance + NEAR))

    np.testing.assert_allclose(at(0.0), value, rtol=1e-12)
    np.testing.assert_allclose(along, fourth_order(at), rtol=1e-6)
    assert along != 0
