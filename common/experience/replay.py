"""The replay of one agent: a ring of time steps of its parallel environments, on the device.

Rows are time steps, columns environments, so that a window is consecutive rows of one column. Rollouts are written
whole; the ring's length is a multiple of theirs, so none is ever split. One observation and its true successor are
kept per step: nothing has to be guessed at the end of an episode.

Rows and columns are one axis in memory: with an axis of size 1 XLA may see two layouts where there is one, and copy the
whole ring at each write.
"""

from dataclasses import replace

import chex
import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.experience.windows import Windows, valid_steps
from metaobj.common.types import PRNGKey, Rollout


@struct.dataclass
class Replay:
    """The latest C steps of B environments."""

    steps: Rollout  # [C B, ...]
    next_row: jax.Array  # [] int32, where the next rollout goes; no count of all rows, which would overflow
    filled: jax.Array  # [] int32, rows that hold something
    columns: int = struct.field(pytree_node=False)  # B


def empty(rollout: Rollout, rows: int) -> Replay:
    """A replay of `rows` time steps for rollouts like this one [T, B, ...]; `rows` is a multiple of T.

    Raises:
        AssertionError: it is not, or the rollout's leading axes differ.
    """
    chex.assert_tree_shape_prefix(rollout, rollout.reward.shape)
    length, columns = rollout.reward.shape
    chex.assert_is_divisible(rows, length)
    storage = jax.tree.map(lambda leaf: jnp.zeros((rows * columns, *leaf.shape[2:]), leaf.dtype), rollout)
    return Replay(steps=storage, next_row=jnp.int32(0), filled=jnp.int32(0), columns=columns)


def add(replay: Replay, rollout: Rollout) -> Replay:
    """Write a rollout [T, B, ...] over the oldest rows."""
    length, columns = rollout.reward.shape
    chex.assert_tree_shape_prefix(rollout, (length, columns))
    chex.assert_equal(columns, replay.columns)
    rows = replay.steps.reward.shape[0] // columns

    def write(old: jax.Array, new: jax.Array) -> jax.Array:
        flat = new.astype(old.dtype).reshape(length * columns, *new.shape[2:])
        return jax.lax.dynamic_update_slice_in_dim(old, flat, replay.next_row * columns, 0)

    return replace(
        replay,
        steps=jax.tree.map(write, replay.steps, rollout),
        next_row=(replay.next_row + length) % rows,
        filled=jnp.minimum(replay.filled + length, rows),
    )


def sample_steps(key: PRNGKey, replay: Replay, number: int) -> Windows:
    """Single steps, all equally likely: windows [1, number]. At least one row must have been written."""
    at = jax.random.randint(key, (1, number), 0, replay.filled * replay.columns)  # the first rows are the filled ones
    steps = jax.tree.map(lambda leaf: leaf[at], replay.steps)
    return Windows(steps, jnp.ones(at.shape, bool))


def sample_windows(key: PRNGKey, replay: Replay, windows: int, length: int) -> Windows:
    """Windows that start anywhere, all starts equally likely; at least `length` rows must have been written.

    The first steps of an episode are seldom among the valid ones: only the windows that start there have them. So
    windows are for what reads steps together; single steps are drawn evenly by `sample_steps`.
    """
    rows = replay.steps.reward.shape[0] // replay.columns
    row_key, column_key = jax.random.split(key)
    oldest = jnp.where(replay.filled == rows, replay.next_row, 0)
    first = jax.random.randint(row_key, (windows,), 0, replay.filled - length + 1)
    column = jax.random.randint(column_key, (windows,), 0, replay.columns)
    row = (oldest + first + jnp.arange(length)[:, None]) % rows  # [T, W]
    steps = jax.tree.map(lambda leaf: leaf[row * replay.columns + column], replay.steps)
    return Windows(steps, valid_steps(steps))
