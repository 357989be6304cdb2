"""The picture of a grid world."""

import jax
import numpy as np

from metaobj.common.environments.drawing import (
    AGENT,
    BAD,
    CELL,
    GOOD,
    INK,
    LINE,
    PAPER,
    WALL,
    box,
    canvas,
    caption,
    centre,
    font,
)
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
    walls = np.asarray(params.walls)
    for y in range(height):
        for x in range(width):
            draw.rectangle(box(y, x, 0), fill=WALL if walls[y, x] else PAPER, outline=LINE)
    # The agent first: where it stands on the cell of an object, both are seen.
    y, x = (int(i) for i in position)
    draw.rounded_rectangle(box(y, x, 3), radius=9, fill=AGENT)
    draw.text(centre(y, x), "A", fill=PAPER, font=font(18), anchor="mm")
    object_cells, there = np.asarray(cells), np.asarray(present)
    for i in np.flatnonzero(np.asarray(params.object_exists)):
        (y, x), reward = object_cells[i].tolist(), float(params.object_rewards[i])
        colour = GOOD if reward >= 0 else BAD
        # A clear disc for a full reward, a paler one for less.
        strength = 0.35 + 0.65 * min(abs(reward), 1.0)
        shade = tuple(round(255 + strength * (c - 255)) for c in colour)
        disc = box(y, x, 7)
        if there[i]:
            draw.ellipse(disc, fill=shade)
            text = f"{reward:+.0f}" if reward == round(reward) else f"{reward:+.2f}".replace("0.", ".")
            draw.text(centre(y, x), text, fill=PAPER if strength > 0.6 else INK, font=font(13), anchor="mm")
        else:
            draw.ellipse(disc, outline=shade, width=2)
    caption(draw, f"step {int(time)} of {int(params.max_steps)}")
    return np.asarray(image)
