"""Small grids as data: a distribution of them (`LayoutSpec`), one of them (`Layout`), and how it is drawn.

Every layout has a way from its start to its goal, by way of its key where there is one, that no wall and no cliff lies
on. It is as short as any: each of its parts is a shortest one of the empty grid. Only where wind blows may there be no
way after all, in about one layout of a thousand.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.types import PRNGKey

CELLS = 49
"""All grids are padded to so many cells, numbered y * columns + x; those beyond a grid's last are not in use."""
LONGEST = 20
"""No two cells of a grid are more steps apart."""
MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1), (0, 0))
"""(dy, dx) of the four actions, clockwise from up, and of staying."""
STAY = 4
NOWHERE = -1


@struct.dataclass
class LayoutSpec:
    """A distribution of layouts. Ranges are [low, high], both included; all that is drawn is uniform."""

    height: np.ndarray  # [2] int32
    width: np.ndarray  # [2] int32
    distance: np.ndarray  # [] int32 steps from the start to the goal at least, where nothing is in between
    walls: np.ndarray  # [2] int32, how many
    cliffs: np.ndarray  # [2] int32, how many
    windy: np.ndarray  # [] bool, whether wind blows across the way
    key_distance: np.ndarray  # [] int32 steps from the key to start and goal at least; 0: the goal needs no key
    lure_distance: np.ndarray  # [2] int32 steps from the start to the lure, away from the goal; 0: there is none
    lure_reward: np.ndarray  # [2]


@struct.dataclass
class Layout:
    """A grid of at most `CELLS` cells."""

    size: jax.Array  # [2] int32 rows and columns
    start: jax.Array  # [] int32 cell
    goal: jax.Array  # [] int32 cell
    key: jax.Array  # [] int32 cell, or NOWHERE
    lure: jax.Array  # [] int32 cell that pays a little and ends the episode, or NOWHERE
    lure_reward: jax.Array  # []
    walls: jax.Array  # [CELLS] bool
    cliffs: jax.Array  # [CELLS] bool
    wind: jax.Array  # [CELLS] int32, the move of `MOVES` that follows one's own from each cell; STAY where it is calm


def draw_layout(key: PRNGKey, spec: LayoutSpec) -> Layout:
    """Draw a layout of the distribution."""
    size_key, ends_key, key_key, lure_key, pay_key, way_key, block_key, number_key, wind_key = jax.random.split(key, 9)
    size = _within(size_key, jnp.stack([jnp.asarray(spec.height), jnp.asarray(spec.width)], axis=-1), (2,))
    cells = jnp.arange(CELLS, dtype=jnp.int32)
    places = jnp.stack([cells // size[1], cells % size[1]], axis=-1)  # [CELLS, 2]
    inside = cells < size[0] * size[1]
    apart = jnp.sum(jnp.abs(places[:, None] - places), axis=-1)  # [CELLS, CELLS]

    # With a lure the way begins there, and the start is so many steps along it.
    lure_distance = _within(lure_key, spec.lure_distance)
    far = (apart >= spec.distance + lure_distance) & inside[:, None] & inside
    pair = _one_of(ends_key, far.reshape(-1))
    origin, goal = pair // CELLS, pair % CELLS
    needs_key, has_lure = jnp.asarray(spec.key_distance) > 0, lure_distance > 0
    key_cell = _one_of(key_key, inside & (apart[origin] >= spec.key_distance) & (apart[goal] >= spec.key_distance))
    stop = jnp.where(needs_key, key_cell, goal)
    u = jax.random.uniform(way_key, (2, LONGEST))
    first, second = _way(u[0], places[origin], places[stop]), _way(u[1], places[stop], places[goal])
    way = jnp.concatenate([first, second]) @ jnp.stack([size[1], jnp.int32(1)])  # cells, in order
    start = way[lure_distance]

    free = inside.at[way].set(False)
    # Free cells in a random order: first walls, then cliffs.
    rank = jnp.argsort(jnp.argsort(jnp.where(free, jax.random.uniform(block_key, (CELLS,)), 2.0)))
    walls, cliffs = _within(number_key, jnp.stack([jnp.asarray(spec.walls), jnp.asarray(spec.cliffs)], axis=-1), (2,))
    return Layout(
        size=size,
        start=start,
        goal=goal,
        key=jnp.where(needs_key, key_cell, NOWHERE),
        lure=jnp.where(has_lure, origin, NOWHERE),
        lure_reward=jax.random.uniform(pay_key, minval=spec.lure_reward[0], maxval=spec.lure_reward[1]),
        walls=free & (rank < walls),
        cliffs=free & (rank >= walls) & (rank < walls + cliffs),
        wind=jnp.where(spec.windy, _wind(wind_key, places, places[start], places[goal]), STAY),
    )


def _within(key: PRNGKey, limits: jax.Array | np.ndarray, shape: tuple[int, ...] = ()) -> jax.Array:
    """Integers from `limits[0]` to `limits[1]`, both included."""
    return jax.random.randint(key, shape, limits[0], limits[1] + 1, jnp.int32)


def _one_of(key: PRNGKey, fits: jax.Array) -> jax.Array:
    """Index of one of the true entries of `fits` [n]."""
    return jax.random.categorical(key, jnp.where(fits, 0.0, -jnp.inf)).astype(jnp.int32)


def _way(u: jax.Array, origin: jax.Array, end: jax.Array) -> jax.Array:
    """A shortest way over an empty grid: (y, x) after 0, 1, ... steps, [LONGEST + 1, 2], then at the end for good.

    `u` [LONGEST], uniform in [0, 1), decides in which order it goes up or down and left or right.
    """
    down, right = end - origin
    steps = jnp.arange(LONGEST)
    length = jnp.abs(down) + jnp.abs(right)
    order = jnp.argsort(jnp.where(steps < length, u, 1.0))
    vertical = order < jnp.abs(down)
    moves = jnp.stack([vertical * jnp.sign(down), ~vertical * jnp.sign(right)], axis=-1)  # [LONGEST, 2]
    moves = jnp.where((steps < length)[:, None], moves, 0)
    return jnp.concatenate([origin[None], origin + jnp.cumsum(moves, axis=0, dtype=jnp.int32)])


def _wind(key: PRNGKey, places: jax.Array, start: jax.Array, goal: jax.Array) -> jax.Array:
    """Wind along one column between start and goal where they lie side by side rather, else along one row. [CELLS]."""
    line_key, side_key = jax.random.split(key)
    down, right = jnp.abs(goal - start)
    axis = (right >= down).astype(jnp.int32)
    low, high = jnp.minimum(start, goal)[axis], jnp.maximum(start, goal)[axis]
    line = jax.random.randint(line_key, (), low + 1, high, jnp.int32)
    # Up or down a column; along a row to the right or left.
    direction = 2 * jax.random.bernoulli(side_key).astype(jnp.int32) + (1 - axis)
    return jnp.where(places[:, axis] == line, direction, STAY)
