"""Grid worlds as data: one world (`GridParams`), a distribution of worlds (`GridSpec`), and how one is drawn.

Everything is padded to height H, width W and N objects, which are read off the arrays' shapes, so that all
distributions of one padding share one program.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.splits import ANY, HELD_OUT
from metaobj.common.types import PRNGKey

Layout: TypeAlias = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]
"""(height, width, walls [H, W], object positions [N, 2], object exists [N])."""


@struct.dataclass
class GridParams:
    """One world."""

    height: jax.Array  # [] int32 rows in use
    width: jax.Array  # [] int32 columns in use
    walls: jax.Array  # [H, W] bool, also true everywhere outside the rows and columns in use
    object_positions: jax.Array  # [N, 2] int32 (y, x); unused where objects move
    object_rewards: jax.Array  # [N]
    end_probability: jax.Array  # [N] that collecting the object ends the episode
    return_probability: jax.Array  # [N] per step, that an absent object comes back
    object_exists: jax.Array  # [N] bool, false for padding; those that exist come first
    step_reward: jax.Array  # [] paid on every step, whatever happens in it
    slip: jax.Array  # [] probability that a step's move is drawn uniformly, whatever was chosen
    max_steps: jax.Array  # [] int32
    free_cells: jax.Array  # [H * W] int32, y * W + x of the cells where an episode may place things, then zeros
    num_free: jax.Array  # [] int32 how many of `free_cells` are free
    split: jax.Array  # [] int32, see `GridSpec`; read where objects move


@struct.dataclass
class GridSpec:
    """A distribution of worlds. Ranges are [low, high], both included; a fixed value is a range of length zero.

    `split` makes two disjoint sets of worlds. Where objects stay, a layout (size, walls, object cells) is held out
    iff its hash is 3 modulo 4, one in four. Where objects move, a placement is held out iff the first object is on a
    free cell whose number is 3 modulo 4.
    """

    height: np.ndarray  # [2] int32
    width: np.ndarray  # [2] int32
    walls: np.ndarray  # [H, W] bool, walls that are always there
    max_random_walls: np.ndarray  # [] int32, their number is uniform from 0 to this
    num_objects: np.ndarray  # [2] int32, uniform
    object_rewards: np.ndarray  # [2, N], uniform
    end_probability: np.ndarray  # [2, N], log-uniform
    return_probability: np.ndarray  # [2, N], log-uniform
    step_reward: np.ndarray  # [2], uniform
    reward_scale: np.ndarray  # [2], log-uniform: all rewards of a world are multiplied by it
    slip: np.ndarray  # [2], uniform
    max_steps: np.ndarray  # [2] int32, log-uniform
    split: np.ndarray  # [] int32: ANY, TRAINING or HELD_OUT


def sample_grid_params(key: PRNGKey, spec: GridSpec, moving_objects: bool) -> GridParams:
    """Draw a world of the distribution, by rejection until it belongs to `spec.split`."""
    number_key, layout_key = jax.random.split(key)
    N = spec.object_rewards.shape[-1]
    u = jax.random.uniform(number_key, (4 + 3 * N,))
    u_steps, u_rewards, u_end, u_return, (u_scale, u_step, u_slip) = jnp.split(u, (1, 1 + N, 1 + 2 * N, 1 + 3 * N))
    steps = jnp.asarray(spec.max_steps)
    max_steps = jnp.floor(_log_uniform(u_steps[0], steps[0], steps[1] + 1)).astype(jnp.int32)
    rewards = jnp.asarray(spec.object_rewards)
    scale = _log_uniform(u_scale, *jnp.asarray(spec.reward_scale))
    split = jnp.asarray(spec.split, jnp.int32)

    def wanted(layout: Layout) -> jax.Array:
        held_out = is_held_out(*layout)
        return moving_objects | (split == ANY) | ((split == HELD_OUT) == held_out)

    def draw(carry: tuple[PRNGKey, Layout, jax.Array]) -> tuple[PRNGKey, Layout, jax.Array]:
        next_key, draw_key = jax.random.split(carry[0])
        layout = _sample_layout(draw_key, spec)
        return next_key, layout, wanted(layout)

    nothing = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(_sample_layout, layout_key, spec))
    _, layout, _ = jax.lax.while_loop(lambda carry: ~carry[2], draw, (layout_key, nothing, jnp.zeros((), bool)))
    height, width, walls, positions, exists = layout

    free = ~walls
    if not moving_objects:
        taken = jnp.zeros_like(walls).at[positions[:, 0], positions[:, 1]].max(exists)
        free = free & ~taken
    return GridParams(
        height=height,
        width=width,
        walls=walls,
        object_positions=positions,
        object_rewards=jnp.where(exists, scale * _uniform(u_rewards, *rewards), 0.0),
        end_probability=jnp.where(exists, _log_uniform(u_end, *jnp.asarray(spec.end_probability)), 0.0),
        return_probability=jnp.where(exists, _log_uniform(u_return, *jnp.asarray(spec.return_probability)), 0.0),
        object_exists=exists,
        step_reward=scale * _uniform(u_step, *jnp.asarray(spec.step_reward)),
        slip=_uniform(u_slip, *jnp.asarray(spec.slip)),
        max_steps=jnp.clip(max_steps, steps[0], steps[1]),
        free_cells=_free_first(free.reshape(-1)),
        num_free=jnp.sum(free, dtype=jnp.int32),
        split=split,
    )


def is_held_out(
    height: jax.Array, width: jax.Array, walls: jax.Array, positions: jax.Array, exists: jax.Array
) -> jax.Array:
    """Whether the layout's hash is 3 modulo 4. It does not depend on padding nor on the order of the objects."""
    H, W = walls.shape
    y, x = jnp.arange(H)[:, None], jnp.arange(W)
    inner = walls & (y < height) & (x < width)
    wall_sum = jnp.sum(jnp.where(inner, _mix(y * 64 + x + 4096), 0), dtype=jnp.uint32)
    object_sum = jnp.sum(jnp.where(exists, _mix(positions[:, 0] * 64 + positions[:, 1]), 0), dtype=jnp.uint32)
    return _mix(wall_sum + object_sum + _mix(height * 64 + width + 8192)) % 4 == 3


def _mix(x: jax.Array) -> jax.Array:
    """Scramble integers: multiply and fold by odd constants, modulo 2^32."""
    x = x.astype(jnp.uint32) * jnp.uint32(0x9E3779B1)
    x = (x ^ (x >> 15)) * jnp.uint32(0x85EBCA77)
    return x ^ (x >> 13)


def _sample_layout(key: PRNGKey, spec: GridSpec) -> Layout:
    """A layout of the distribution, regardless of the split."""
    H, W = spec.walls.shape[-2:]
    N = spec.object_rewards.shape[-1]
    u = jax.random.uniform(key, (4 + H * W,))
    height = _uniform_integer(u[0], *jnp.asarray(spec.height))
    width = _uniform_integer(u[1], *jnp.asarray(spec.width))
    num_objects = _uniform_integer(u[2], *jnp.asarray(spec.num_objects))
    outside = (jnp.arange(H)[:, None] >= height) | (jnp.arange(W) >= width)
    walls = jnp.asarray(spec.walls) | outside
    # One random order of the free cells: the first become walls, the next hold the objects.
    order = jnp.argsort(jnp.where(walls.reshape(-1), jnp.inf, u[4:]))  # [H * W]
    num_free = jnp.sum(~walls, dtype=jnp.int32)
    most_walls = jnp.clip(num_free - num_objects - 4, 0, jnp.asarray(spec.max_random_walls))
    num_walls = _uniform_integer(u[3], 0, most_walls)
    walls = walls.reshape(-1).at[order].max(jnp.arange(H * W) < num_walls).reshape(H, W)
    exists = jnp.arange(N) < num_objects
    cells = jnp.where(exists, order[jnp.minimum(num_walls + jnp.arange(N), H * W - 1)], 0)
    return height, width, walls, jnp.stack([cells // W, cells % W], axis=-1).astype(jnp.int32), exists


def _free_first(free: jax.Array) -> jax.Array:
    """Indices of the true entries of [n] in ascending order, then zeros. (Compiles faster than a sort.)"""
    slots = jnp.where(free, jnp.cumsum(free) - 1, free.size)
    return jnp.zeros(free.size, jnp.int32).at[slots].set(jnp.arange(free.size, dtype=jnp.int32), mode="drop")


def _uniform(u: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Uniform in [low, high] for u uniform in [0, 1)."""
    return low + u * (high - low)


def _uniform_integer(u: jax.Array, low: jax.Array | int, high: jax.Array | int) -> jax.Array:
    """Integer from low to high, both included, for u uniform in [0, 1)."""
    return jnp.minimum(low + jnp.floor(u * (high - low + 1)).astype(jnp.int32), high).astype(jnp.int32)


def _log_uniform(u: jax.Array, low: jax.Array, high: jax.Array) -> jax.Array:
    """Log-uniform in [low, high] for u uniform in [0, 1); exactly `low` where the two are equal, which may be zero."""
    fixed = low == high
    safe_low, safe_high = jnp.where(fixed, 1.0, low), jnp.where(fixed, 1.0, high)
    return jnp.where(fixed, low, jnp.exp(jnp.log(safe_low) + u * (jnp.log(safe_high) - jnp.log(safe_low))))
