"""Agents with a network."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.network import HeadedNetwork, NetworkAgent
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.environments.registry import make_environment
from metaobj.common.evaluation.baselines import a2c
from metaobj.common.lifetimes.distributions import CONTROL_DENSE, Entry


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
