"""Statistics over the steps of windows that count."""

import jax
import jax.numpy as jnp


def mean_valid(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean of values [T, W] over the valid steps."""
    return jnp.sum(jnp.where(valid, values, 0.0)) / jnp.sum(valid)
