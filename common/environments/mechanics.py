"""Pictures of carts, rods and hills: bodies in a plane, seen from the side."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from metaobj.common.environments.drawing import AGENT, GOOD, INK, LINE, ORANGE, PAPER, WALL

WIDTH, HEIGHT = 300, 200
Point = tuple[float, float]


class Scene:
    """A part of the plane, `span` wide around `middle`, as a picture of so many rows; heights go up."""

    def __init__(self, span: float, middle: Point = (0.0, 0.0), height: int = HEIGHT):
        self.image = Image.new("RGB", (WIDTH, height), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.scale, self.middle = WIDTH / span, middle

    def at(self, point: Point) -> Point:
        """Where a point of the plane is in the picture."""
        x, y = ((a - b) * self.scale for a, b in zip(point, self.middle, strict=True))
        return WIDTH / 2 + x, self.image.height / 2 - y

    def level(self, height: float, colour: tuple[int, int, int] = LINE) -> None:
        """A line across the picture."""
        y = self.at((0.0, height))[1]
        self.draw.line((0, y, WIDTH, y), fill=colour, width=2)

    def rods(self, points: Sequence[Point], width: int = 7, colour: tuple[int, int, int] = INK) -> None:
        """From point to point, with a joint at the start of each."""
        seen = [self.at(point) for point in points]
        self.draw.line(seen, fill=colour, width=width, joint="curve")
        for x, y in seen[:-1]:
            disc(self.draw, x, y, width / 2 + 2, AGENT)

    def disc(self, point: Point, radius: float, colour: tuple[int, int, int] = AGENT) -> None:
        """A disc of so many pixels."""
        disc(self.draw, *self.at(point), radius, colour)

    def array(self) -> np.ndarray:
        """Uint8 [height, width, 3]."""
        return np.asarray(self.image)


def disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
    """In pixels."""
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def cart_and_pole(position: float, angle: float, length: float, track: float) -> np.ndarray:
    """A pole of a length, at an angle from upright, on a cart; the track ends at both sides."""
    reach = 1.2 * length  # on either side of the track
    scene = Scene(2.4 * track, height=max(round(2 * reach * WIDTH / (2.4 * track)), 100))
    scene.level(0.0)
    for end in (-track, track):
        x, y = scene.at((end, 0.0))
        scene.draw.line((x, y - 10, x, y + 10), fill=WALL, width=3)
    x, y = scene.at((position, 0.0))
    scene.draw.rounded_rectangle((x - 22, y - 11, x + 22, y + 11), radius=5, fill=WALL)
    tip = position + length * np.sin(angle), length * np.cos(angle)
    scene.rods([(position, 0.0), tip], colour=ORANGE)
    return scene.array()


def hanging(angles: Sequence[float], lengths: Sequence[float], goal: float | None = None) -> np.ndarray:
    """Rods that hang from a point, each at an angle from straight down, and the height that the tip is to reach."""
    reach = sum(lengths)
    scene = Scene(2.2 * reach * WIDTH / HEIGHT)
    if goal is not None:
        scene.level(goal, GOOD)
    points: list[Point] = [(0.0, 0.0)]
    for angle, length in zip(angles, lengths, strict=True):
        x, y = points[-1]
        points.append((x + length * float(np.sin(angle)), y - length * float(np.cos(angle))))
    scene.rods(points)
    scene.disc(points[-1], 6, ORANGE)
    return scene.array()


def hill(position: float, low: float, high: float, goal: float) -> np.ndarray:
    """A car in the valley of sin(3 x), and the flag."""

    def height(x: float) -> float:
        return 0.45 * float(np.sin(3 * x))

    scene = Scene((high - low) * 1.05, ((low + high) / 2, 0.05))
    ground = [scene.at((x, height(x))) for x in np.linspace(low, high, 80)]
    scene.draw.line(ground, fill=WALL, width=3)
    x, y = scene.at((goal, height(goal)))
    scene.draw.line((x, y, x, y - 28), fill=INK, width=2)
    scene.draw.polygon([(x, y - 28), (x + 16, y - 22), (x, y - 16)], fill=GOOD)
    x, y = scene.at((position, height(position)))
    disc(scene.draw, x, y - 9, 9, AGENT)
    return scene.array()


def plane(position: Sequence[float], velocity: Sequence[float], wall: float) -> np.ndarray:
    """A mass between walls, where it goes, and the origin, where it is to rest."""
    scene = Scene(2.2 * wall * WIDTH / HEIGHT)
    scene.draw.rectangle((*scene.at((-wall, wall)), *scene.at((wall, -wall))), outline=WALL, width=3)
    x, y = scene.at((0.0, 0.0))
    scene.draw.ellipse((x - 9, y - 9, x + 9, y + 9), outline=GOOD, width=3)
    ahead = position[0] + 0.5 * velocity[0], position[1] + 0.5 * velocity[1]
    scene.draw.line((*scene.at((position[0], position[1])), *scene.at(ahead)), fill=INK, width=2)
    scene.disc((position[0], position[1]), 8)
    return scene.array()


def cells(rows: int, columns: int, filled: dict[tuple[int, int], tuple[int, int, int]]) -> np.ndarray:
    """A board of cells (row, column), some of them in a colour."""
    side = HEIGHT // max(rows, columns)
    image = Image.new("RGB", (side * columns + 1, side * rows + 1), PAPER)
    draw = ImageDraw.Draw(image)
    for row in range(rows):
        for column in range(columns):
            top, left = row * side, column * side
            colour = filled.get((row, column), PAPER)
            draw.rectangle((left, top, left + side, top + side), fill=colour, outline=LINE)
    return np.asarray(image)
