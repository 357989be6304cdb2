"""The dense layers of learned objectives: plain dictionaries, as an objective file holds them."""

import jax
import jax.numpy as jnp

from metaobj.common.types import PRNGKey, PyTree


def init_dense(key: PRNGKey, inputs: int, outputs: int) -> PyTree:
    """Weights of a layer; no bias at first."""
    return {"kernel": jax.nn.initializers.lecun_normal()(key, (inputs, outputs)), "bias": jnp.zeros(outputs)}


def apply_dense(weights: PyTree, x: jax.Array) -> jax.Array:
    """[..., inputs] to [..., outputs]."""
    return x @ weights["kernel"] + weights["bias"]
