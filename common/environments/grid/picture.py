"""The picture of a grid world."""

import jax
import numpy as np

from metaobj.common.environments.drawing import CELL, canvas, caption, draw_agent, draw_disc, draw_tiles
from metaobj.common.environments.grid.params import GridParams


def draw_grid(
    params: GridParams, position: jax.Array, cells: jax.Array, present: jax.Array, time: jax.Array
) -> np.ndarray:
    """One state of a grid world as an uint8 image [height, width, 3].

    Walls are dark, objects discs with their reward, green for gain and red for loss (an outline only while they are
    absent), the agent a blue square.

    Args:
        params: the world.
        position: (y, x) of the agent.
        cells: (y, x) of the objects [N, 2].
        present: which of them are there [N].
        time: steps taken.
    """
    height, width = int(params.height), int(params.width)
    image, draw = canvas(width * CELL + 1, height * CELL + 1)
    draw_tiles(draw, np.asarray(params.walls)[:height, :width])
    # The agent first: where it stands on the cell of an object, both are seen.
    y, x = np.asarray(position).tolist()
    draw_agent(draw, (y, x))
    object_cells, there = np.asarray(cells), np.asarray(present)
    for i in np.flatnonzero(np.asarray(params.object_exists)):
        y, x = object_cells[i].tolist()
        draw_disc(draw, (y, x), float(params.object_rewards[i]), bool(there[i]))
    caption(draw, f"step {int(time)} of {int(params.max_steps)}")
    return np.asarray(image)
