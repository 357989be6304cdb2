"""The replay of one agent: a ring of time steps of its parallel environments, on the device.

Rows are time steps, columns environments, so that a window is consecutive rows of one column. Rollouts are written
whole; the ring's length is a multiple of theirs, so none is ever split. One observation and its true successor are
kept per step: nothing has to be guessed at the end of an episode.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from common.types import PRNGKey, Rollout


@struct.dataclass
class Replay:
    """The latest C steps of B environments."""

    steps: Rollout  # [C, B, ...]
    written: jax.Array  # [] int32, rows written in all


class Windows(NamedTuple):
    """W windows of T steps, as they were taken."""

    steps: Rollout  # [T, W, ...]
    valid: jax.Array  # [T, W] bool, up to and with the first end of an episode


def empty(rollout: Rollout, rows: int) -> Replay:
    """A replay of `rows` time steps for rollouts like this one [T, B, ...]; `rows` is a multiple of T."""
    assert rows % rollout.reward.shape[0] == 0, (rows, rollout.reward.shape)
    storage = jax.tree.map(lambda leaf: jnp.zeros((rows, *leaf.shape[1:]), leaf.dtype), rollout)
    return Replay(steps=storage, written=jnp.int32(0))


def add(replay: Replay, rollout: Rollout) -> Replay:
    """Write a rollout [T, B, ...] over the oldest rows."""
    rows, length = replay.steps.reward.shape[0], rollout.reward.shape[0]
    at = replay.written % rows
    steps = jax.tree.map(
        lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new.astype(old.dtype), at, 0), replay.steps, rollout
    )
    return Replay(steps=steps, written=replay.written + length)


def sample(key: PRNGKey, replay: Replay, windows: int, length: int) -> Windows:
    """Windows that start anywhere, all starts equally likely; at least `length` rows must have been written."""
    rows, columns = replay.steps.reward.shape
    row_key, column_key = jax.random.split(key)
    filled = jnp.minimum(replay.written, rows)
    oldest = jnp.where(replay.written > rows, replay.written % rows, 0)
    first = jax.random.randint(row_key, (windows,), 0, filled - length + 1)
    column = jax.random.randint(column_key, (windows,), 0, columns)
    row = (oldest + first + jnp.arange(length)[:, None]) % rows  # [T, W]
    steps = jax.tree.map(lambda leaf: leaf[row, column], replay.steps)
    return Windows(steps, valid_steps(steps))


def valid_steps(steps: Rollout) -> jax.Array:
    """[T, W] bool: what comes after the first end of an episode is not of the window."""
    ended = (steps.terminated | steps.truncated).astype(jnp.int32)
    return jnp.cumsum(ended, axis=0) - ended == 0
