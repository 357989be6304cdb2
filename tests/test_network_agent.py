"""Agents with a network."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.agents.network import HeadedNetwork


def test_layers_over_patches_are_a_convolution() -> None:
    network = HeadedNetwork(observation_rank=3, channels=(5,), hidden=(), heads=(("policy", 2),))
    images = jax.random.normal(jax.random.key(0), (7, 6, 4, 3))
    params = network.init(jax.random.key(1), images)["params"]
    kernel = params["Dense_0"]["kernel"].reshape(3, 3, 3, 5)
    convolved = nn.Conv(5, (3, 3)).apply({"params": {"kernel": kernel, "bias": params["Dense_0"]["bias"]}}, images)
    head = params["policy"]
    expected = nn.relu(jnp.asarray(convolved)).reshape(7, -1) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(network.apply({"params": params}, images)["policy"], expected, atol=1e-5)
