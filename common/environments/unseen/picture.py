"""The picture of a grid that nothing is trained on."""

import numpy as np

from metaobj.common.environments.drawing import (
    CELL,
    INK,
    LINE,
    PAPER,
    canvas,
    caption,
    centre,
    draw_agent,
    draw_disc,
    draw_tiles,
    font,
)
from metaobj.common.environments.unseen.layouts import MOVES, NOWHERE, STAY, Layout


def draw_picture(layout: Layout, cell: int, has_key: bool, told: str) -> np.ndarray:
    """One state as an uint8 image [height, width, 3].

    Walls are dark, what pays or costs a disc with its reward (an outline only while the key is missing), the key a K,
    wind an arrow, the agent a blue square.

    Args:
        layout: the world.
        cell: of the agent.
        has_key: whether it has the key.
        told: the line above.
    """
    height, width = np.asarray(layout.size).tolist()
    image, draw = canvas(max(width * CELL + 1, 140), height * CELL + 1)
    draw_tiles(draw, np.asarray(layout.walls)[: height * width].reshape(height, width))
    for at, move in enumerate(np.asarray(layout.wind)[: height * width].tolist()):
        if move != STAY:
            (x, y), (dy, dx) = centre(*divmod(at, width)), MOVES[move]
            tip = (x + 12 * dx, y + 12 * dy)
            wings = [(x + 4 * dx + 6 * side * dy, y + 4 * dy + 6 * side * dx) for side in (-1, 1)]
            draw.line((x - 12 * dx, y - 12 * dy, *tip), fill=LINE, width=3)
            draw.polygon([tip, *wings], fill=LINE)
    draw_agent(draw, divmod(cell, width))
    key, lure = int(layout.key), int(layout.lure)
    draw_disc(draw, divmod(int(layout.goal), width), 1.0, has_key or key == NOWHERE)
    if lure != NOWHERE:
        draw_disc(draw, divmod(lure, width), float(layout.lure_reward))
    for at in np.flatnonzero(np.asarray(layout.cliffs)).tolist():
        draw_disc(draw, divmod(at, width), -1.0)
    if key != NOWHERE and not has_key:
        draw.text(centre(*divmod(key, width)), "K", fill=PAPER if key == cell else INK, font=font(20), anchor="mm")
    caption(draw, told)
    return np.asarray(image)
