"""Windows of steps as they were taken, of which those after the first end of an episode do not count."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from metaobj.common.types import Rollout


class Windows(NamedTuple):
    """W windows of T steps, as they were taken."""

    steps: Rollout  # [T, W, ...]
    valid: jax.Array  # [T, W] bool, up to and with the first end of an episode


def valid_steps(steps: Rollout) -> jax.Array:
    """[T, W] bool: what comes after the first end of an episode is not of the window."""
    ended = (steps.terminated | steps.truncated).astype(jnp.int32)
    return jnp.cumsum(ended, axis=0) - ended == 0


def mean_valid(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean of values [T, W] over the valid steps.

    Raises:
        AssertionError: shapes differ.
    """
    chex.assert_rank([values, valid], 2)
    chex.assert_equal_shape([values, valid])
    return jnp.sum(jnp.where(valid, values, 0.0)) / jnp.sum(valid)
