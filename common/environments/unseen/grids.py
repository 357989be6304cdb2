"""Kinds of grids that nothing is trained on, to see how a learned rule carries: there is no training part of them.

The agent moves up, right, down or left and observes its cell, and whether it has the key, as one number. A goal far off
pays 1 and ends the episode, which is cut after 50 steps (100 where the way is longer). Grids have 5 to 7 rows and
columns, and a few walls:

    far         nothing else
    wind        in one column or row between start and goal every move is pushed one cell aside
    cost        every step costs 0.01
    slip        a fifth of the moves go sideways
    key         the goal pays only those who have been where the key is
    corridor    one row of 14 to 20 cells: a small reward near by ends the episode, the large one is at the other side
    cliff       some cells cost 1 and end the episode; no walls

All of it is data (`tabular_world`), so that the kinds share one program.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.splits import Split
from metaobj.common.environments.tabular_world import Tables, TabularState, TabularWorld
from metaobj.common.environments.unseen.layouts import CELLS, MOVES, Layout, LayoutSpec, draw_layout
from metaobj.common.environments.unseen.picture import draw_picture
from metaobj.common.errors import UserError
from metaobj.common.types import PRNGKey

ASIDE = (0, 1, -1)
"""The outcomes of an action: the move itself, and the two at right angles to it that a slip makes."""


@struct.dataclass
class UnseenSpec:
    """A distribution of worlds."""

    layout: LayoutSpec
    step_reward: np.ndarray  # [] paid on every step, whatever happens in it
    slip: np.ndarray  # [] probability that a move goes sideways
    max_steps: np.ndarray  # [] int32


@struct.dataclass
class UnseenParams(Tables):
    """One world, and what it looks like."""

    layout: Layout


@dataclass(frozen=True)
class UnseenGrid(TabularWorld):
    """All grids of at most `CELLS` cells. States are cells without the key, then cells with it."""

    num_states: int = 2 * CELLS
    num_actions: int = 4

    def sample_params(self, key: PRNGKey, spec: UnseenSpec) -> UnseenParams:
        """Draw a world of the distribution."""
        return make_world(draw_layout(key, spec.layout), spec.step_reward, spec.slip, spec.max_steps)

    def render(self, state: TabularState, params: UnseenParams) -> np.ndarray:
        """A picture, see `picture`."""
        has_key, cell = divmod(int(state.index), CELLS)
        return draw_picture(params.layout, cell, has_key > 0, f"step {int(state.time)} of {int(params.max_steps)}")


def make_world(
    layout: Layout,
    step_reward: float | jax.Array | np.ndarray = 0.0,
    slip: float | jax.Array | np.ndarray = 0.0,
    max_steps: int | jax.Array | np.ndarray = 50,
) -> UnseenParams:
    """The tables of a layout; see `UnseenSpec` for the numbers."""
    cells = jnp.arange(CELLS, dtype=jnp.int32)
    height, width = layout.size
    y, x = (
        at[:, None] + jnp.array(by, jnp.int32)  # [CELLS, 5]
        for at, by in zip((cells // width, cells % width), zip(*MOVES, strict=True), strict=True)
    )
    target = y * width + x
    open_ = (y >= 0) & (y < height) & (x >= 0) & (x < width) & ~layout.walls[jnp.clip(target, 0, CELLS - 1)]
    moved = jnp.where(open_, target, cells[:, None])  # [CELLS, 5]
    landed = moved[moved[:, :4], layout.wind[:, None]]  # [CELLS, 4]: the move, and then the wind of where it began
    outcomes = landed[:, (np.arange(4)[:, None] + np.array(ASIDE)) % 4]  # [CELLS, 4, 3]

    has_key = jnp.arange(2, dtype=jnp.int32)  # the first axis of all that follows
    key_after = has_key[:, None, None, None] | (outcomes == layout.key)  # [2, CELLS, 4, 3]
    goal = (cells == layout.goal) & ((has_key[:, None] > 0) | (layout.key < 0))  # [2, CELLS]
    lure = cells == layout.lure
    gain = goal + jnp.where(lure, layout.lure_reward, 0.0) - layout.cliffs
    return UnseenParams(
        next_state=(key_after * CELLS + outcomes).reshape(2 * CELLS, 4, len(ASIDE)),
        probability=jnp.broadcast_to(jnp.stack([1.0 - slip, slip / 2, slip / 2]), (2 * CELLS, 4, len(ASIDE))),
        reward=(gain + step_reward).reshape(-1),
        ends=(goal | lure | layout.cliffs).reshape(-1),
        start=layout.start,
        max_steps=jnp.asarray(max_steps, jnp.int32),
        layout=layout,
    )


UNSEEN_GRID = UnseenGrid()

_KINDS: dict[str, dict[str, Any]] = {
    "far": {},
    "wind": {"windy": True},
    "cost": {"step_reward": -0.01},
    "slip": {"slip": 0.2},
    "key": {"key_distance": 3, "distance": 3, "max_steps": 100},
    "corridor": {
        "height": (1, 1),
        "width": (14, 20),
        "distance": 10,
        "walls": (0, 0),
        "lure_distance": (2, 3),
        "lure_reward": (0.1, 0.3),
        "max_steps": 100,
    },
    "cliff": {"walls": (0, 0), "cliffs": (4, 8)},
}
UNSEEN_NAMES = tuple(f"unseen/{kind}" for kind in _KINDS)


def make_unseen(name: str, split: Split = "any") -> tuple[UnseenGrid, UnseenSpec]:
    """The environment and the distribution of a name in `UNSEEN_NAMES`.

    Raises:
        UserError: the name is unknown, or the training part is asked for.
    """
    if name not in UNSEEN_NAMES:
        raise UserError(f"environment: {name!r} is unknown; choose from {', '.join(UNSEEN_NAMES)}")
    if split == "training":
        raise UserError(f"environment: {name!r} has no training part; it is for evaluation only")
    return UNSEEN_GRID, _spec(**_KINDS[name.partition("/")[2]])


def _spec(
    height: tuple[int, int] = (5, 7),
    width: tuple[int, int] = (5, 7),
    distance: int = 6,
    walls: tuple[int, int] = (1, 4),
    cliffs: tuple[int, int] = (0, 0),
    windy: bool = False,
    key_distance: int = 0,
    lure_distance: tuple[int, int] = (0, 0),
    lure_reward: tuple[float, float] = (0.0, 0.0),
    step_reward: float = 0.0,
    slip: float = 0.0,
    max_steps: int = 50,
) -> UnseenSpec:
    layout = LayoutSpec(
        height=np.array(height, np.int32),
        width=np.array(width, np.int32),
        distance=np.array(distance, np.int32),
        walls=np.array(walls, np.int32),
        cliffs=np.array(cliffs, np.int32),
        windy=np.array(windy),
        key_distance=np.array(key_distance, np.int32),
        lure_distance=np.array(lure_distance, np.int32),
        lure_reward=np.array(lure_reward, np.float32),
    )
    return UnseenSpec(
        layout, np.array(step_reward, np.float32), np.array(slip, np.float32), np.array(max_steps, np.int32)
    )
