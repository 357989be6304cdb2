"""The dense layers of learned objectives, plain dictionaries as an objective file holds them, and what they read."""

import jax
import jax.numpy as jnp

from metaobj.common.types import PRNGKey, PyTree


def init_dense(key: PRNGKey, inputs: int, outputs: int) -> PyTree:
    """Weights of a layer; no bias at first."""
    return {"kernel": jax.nn.initializers.lecun_normal()(key, (inputs, outputs)), "bias": jnp.zeros(outputs)}


def apply_dense(weights: PyTree, x: jax.Array) -> jax.Array:
    """[..., inputs] to [..., outputs]."""
    return x @ weights["kernel"] + weights["bias"]


def sign_log(x: jax.Array) -> jax.Array:
    """Sign(x) log(1 + |x|): near 0 as it is, and large numbers still tell their order."""
    return jnp.sign(x) * jnp.log1p(jnp.abs(x))
