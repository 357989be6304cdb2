"""Meta-gradients against finite differences and against a plain version that shares no code with the real one."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from metaobj.common.gradients import clip_by_norm, mixed_mode_gradient
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.gradient import largest_chunk, meta_gradient
from metaobj.lpg.objective import LPG
from tests.lpg.cases import GAMMA, OBJECTIVE, WEIGHTS, Case, K, L, check_direction, perturbed, relative
from tests.test_lstm import plain_lstm

pytestmark = pytest.mark.usefixtures("float64")
LEANING = LPG(replace(OBJECTIVE.config, value_inputs=True), replace(WEIGHTS, scale_advantages=True))


@pytest.fixture(scope="module")
def tables(float64):
    return Case("tabular")


@pytest.fixture(scope="module")
def networks(float64):
    return Case("network")


@pytest.fixture(scope="module")
def leaning(float64):
    """With value inputs, and everything scaled that can be."""
    return Case("network", LEANING)


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("networks", "leaning")]


@pytest.fixture(scope="module", params=["tables", *SLOW])
def case(request):
    return request.getfixturevalue(request.param)


def test_rollouts_have_everything_in_them(case):
    """Or else the comparisons below show little."""
    rollout = case.rollouts.rollout
    assert jnp.any(rollout.terminated) and jnp.any(rollout.truncated)
    assert set(np.unique(case.actions)) == {0, 1}


@pytest.mark.parametrize("seed", range(3))
def test_meta_gradient_is_the_finite_difference_in_random_directions(case, seed):
    direction = perturbed(jax.random.key(seed), jax.tree.map(jnp.zeros_like, case.eta), 1.0)
    assert check_direction(case, direction) != 0


def test_meta_gradient_is_the_finite_difference_in_each_block(case):
    zeros = jax.tree.map(jnp.zeros_like, case.eta)
    leaves, structure = jax.tree.flatten(zeros)
    for i, leaf in enumerate(leaves):
        block = [*leaves]
        block[i] = jax.random.normal(jax.random.key(i), leaf.shape)
        assert check_direction(case, jax.tree.unflatten(structure, block)) != 0


# --- A plain version: Python loops, dense tables, ordinary reverse-mode autodiff. Rollouts are replayed. ---


def dense_heads(agent):
    return lambda theta, observation: {
        name: jax.nn.one_hot(observation, len(table), dtype=table.dtype) @ table for name, table in theta.items()
    }


def network_heads(agent):
    def heads(theta, observation):
        p = theta["params"]
        x = jax.nn.relu(observation @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"])
        return {name: x @ p[name]["kernel"] + p[name]["bias"] for name in ("policy", "prediction")}

    return heads


def sgd(theta, memory, gradient, rate, count):
    return jax.tree.map(lambda p, g: p - rate * g, theta, gradient), memory


def adam(theta, memory, gradient, rate, count):
    mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, memory[0], gradient)
    square = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, memory[1], gradient)

    def stepped(p, m, v):
        return p - rate * (m / (1 - 0.9**count)) / (jnp.sqrt(v / (1 - 0.999**count) + 1e-3) + 1e-8)

    return jax.tree.map(stepped, theta, mean, square), (mean, square)


def of_actions(values, action):
    return jnp.sum(values * jax.nn.one_hot(action, values.shape[-1], dtype=values.dtype), -1)


def sign_log(x):
    return jnp.where(x > 0, jnp.log(1 + jnp.maximum(x, 0)), -jnp.log(1 + jnp.maximum(-x, 0)))


def plain_targets(case, eta, heads, next_heads, batch):
    """What the network says, pi_hat and y_hat."""
    rollout = batch.rollout

    def phi(logits):
        hidden = jnp.maximum(jax.nn.softmax(logits) @ eta["phi"]["hidden"]["kernel"] + eta["phi"]["hidden"]["bias"], 0)
        return (hidden @ eta["phi"]["output"]["kernel"] + eta["phi"]["output"]["bias"])[..., 0]

    pi = of_actions(jax.nn.softmax(heads["policy"]), rollout.action)
    next_phi = phi(next_heads["prediction"]) * (1 - rollout.terminated)
    discount = GAMMA * jnp.ones_like(pi)
    x = [rollout.reward, 1.0 * rollout.terminated, discount, pi, phi(heads["prediction"]), next_phi]
    if leaning := case.objective.config.value_inputs:
        size, policy = batch.advantage_size, jax.nn.softmax(heads["policy"])
        x[0] = sign_log(rollout.reward / size)
        x += [sign_log(value / size) for value in (batch.advantages, batch.values, batch.next_values)]
        x.append(-jnp.sum(policy * jnp.log(policy), -1) / np.log(2))
    hidden = plain_lstm(eta["lstm"], jnp.stack(x, -1), 1.0 - (rollout.terminated | rollout.truncated))
    said = (hidden @ eta["policy"]["kernel"] + eta["policy"]["bias"])[..., 0]
    pi_hat = batch.advantages + size * said if leaning else said
    return said, pi_hat, jax.nn.softmax(hidden @ eta["prediction"]["kernel"] + eta["prediction"]["bias"])


def plain_meta_loss(case, eta, flow):
    """Of the first lifetime; `flow` 0 cuts the way from an agent to the targets of its next update, 1 leaves it."""
    tabular = case.lifetime.learner.optimiser == ()
    heads_of, step = (dense_heads, sgd) if tabular else (network_heads, adam)
    heads_of = heads_of(case.program.agent)
    theta = case.lifetime.learner.params
    zeros = jax.tree.map(jnp.zeros_like, theta)
    memory = () if tabular else (zeros, zeros)
    rate = 3.0 if tabular else jnp.float32(0.1).astype(float)
    kl_weight = jnp.float32(0.7).astype(float)
    squares = []
    for k in range(K):
        batch = jax.tree.map(lambda leaf, k=k: leaf[k], case.rollouts)
        rollout = batch.rollout
        read = jax.tree.map(lambda p: flow * p + (1 - flow) * jax.lax.stop_gradient(p), theta)
        heads, next_heads = heads_of(read, rollout.observation), heads_of(read, rollout.next_observation)
        said, pi_hat, y_hat = plain_targets(case, eta, heads, next_heads, batch)
        squares.append(
            jnp.array([WEIGHTS.policy_target, WEIGHTS.prediction_target])
            @ jnp.array([jnp.mean(said**2), jnp.mean(jnp.sum(y_hat**2, -1))])
        )

        def loss(theta, rollout=rollout, pi_hat=pi_hat, y_hat=y_hat):
            heads = heads_of(theta, rollout.observation)
            y = jax.nn.softmax(heads["prediction"])
            gain = of_actions(jnp.log(jax.nn.softmax(heads["policy"])), rollout.action) * pi_hat
            return -jnp.mean(gain - kl_weight * jnp.sum(y * jnp.log(y / y_hat), -1))

        theta, memory = step(theta, memory, jax.grad(loss)(theta), rate, k + 1)
    batch = jax.tree.map(lambda leaf: leaf[K], case.rollouts)
    heads = heads_of(theta, batch.rollout.observation)
    pi, y = jax.nn.softmax(heads["policy"]), jax.nn.softmax(heads["prediction"])
    unit = batch.advantage_size if case.objective.config.value_inputs else 1.0
    gain = jnp.mean(jnp.log(of_actions(pi, batch.rollout.action)) * batch.advantages / unit)
    gain -= WEIGHTS.policy_entropy * jnp.mean(jnp.sum(pi * jnp.log(pi), -1))
    gain -= WEIGHTS.prediction_entropy * jnp.mean(jnp.sum(y * jnp.log(y), -1))
    return -gain + sum(squares) / K


@pytest.fixture(scope="module")
def plain(case):
    return jax.jit(jax.value_and_grad(partial(plain_meta_loss, case)))


def test_meta_gradient_is_the_plain_versions(case, plain):
    value, gradient = plain(case.eta, 1.0)
    assert jax.tree.structure(gradient) == jax.tree.structure(case.gradient)
    np.testing.assert_allclose(case.value, value, rtol=1e-12)
    assert relative(case.gradient, gradient) < 1e-10


def test_gradients_flow_through_what_earlier_updates_made_of_the_agent(case, plain):
    stopped = plain(case.eta, 0.0)
    np.testing.assert_allclose(case.value, stopped[0], rtol=1e-12)  # the same loss
    assert relative(stopped[1], case.gradient) > 1e-2
    # Finite differences tell which of the two is right, along the direction where they differ.
    difference = jax.tree.map(jnp.subtract, case.gradient, stopped[1])
    ours = check_direction(case, difference)
    along = ravel_pytree(difference)[0]
    assert abs(ours - float(ravel_pytree(stopped[1])[0] @ along / jnp.linalg.norm(along))) > 1e-2 * abs(ours)


@pytest.mark.slow
def test_remat_changes_nothing(case):
    value, gradient = case.differentiator(replace(case.program, remat=True))(case.eta, case.lifetime)
    np.testing.assert_allclose(value, case.value, rtol=1e-13)
    assert relative(gradient, case.gradient) < 1e-12


@pytest.mark.slow  # the same is shown of lifetimes whose gradients are known, without compiling agents
@pytest.mark.parametrize("chunks", [(4, 32), (1, 2, 32)])
def test_chunks_sum_to_the_whole(tables, chunks):
    """Whatever the chunks, it is the sum of the lifetimes' own clipped gradients. 4 is cut to the divisor 3."""
    case = tables
    assert [largest_chunk(L, limit) for limit in (1, 4, 32)] == [1, 3, 6]
    each = [case.differentiate(case.eta, jax.tree.map(lambda leaf, i=i: leaf[i], case.population)) for i in range(L)]
    norms = np.array([jnp.linalg.norm(ravel_pytree(gradient)[0]) for _, gradient in each])
    clip = float(np.median(norms))
    scales = np.minimum(1, clip / norms)
    expected = jax.tree.map(lambda *g: sum(s * x for s, x in zip(scales, g, strict=True)), *(g for _, g in each))
    populations = []
    for chunk in chunks:
        config = MetaTrainingConfig(inner_updates=K, chunk=chunk, lifetime_gradient_clip=clip)
        live_on = jax.jit(partial(meta_gradient, OBJECTIVE, case.family, config))
        total, population, _, metrics = live_on(case.eta, case.population, jnp.int32(0))
        assert relative(total, expected) < 1e-11
        np.testing.assert_allclose(metrics["gradient_norm"], norms, rtol=1e-11)
        np.testing.assert_allclose(metrics["meta_loss"], [value for value, _ in each], rtol=1e-11)
        np.testing.assert_array_equal(metrics["clipped"], norms > clip)
        assert jnp.all(metrics["finite"])
        np.testing.assert_array_equal(population.updates, case.population.updates + K)
        populations.append(ravel_pytree((population.learner.params, population.value, population.worlds))[0])
    for population in populations[:-1]:
        np.testing.assert_allclose(population, populations[-1], rtol=1e-11, atol=1e-13)


def test_mixed_mode_equals_reverse_over_reverse():
    keys = jax.random.split(jax.random.key(0), 4)
    theta = {"w": jax.random.normal(keys[0], (3, 2)), "b": jax.random.normal(keys[1], (2,))}
    context, data = jax.random.normal(keys[2], (4, 2)), jax.random.normal(keys[3], (4, 3))

    def loss(theta, context, data):
        out = jnp.tanh(data @ theta["w"] + theta["b"])
        return jnp.mean(jnp.sin(out * context) + out**2 * jnp.exp(context))

    def plain(theta, context):
        return jax.grad(loss)(theta, context, data)

    def mixed(theta, context):
        return mixed_mode_gradient(loss)(theta, context, data)

    @jax.jit
    def products(cotangent):
        results = (jax.vjp(gradient, theta, context) for gradient in (mixed, plain))
        return [(value, *pullback(cotangent)) for value, pullback in results]

    ours, theirs = products(perturbed(keys[0], theta, 1.0))
    for a, b in zip(ours, theirs, strict=True):
        assert relative(a, b) < 1e-13


def test_clip_by_norm():
    gradient = {"a": jnp.array([3.0]), "b": jnp.array([[4.0]])}
    clipped, norm = clip_by_norm(gradient, 1.0)
    assert norm == 5 and jnp.allclose(clipped["a"], 0.6) and jnp.allclose(clipped["b"], 0.8)
    clipped, _ = clip_by_norm(gradient, 10.0)
    assert clipped["a"] == 3
    clipped, norm = clip_by_norm(jax.tree.map(jnp.zeros_like, gradient), 1.0)
    assert norm == 0 and clipped["a"] == 0
