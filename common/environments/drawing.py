"""What the pictures of environments are drawn with."""

import jax
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 40
"""Pixels per cell."""
BANNER = 24
"""Height of the line of text above the picture."""
INK, PAPER, WALL, LINE, AGENT = (40, 40, 46), (255, 255, 255), (70, 74, 84), (214, 217, 222), (38, 98, 206)
GOOD, BAD = (26, 138, 76), (202, 48, 48)
ORANGE = (226, 132, 22)
PLANES = (AGENT, ORANGE, GOOD, BAD, (130, 82, 172), (20, 160, 170), (196, 86, 150))


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


def canvas(width: int, height: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """White, with a banner above for the caption; the image and its pen."""
    image = Image.new("RGB", (width, height + BANNER), PAPER)
    return image, ImageDraw.Draw(image)


def caption(draw: ImageDraw.ImageDraw, text: str) -> None:
    """The line above the picture."""
    draw.text((4, BANNER / 2), text, fill=INK, font=font(13), anchor="lm")


def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The default font at a size in pixels."""
    return ImageFont.load_default(size=size)


def box(y: int, x: int, margin: int) -> tuple[int, int, int, int]:
    """The square of a cell (left, top, right, bottom), so many pixels within it."""
    top, left = BANNER + y * CELL, x * CELL
    return left + margin, top + margin, left + CELL - margin, top + CELL - margin


def centre(y: int, x: int) -> tuple[float, float]:
    """The centre of a cell (x, y)."""
    return (x + 0.5) * CELL, BANNER + (y + 0.5) * CELL


def draw_tiles(draw: ImageDraw.ImageDraw, walls: np.ndarray) -> None:
    """The cells of a grid: `walls` [rows, columns] are dark."""
    for (y, x), wall in np.ndenumerate(walls):
        draw.rectangle(box(y, x, 0), fill=WALL if wall else PAPER, outline=LINE)


def draw_agent(draw: ImageDraw.ImageDraw, cell: tuple[int, int]) -> None:
    """A blue square on a cell (y, x)."""
    draw.rounded_rectangle(box(*cell, 3), radius=9, fill=AGENT)
    draw.text(centre(*cell), "A", fill=PAPER, font=font(18), anchor="mm")


def draw_disc(draw: ImageDraw.ImageDraw, cell: tuple[int, int], reward: float, there: bool = True) -> None:
    """What a cell (y, x) pays: green for gain and red for loss, an outline only while it is not there."""
    colour = GOOD if reward >= 0 else BAD
    # A clear disc for a full reward, a paler one for less.
    strength = 0.35 + 0.65 * min(abs(reward), 1.0)
    shade = tuple(round(255 + strength * (c - 255)) for c in colour)
    if not there:
        draw.ellipse(box(*cell, 7), outline=shade, width=2)
        return
    draw.ellipse(box(*cell, 7), fill=shade)
    text = f"{reward:+.0f}" if reward == round(reward) else f"{reward:+.2f}".replace("0.", ".")
    draw.text(centre(*cell), text, fill=PAPER if strength > 0.6 else INK, font=font(13), anchor="mm")
