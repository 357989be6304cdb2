"""Agents with a network."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.network import HeadedNetwork, NetworkAgent
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.environments.registry import make_environment
from metaobj.common.evaluation.baselines import a2c
from metaobj.common.experience.batches import Batch
from metaobj.common.lifetimes.distributions import CONTROL_DENSE, Entry
from metaobj.common.types import Rollout


@pytest.mark.slow
def test_layers_over_patches_are_a_convolution() -> None:
    network = HeadedNetwork(observation_rank=3, channels=(5,), hidden=(), heads=(("policy", 2),))
    images = jax.random.normal(jax.random.key(0), (7, 6, 4, 3))
    params = network.init(jax.random.key(1), images)["params"]
    kernel = params["Dense_0"]["kernel"].reshape(3, 3, 3, 5)
    convolved = nn.Conv(5, (3, 3)).apply({"params": {"kernel": kernel, "bias": params["Dense_0"]["bias"]}}, images)
    head = params["policy"]
    expected = nn.relu(jnp.asarray(convolved)).reshape(7, -1) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(network.apply({"params": params}, images)["policy"], expected, atol=1e-5)


def test_rmsprop_by_hand() -> None:
    optimiser = NetworkAgent((2,), (("policy", 2),), AgentConfig("dense", optimiser="rmsprop")).optimiser
    state = optimiser.init(jnp.zeros(2))
    mean_square, gradients = np.zeros(2), np.array([[3.0, -0.5], [1.0, 0.25], [-2.0, 0.0]])
    for step, gradient in enumerate(gradients, 1):
        updates, state = optimiser.update(jnp.asarray(gradient), state)
        mean_square = 0.99 * mean_square + 0.01 * gradient**2
        np.testing.assert_allclose(updates, gradient / np.sqrt(mean_square / (1 - 0.99**step)), rtol=1e-5)
    updates, _ = optimiser.update(jnp.zeros(2), optimiser.init(jnp.zeros(2)))
    np.testing.assert_array_equal(updates, 0.0)


def test_the_policies_of_a2c_that_are_networks_learn_by_rmsprop() -> None:
    method, (environment, _) = a2c(20, 0.9, ValueConfig()), make_environment("CartPole-v1")
    program = method.programs(Entry("CartPole-v1", agent=CONTROL_DENSE), environment)
    assert program.agent.config == AgentConfig("dense", (64, 64), optimiser="rmsprop")
    assert program.value_function.agent.config == CONTROL_DENSE and program.discount == 0.99


@pytest.mark.slow
def test_a_head_may_have_a_torso_and_a_rate_of_its_own() -> None:
    """The same update as that of two networks that have nothing in common."""
    config = AgentConfig("dense", (4,), apart=("value",), apart_rate=3.0)
    both = NetworkAgent((2,), (("policy", 2), ("value", 1)), config)
    states = jax.random.normal(jax.random.key(0), (5, 3, 2))
    learner = both.init(jax.random.key(1))
    params = learner.params["params"]
    assert sorted(params) == ["HeadedNetwork_0", "apart_value"]
    apart = {}
    for name, size, part in (("policy", 2, "HeadedNetwork_0"), ("value", 1, "apart_value")):
        alone = NetworkAgent((2,), ((name, size),), AgentConfig("dense", (4,)))
        apart[name] = alone.apply({"params": params[part]}, states)[name]
        np.testing.assert_allclose(both.apply(learner.params, states)[name], apart[name], rtol=1e-6)

    class Squares:
        def targets(self, weights, heads, next_heads, batch):  # type: ignore[no-untyped-def]
            return (), {}

        def loss(self, heads, targets, batch):  # type: ignore[no-untyped-def]
            return sum(jnp.mean(head**2) for head in heads.values())

    nothing = jnp.zeros((5, 3))
    rollout = Rollout(states, nothing, nothing, nothing > 0, nothing > 0, states)
    batch = Batch.of(rollout, hyperparameters={"learning_rate": jnp.float32(0.1)})
    after, _ = both.learn(learner, Squares(), (), batch)
    slope = jax.grad(lambda p: sum(jnp.mean(head**2) for head in both.apply(p, states).values()))(learner.params)
    for part, rate in (("HeadedNetwork_0", 0.1), ("apart_value", 0.3)):
        wanted = jax.tree.map(lambda p, g, r=rate: p - r * g, params[part], slope["params"][part])
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), after.params["params"][part], wanted)
