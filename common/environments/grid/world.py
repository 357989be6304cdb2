"""Grid worlds with objects that are collected, may end the episode and may come back (Oh et al. 2020, LPG).

In a *tabular* world the objects' cells are fixed for a lifetime and the observation is the index of the state. With
`moving_objects` ("random" worlds) cells are drawn anew for each episode and the observation is a stack of planes.

Order of events in a step: the agent moves (into a wall or the edge: it stays), perhaps not where it chose to, collects
what is on its new cell, the collected object may end the episode, and objects that were absent before the step may
come back, on their cell. So an object collected in this step returns in the next one at the earliest.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.grid.params import GridParams, GridSpec, sample_grid_params
from metaobj.common.environments.grid.picture import draw_grid
from metaobj.common.environments.grid.reference import both_returns, trimmed
from metaobj.common.environments.protocol import Box, Discrete, Space
from metaobj.common.environments.splits import HELD_OUT, TRAINING
from metaobj.common.types import PRNGKey

Step = tuple[jax.Array, "GridState", jax.Array, jax.Array, jax.Array, dict[str, Any]]


@struct.dataclass
class GridState:
    """An episode in progress."""

    position: jax.Array  # [2] int32 (y, x) of the agent
    present: jax.Array  # [N] bool
    object_positions: jax.Array | None  # [N, 2] int32 where objects move; None where the params hold them
    time: jax.Array  # [] int32 steps taken


@dataclass(frozen=True)
class GridWorld:
    """All grid worlds of at most this size.

    Actions are the 9 moves (dy, dx) = (action // 3 - 1, action % 3 - 1), of which 4 stays; objects are collected by
    standing on them. With `collect_action` there are 18, and only the latter 9 collect where they lead.

    Args:
        height, width, num_objects: maxima; worlds are padded to them.
        num_states: rows of the table of states, at least the largest 2^objects * height * width of the worlds held.
        collect_action: 18 actions rather than 9.
        moving_objects: new object cells in each episode, and planes as observation.
    """

    height: int
    width: int
    num_objects: int
    num_states: int
    collect_action: bool = False
    moving_objects: bool = False

    @property
    def observation_space(self) -> Space:
        """States, or bool planes [height, width, num_objects + 1], the agent's last."""
        if self.moving_objects:
            return Box((self.height, self.width, self.num_objects + 1), 0.0, 1.0)
        return Discrete(self.num_states)

    @property
    def action_space(self) -> Discrete:
        """9 or 18 actions."""
        return Discrete(18 if self.collect_action else 9)

    def sample_params(self, key: PRNGKey, spec: GridSpec) -> GridParams:
        """Draw a world of the distribution `spec`, which is padded like this environment."""
        return sample_grid_params(key, spec, self.moving_objects)

    def reset(self, key: PRNGKey, params: GridParams) -> tuple[jax.Array, GridState]:
        """Start an episode with all objects present and the agent on a free cell without an object."""
        if self.moving_objects:
            cells = self._distinct_free_cells(key, params)  # [N + 1]
            positions = jnp.stack([cells // self.width, cells % self.width], axis=-1)
            position, object_positions = positions[-1], positions[:-1]
        else:
            rank = _scaled(jax.random.uniform(key, ()), params.num_free)
            cell = params.free_cells[rank]
            position, object_positions = jnp.stack([cell // self.width, cell % self.width]), None
        state = GridState(position, params.object_exists, object_positions, jnp.zeros((), jnp.int32))
        return self.observe(state, params), state

    def step(self, key: PRNGKey, state: GridState, action: jax.Array, params: GridParams) -> Step:
        """Move, collect, perhaps end, let objects return. `truncated` at `params.max_steps`, unless it ended."""
        u = jax.random.uniform(key, (self.num_objects + 2,))
        u_return, u_end, u_slip = u[:-2], u[-2], u[-1]
        # One draw tells both whether and where to: below `slip` it is uniform again, stretched.
        slips = u_slip < params.slip
        slipped = _scaled(u_slip / jnp.where(slips, params.slip, 1.0), jnp.int32(9))
        move = jnp.where(slips, slipped, jnp.asarray(action, jnp.int32) % 9)
        target = state.position + jnp.stack([move // 3 - 1, move % 3 - 1])
        y, x = target[0], target[1]
        inside = (y >= 0) & (y < self.height) & (x >= 0) & (x < self.width)
        blocked = ~inside | params.walls[jnp.clip(y, 0, self.height - 1), jnp.clip(x, 0, self.width - 1)]
        position = jnp.where(blocked, state.position, target)

        cells = self.object_cells(state, params)
        collected = state.present & jnp.all(cells == position, axis=-1)  # [N], at most one
        if self.collect_action:
            collected = collected & (action >= 9)
        reward = params.step_reward + jnp.sum(jnp.where(collected, params.object_rewards, 0.0))
        terminated = u_end < jnp.sum(jnp.where(collected, params.end_probability, 0.0))
        returned = ~state.present & params.object_exists & (u_return < params.return_probability)
        time = state.time + 1
        truncated = (time >= params.max_steps) & ~terminated
        state = GridState(position, (state.present & ~collected) | returned, state.object_positions, time)
        return self.observe(state, params), state, reward, terminated, truncated, {}

    def object_cells(self, state: GridState, params: GridParams) -> jax.Array:
        """Cells (y, x) of the objects, present or not: [N, 2]."""
        return params.object_positions if state.object_positions is None else state.object_positions

    def observe(self, state: GridState, params: GridParams) -> jax.Array:
        """The observation: int32 index (mask of present objects * h + y) * w + x, or bool planes [H, W, N + 1]."""
        if not self.moving_objects:
            bits = state.present.astype(jnp.int32) << jnp.arange(self.num_objects, dtype=jnp.int32)
            mask = jnp.sum(bits, dtype=jnp.int32)
            return (mask * params.height + state.position[0]) * params.width + state.position[1]
        cells = jnp.concatenate([self.object_cells(state, params), state.position[None]])  # [N + 1, 2]
        shown = jnp.append(state.present, True)
        rows = jnp.arange(self.height)[:, None, None] == cells[:, 0]
        columns = jnp.arange(self.width)[None, :, None] == cells[:, 1]
        return rows & columns & shown

    def reference_returns(self, params: GridParams) -> tuple[np.ndarray, np.ndarray]:
        """Solved by backward induction, see `reference`."""
        smaller = trimmed(params)
        (height, width), objects = smaller.walls.shape[1:], smaller.object_exists.shape[1]
        world = replace(self, height=height, width=width, num_objects=objects)
        random, optimal = both_returns(world, smaller)
        return np.asarray(random), np.asarray(optimal)

    def render(self, state: GridState, params: GridParams) -> np.ndarray:
        """A picture, see `picture`."""
        return draw_grid(params, state.position, self.object_cells(state, params), state.present, state.time)

    def _distinct_free_cells(self, key: PRNGKey, params: GridParams) -> jax.Array:
        """Cells of the N objects and then of the agent, [N + 1], all different.

        Draws ranks among the free cells without replacement: the i-th draw counts only cells not yet drawn, and is
        mapped back by stepping over the earlier ranks in ascending order.
        """
        u = jax.random.uniform(key, (self.num_objects + 1,))
        n = params.num_free
        drawn = [self._first_rank(u[0], params)]
        ascending = drawn
        # The agent comes second: ranks of padding objects may run out of cells, an agent's may not.
        for i in range(1, self.num_objects + 1):
            rank = _scaled(u[i], jnp.maximum(n - i, 1))
            for earlier in ascending:
                rank = rank + (rank >= earlier)
            drawn = [*drawn, rank]
            ascending = _inserted(ascending, rank)
        ranks = jnp.stack([drawn[0], *drawn[2:], drawn[1]])
        return params.free_cells[jnp.minimum(ranks, n - 1)]

    def _first_rank(self, u: jax.Array, params: GridParams) -> jax.Array:
        """Rank of the first object's cell, within the split: 3 modulo 4 iff held out."""
        n, held_out = params.num_free, params.num_free // 4
        training = _scaled(u, n - held_out)
        rank = jnp.where(params.split == TRAINING, training + training // 3, _scaled(u, n))
        return jnp.where(params.split == HELD_OUT, 4 * _scaled(u, jnp.maximum(held_out, 1)) + 3, rank)


def _scaled(u: jax.Array, n: jax.Array) -> jax.Array:
    """Uniform integer below n for u uniform in [0, 1); the minimum guards against rounding up."""
    return jnp.minimum((u * n).astype(jnp.int32), n - 1)


def _inserted(ascending: list[jax.Array], value: jax.Array) -> list[jax.Array]:
    """The ascending list with one more value."""
    result = []
    for item in ascending:
        result.append(jnp.minimum(item, value))
        value = jnp.maximum(item, value)
    return [*result, value]
