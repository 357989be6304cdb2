"""What the optimal policy and the uniform random policy earn: undiscounted expected return of one episode.

Tabular grid worlds are solved exactly by backward induction over the time limit. It uses their structure: moves are
deterministic, so only the returning objects need an expectation, and as they return independently it is taken for
one object after another, on values [2, ..., 2, H, W] with an axis of length two (absent, present) per object.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.grid.params import GridParams
from metaobj.common.types import PRNGKey

NUM_PLACEMENTS = 32
"""Placements of moving objects that a world's figures are averaged over."""


class Grid(Protocol):
    """What is read of `world.GridWorld`."""

    @property
    def num_objects(self) -> int: ...

    @property
    def collect_action(self) -> bool: ...

    @property
    def moving_objects(self) -> bool: ...

    def reset(self, key: PRNGKey, params: GridParams) -> tuple[jax.Array, Any]: ...

    def object_cells(self, state: Any, params: GridParams) -> jax.Array: ...


def optimal_return(world: Grid, params: GridParams) -> jax.Array:
    """Expected return of the optimal policy from the episode's start, scalar.

    Where objects move it is an average over placements that are drawn with a fixed key.
    """
    return _grid_return(world, params, jax.random.key(0), _best)


def random_return(world: Grid, params: GridParams, key: PRNGKey | None = None) -> jax.Array:
    """Expected return of the uniform random policy, scalar.

    `key` draws the placements that the figure is averaged over where objects move; default a fixed key.
    """
    return _grid_return(world, params, jax.random.key(0) if key is None else key, _mean)


@functools.partial(jax.jit, static_argnums=0)
def both_returns(world: Grid, params: GridParams) -> tuple[jax.Array, jax.Array]:
    """(random [n], optimal [n]) of n worlds, each leaf of `params` [n, ...]."""
    # One world after another: each stops at its own time limit, and memory is that of one world.
    return jax.lax.map(lambda one: (random_return(world, one), optimal_return(world, one)), params)


def trimmed(params: GridParams) -> GridParams:
    """The same n worlds without the padding that none of them needs: an absent object doubles the work."""
    H, W = int(np.max(params.height)), int(np.max(params.width))
    N = int(np.max(np.sum(np.asarray(params.object_exists), axis=-1)))
    walls, padded_width = np.asarray(params.walls)[:, :H, :W], params.walls.shape[-1]
    cells = np.asarray(params.free_cells)[:, : H * W]  # [n, H * W], free ones first and all of them inside
    y, x = cells // padded_width, cells % padded_width
    return dataclasses.replace(
        params,
        walls=jnp.asarray(walls),
        object_positions=params.object_positions[:, :N],
        object_rewards=params.object_rewards[:, :N],
        end_probability=params.end_probability[:, :N],
        return_probability=params.return_probability[:, :N],
        object_exists=params.object_exists[:, :N],
        free_cells=jnp.asarray(y * W + x, jnp.int32),
    )


Backup = Callable[[list[jax.Array], jax.Array, jax.Array], jax.Array]
"""(values of landing on each cell, one array [..., H, W] per kind of action; walls; the probability that a move is
drawn uniformly) -> values of being there.
"""


def _grid_return(world: Grid, params: GridParams, key: PRNGKey, backup: Backup) -> jax.Array:
    if not world.moving_objects:
        return _fixed_objects_return(world, params, backup)

    def one(key: PRNGKey) -> jax.Array:
        state = world.reset(key, params)[1]
        placed = dataclasses.replace(params, object_positions=world.object_cells(state, params))
        return _fixed_objects_return(world, placed, backup)

    return jnp.mean(jax.lax.map(one, jax.random.split(key, NUM_PLACEMENTS)))


def _fixed_objects_return(world: Grid, params: GridParams, backup: Backup) -> jax.Array:
    """Backward induction over the number of steps left; starts on a uniform free cell with all objects present."""
    N = world.num_objects
    ys, xs = params.object_positions[:, 0], params.object_positions[:, 1]
    shape = (2,) * N + params.walls.shape
    # What an object's column must not do in the step in which it is collected: let that object return.
    column_return = jnp.where(jnp.eye(N, dtype=bool), 0.0, params.return_probability[:, None])  # [object, column]

    def one_step(_: jax.Array, values: jax.Array) -> jax.Array:
        landed = _after_returns(values, params.return_probability)  # [2, ..., 2, H, W]
        columns = _after_returns(values[..., ys, xs], column_return)  # [2, ..., 2, N], per cell of an object
        collected = landed
        for i in range(N):
            gone = jnp.take(columns[..., i], 0, axis=i)  # the axis of object i is dropped
            gain = params.object_rewards[i] + (1.0 - params.end_probability[i]) * gone
            there = (Ellipsis, ys[i], xs[i])
            stays = jnp.take(collected[there], 0, axis=i)
            now = jnp.stack([stays, jnp.where(params.object_exists[i], gain, stays)], axis=i)
            # A padding object lies on some cell where another may be: leave that cell alone.
            now = jnp.where(params.object_exists[i], now, collected[there])
            collected = collected.at[there].set(now)
        landings = [landed, collected] if world.collect_action else [collected]
        expected = params.step_reward + backup(landings, params.walls, params.slip)
        return jnp.where(params.walls, 0.0, expected)

    values = jax.lax.fori_loop(0, params.max_steps, one_step, jnp.zeros(shape))
    present = tuple(params.object_exists.astype(jnp.int32))
    occupied = jnp.zeros_like(params.walls).at[ys, xs].max(params.object_exists)
    start = ~params.walls & ~occupied
    return jnp.sum(jnp.where(start, values[present], 0.0)) / jnp.sum(start)


def _after_returns(values: jax.Array, probability: jax.Array) -> jax.Array:
    """Expected values over the returns of absent objects. Values [2, ..., 2, *rest], probability [N, *part of rest]."""
    for i, p in enumerate(probability):
        absent, present = jnp.take(values, 0, axis=i), jnp.take(values, 1, axis=i)
        values = jnp.stack([absent + p * (present - absent), present], axis=i)
    return values


def _best(landings: list[jax.Array], walls: jax.Array, slip: jax.Array) -> jax.Array:
    """Maximum over the moves. A blocked move stays, and staying is a move too, so walls just drop out."""
    values = functools.reduce(jnp.maximum, landings)
    best = _three_by_three(jnp.where(walls, -jnp.inf, values), jnp.maximum, -jnp.inf)
    best = jnp.where(walls, 0.0, best)
    return jax.lax.cond(slip > 0, lambda: best + slip * (_over_moves(values, walls) - best), lambda: best)


def _mean(landings: list[jax.Array], walls: jax.Array, slip: jax.Array) -> jax.Array:
    """Mean over the moves, of which the blocked ones stay; slips change nothing."""
    return _over_moves(sum(landings[1:], landings[0]) / len(landings), walls)


def _over_moves(values: jax.Array, walls: jax.Array) -> jax.Array:
    """Mean over the nine moves of the values of where they lead."""
    values = jnp.where(walls, 0.0, values)
    blocked = 9.0 - _three_by_three(1.0 - walls, jnp.add, 0.0)  # [H, W]
    return (_three_by_three(values, jnp.add, 0.0) + blocked * values) / 9.0


def _three_by_three(
    values: jax.Array, combine: Callable[[jax.Array, jax.Array], jax.Array], outside: float
) -> jax.Array:
    """Combine each cell of [..., H, W] with its eight neighbours, first along one axis, then along the other."""
    for axis in (-1, -2):
        length = values.shape[axis]
        padding = [(0, 0)] * values.ndim
        padding[axis] = (1, 1)
        padded = jnp.pad(values, padding, constant_values=outside)
        low, high = (jax.lax.slice_in_dim(padded, i, i + length, axis=axis) for i in (0, 2))
        values = combine(values, combine(low, high))
    return values
