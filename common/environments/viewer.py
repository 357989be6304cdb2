"""Pictures of environments: one state as an image, an episode as a GIF."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from metaobj.common.environments.delayed_chain import ChainParams, ChainState, DelayedChain
from metaobj.common.environments.grid.params import GridParams
from metaobj.common.environments.grid.world import GridState, GridWorld
from metaobj.common.environments.protocol import Environment
from metaobj.common.types import PRNGKey, PyTree

CELL = 40
"""Pixels per cell."""
BANNER = 24
"""Height of the line of text above the picture."""
INK, PAPER, WALL, LINE, AGENT = (40, 40, 46), (255, 255, 255), (70, 74, 84), (214, 217, 222), (38, 98, 206)
GOOD, BAD = (26, 138, 76), (202, 48, 48)
PLANES = ((38, 98, 206), (226, 132, 22), (26, 138, 76), (202, 48, 48), (130, 82, 172), (20, 160, 170), (196, 86, 150))
MAX_FRAMES = 400
"""A GIF shows at most so many steps."""


def render(environment: Environment, state: PyTree, params: PyTree) -> np.ndarray:
    """One state (no leading axes) as an uint8 image [height, width, 3].

    Grids: walls dark, objects as discs with their reward, green for gain and red for loss (an outline only while they
    are absent), the agent as a blue square. Chains: the steps, the current one blue, past ones grey, and the end in the
    colour of what will be paid. Anything else: its observation or its numbers, see `render_array`.
    """
    if isinstance(environment, GridWorld):
        return _render_grid(environment, state, params)
    if isinstance(environment, DelayedChain):
        return _render_chain(state, params)
    observe = getattr(environment, "observe", None)
    if observe is not None:
        return render_array(observe(state, params))
    return render_array(np.concatenate([np.ravel(leaf).astype(float) for leaf in jax.tree.leaves(state)]))


def render_array(array: jax.Array | np.ndarray) -> np.ndarray:
    """An array as an uint8 image [height, width, 3].

    [H, W, C] is drawn as planes, one colour each, [H, W] as shades of grey, anything else as bars around zero.
    """
    values = np.asarray(array, float)
    if values.ndim not in (2, 3):
        return _render_bars(values.ravel())
    if values.ndim == 2:
        span = max(float(values.max() - values.min()), 1e-9)
        pixels = np.repeat(((values.max() - values) / span * 255)[..., None], 3, axis=-1)
    else:
        pixels = np.full((*values.shape[:2], 3), 255.0)
        for plane in range(values.shape[-1]):
            weight = np.clip(values[..., plane, None] / max(float(np.abs(values[..., plane]).max()), 1e-9), 0, 1)
            pixels = (1 - weight) * pixels + weight * np.array(PLANES[plane % len(PLANES)])
    scale = max(1, 400 // max(values.shape[:2]))
    return np.kron(pixels.astype(np.uint8), np.ones((scale, scale, 1), np.uint8))


def episode_gif(
    environment: Environment,
    params: PyTree,
    policy: Callable[[jax.Array], jax.Array],
    key: PRNGKey,
    path: str | Path,
) -> float:
    """Play one episode, write it as a GIF, and return its undiscounted return.

    Args:
        environment: the environment.
        params: of one world, without leading axes.
        policy: observations [1, ...] to action logits [1, A], from which actions are sampled.
        key: of the episode.
        path: of the file to write.
    """

    @jax.jit
    def step(key: PRNGKey, state: PyTree, observation: jax.Array) -> tuple:
        action_key, step_key = jax.random.split(key)
        action = jax.random.categorical(action_key, policy(observation[None])[0])
        observation, state, reward, terminated, truncated, _ = environment.step(step_key, state, action, params)
        return observation, state, reward, terminated | truncated

    def frame(state: PyTree, observation: jax.Array) -> Image.Image:
        native = isinstance(environment, GridWorld | DelayedChain)
        pixels = render(environment, state, params) if native else render_array(observation)
        return Image.fromarray(pixels).quantize(64)

    key, reset_key = jax.random.split(key)
    observation, state = jax.jit(environment.reset)(reset_key, params)
    frames, total, ended = [frame(state, observation)], 0.0, False
    while not ended:
        key, step_key = jax.random.split(key)
        observation, state, reward, ended = step(step_key, state, observation)
        total += float(reward)
        if len(frames) < MAX_FRAMES:
            frames.append(frame(state, observation))
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=120, loop=0)
    return total


def _render_grid(environment: GridWorld, state: GridState, params: GridParams) -> np.ndarray:
    height, width = int(params.height), int(params.width)
    image, draw = _canvas(width * CELL + 1, height * CELL + 1)
    walls = np.asarray(params.walls)
    for y in range(height):
        for x in range(width):
            draw.rectangle(_box(y, x, 0), fill=WALL if walls[y, x] else PAPER, outline=LINE)
    # The agent first: where it stands on the cell of an object, both are seen.
    y, x = (int(i) for i in state.position)
    draw.rounded_rectangle(_box(y, x, 3), radius=9, fill=AGENT)
    draw.text(_centre(y, x), "A", fill=PAPER, font=_font(18), anchor="mm")
    cells, present = np.asarray(environment.object_cells(state, params)), np.asarray(state.present)
    for i in np.flatnonzero(np.asarray(params.object_exists)):
        (y, x), reward = cells[i].tolist(), float(params.object_rewards[i])
        colour = GOOD if reward >= 0 else BAD
        # A clear disc for a full reward, a paler one for less.
        strength = 0.35 + 0.65 * min(abs(reward), 1.0)
        shade = tuple(round(255 + strength * (c - 255)) for c in colour)
        box = _box(y, x, 7)
        if present[i]:
            draw.ellipse(box, fill=shade)
            text = f"{reward:+.0f}" if reward == round(reward) else f"{reward:+.2f}".replace("0.", ".")
            draw.text(_centre(y, x), text, fill=PAPER if strength > 0.6 else INK, font=_font(13), anchor="mm")
        else:
            draw.ellipse(box, outline=shade, width=2)
    _caption(draw, f"step {int(state.time)} of {int(params.max_steps)}")
    return np.asarray(image)


def _render_chain(state: ChainState, params: ChainParams) -> np.ndarray:
    length, time = int(params.length), int(state.time)
    columns, size = min(length + 1, 17), CELL * 3 // 4
    rows = -(-(length + 1) // columns)
    image, draw = _canvas(max(columns * size + 8, 250), rows * size + 8)
    pays = GOOD if bool(state.first_correct) else BAD
    for i in range(length + 1):
        x, y = 4 + (i % columns) * size, BANNER + 4 + (i // columns) * size
        # What is paid is settled by the first step; before it, the end has no colour.
        fill = AGENT if i == time else LINE if i < time else PAPER
        outline = pays if i == length and time > 0 else INK
        if i == length and time == length:
            fill = pays
        draw.ellipse(
            (x + 3, y + 3, x + size - 3, y + size - 3), fill=fill, outline=outline, width=3 if i == length else 1
        )
        number = str(i) if i < length else "?" if time == 0 else "+1" if bool(state.first_correct) else "-1"
        ink = PAPER if i == time else INK
        draw.text((x + size / 2, y + size / 2), number, fill=ink, font=_font(11), anchor="mm")
    noisy = ", noisy" if bool(params.noisy) else ""
    _caption(draw, f"step {time} of {length}, right first action: {int(params.correct_action)}{noisy}")
    return np.asarray(image)


def _render_bars(values: np.ndarray) -> np.ndarray:
    width, half = max(6, min(40, 400 // max(len(values), 1))), 80
    image = Image.new("RGB", (max(len(values) * width, 1), 2 * half + 1), PAPER)
    draw = ImageDraw.Draw(image)
    largest = max(float(np.max(np.abs(values), initial=0.0)), 1e-9)
    for i, value in enumerate(values):
        tip = half - value / largest * (half - 4)
        draw.rectangle(
            (i * width + 1, min(tip, half), (i + 1) * width - 2, max(tip, half)), fill=GOOD if value > 0 else BAD
        )
    draw.line((0, half, image.width, half), fill=INK)
    return np.asarray(image)


def _canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (width, height + BANNER), PAPER)
    return image, ImageDraw.Draw(image)


def _caption(draw: ImageDraw.ImageDraw, text: str) -> None:
    draw.text((4, BANNER / 2), text, fill=INK, font=_font(13), anchor="lm")


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=size)


def _box(y: int, x: int, margin: int) -> tuple[int, int, int, int]:
    top, left = BANNER + y * CELL, x * CELL
    return left + margin, top + margin, left + CELL - margin, top + CELL - margin


def _centre(y: int, x: int) -> tuple[float, float]:
    return (x + 0.5) * CELL, BANNER + (y + 0.5) * CELL
