"""Scalars as the rule reads and predicts them: squashed, and as categories over a fixed support."""

import jax
import jax.numpy as jnp

LIMIT = 300
BINS = 2 * LIMIT + 1
"""Categories of an action value: whole numbers from -300 to 300 in the squashed space."""
_EPSILON = 1e-3


def squash(x: jax.Array) -> jax.Array:
    """Sign(x) (sqrt(|x| + 1) - 1) + x / 1000 (Pohlen et al. 2018)."""
    return jnp.sign(x) * (jnp.sqrt(jnp.abs(x) + 1.0) - 1.0) + _EPSILON * x


def unsquash(h: jax.Array) -> jax.Array:
    """The inverse of `squash`."""
    root = jnp.sqrt(1.0 + 4.0 * _EPSILON * (jnp.abs(h) + 1.0 + _EPSILON))
    return jnp.sign(h) * (((root - 1.0) / (2.0 * _EPSILON)) ** 2 - 1.0)


def two_hot(h: jax.Array) -> jax.Array:
    """Squashed scalars [...] as probabilities of the two categories beside them [..., BINS]; beyond the support, of its
    end.
    """
    h = jnp.clip(h, -LIMIT, LIMIT)
    low, high = jnp.floor(h), jnp.ceil(h)
    of_low = (high - h) / (high - low + 1e-5)  # as in the published rule; where h is whole it is 0 of 1e-5
    of_low = jnp.where(high == low, 1.0, of_low)
    at = (low + LIMIT).astype(jnp.int32)
    above = jnp.minimum(at + 1, BINS - 1)
    return jax.nn.one_hot(at, BINS, dtype=h.dtype) * of_low[..., None] + jax.nn.one_hot(above, BINS, dtype=h.dtype) * (
        1.0 - of_low[..., None]
    )


def mean_of(logits: jax.Array, values: jax.Array) -> jax.Array:
    """The mean of values [n, m] of n categories with these logits [..., n], [..., m]. Probabilities are not divided by
    their sum before, but the mean after: there is far less of it.
    """
    weights = jnp.exp(logits - jax.lax.stop_gradient(jnp.max(logits, -1, keepdims=True)))
    return weights @ values / jnp.sum(weights, -1, keepdims=True)


def expected(logits: jax.Array) -> jax.Array:
    """The scalar [...] that categories [..., BINS] stand for: their mean, then unsquashed."""
    return unsquash(mean_of(logits, jnp.arange(-LIMIT, LIMIT + 1, dtype=logits.dtype)[:, None])[..., 0])
