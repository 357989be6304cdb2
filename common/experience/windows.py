"""Windows of steps as they were taken, of which those after the first end of an episode do not count."""

from typing import NamedTuple

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
    """Mean of values [T, W] over the valid steps."""
    return jnp.sum(jnp.where(valid, values, 0.0)) / jnp.sum(valid)
