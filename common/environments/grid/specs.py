"""The named grid worlds of LPG and of its successors, and two distributions of small ones.

Oh et al. 2020 (arXiv 2007.08794) for the ten named worlds; Jackson et al. 2023 (arXiv 2310.02782) for the random small
ones. `GRID_NAMES` lists them; `make_grid(name)` gives the environment and its distribution of worlds.
"""

from collections.abc import Sequence
from math import comb
from typing import TypeAlias

import numpy as np

from metaobj.common.environments.grid.params import GridSpec
from metaobj.common.environments.grid.world import GridWorld
from metaobj.common.environments.splits import SPLITS, Split
from metaobj.common.errors import UserError

Range: TypeAlias = float | tuple[float, float]
"""A fixed number, or (low, high)."""
Object: TypeAlias = tuple[Range, Range, Range]
"""(reward, probability that its collection ends the episode, probability per step that it comes back)."""

TABULAR = GridWorld(height=13, width=13, num_objects=7, num_states=2**7 * 7 * 9)
"""Holds all tabular worlds; "longer horizon" has the most states."""
SMALL = GridWorld(height=7, width=7, num_objects=4, num_states=2**4 * 7 * 7)
"""Holds the tabular worlds of up to 7x7 cells with up to four objects: hundreds of agents fit in little memory."""
SMALL_MOVING = GridWorld(height=6, width=6, num_objects=3, num_states=0, moving_objects=True)
"""Holds the worlds of up to 6x6 cells whose objects move."""
MOVING = GridWorld(height=11, width=11, num_objects=4, num_states=0, moving_objects=True)
"""Holds all worlds whose objects move."""

LONGER_HORIZON_WALLS = ("000010000", "000000000", "000010000", "000111000", "000010000", "000000000", "000010000")
SMALL_WALLS = ("0000000", "0010000", "0000000", "0000100", "0000000")
FOUR_ROOMS_WALLS = tuple(
    "".join(str(int((x == 5 and y not in (0, 7)) or (y == 4 and x not in (2, 8)))) for x in range(11))
    for y in range(11)
)

_DENSE: list[Object] = [(1, 0, 0.05), (1, 0, 0.05), (-1, 0.5, 0.1), (-1, 0, 0.5)]
_LONG: list[Object] = [(1, 0, 0.01), (1, 0, 0.01), (-1, 0.5, 1), (-1, 0.5, 1)]
_ANY_OBJECT: Object = ((-1, 1), (0.01, 1), (0.001, 0.1))


def grid_spec(
    environment: GridWorld,
    *,
    height: int | tuple[int, int],
    width: int | tuple[int, int],
    objects: Sequence[Object],
    max_steps: int | tuple[int, int],
    walls: Sequence[str] = (),
    max_random_walls: int = 0,
    min_objects: int | None = None,
    step_reward: Range = 0.0,
    reward_scale: Range = 1.0,
    slip: Range = 0.0,
    split: Split = "any",
) -> GridSpec:
    """A distribution of worlds, padded for `environment`.

    Args:
        environment: the padding.
        height: rows, a number or (low, high).
        width: columns, likewise, drawn independently of the rows.
        objects: the first `k` of them exist, k uniform from `min_objects` to all.
        max_steps: time limit, a number or (low, high) for a log-uniform draw.
        walls: rows of "0" and "1" that are always walls.
        max_random_walls: up to so many more.
        min_objects: default all.
        step_reward: paid on every step.
        reward_scale: all rewards of a world are multiplied by it; (low, high) for a log-uniform draw.
        slip: probability that a move is drawn uniformly, whatever was chosen.
        split: "training" and "held_out" have no world in common; "any" has both.

    Raises:
        UserError: a field is out of range or the worlds do not fit the environment.
    """
    heights, widths, steps = _pair(height), _pair(width), _pair(max_steps)
    N = environment.num_objects
    fewest = len(objects) if min_objects is None else min_objects
    if split not in SPLITS:
        raise UserError(f"split: {split!r} is unknown; choose from {', '.join(SPLITS)}")
    if not (1 <= heights[0] <= heights[1] <= environment.height and 1 <= widths[0] <= widths[1] <= environment.width):
        raise UserError(f"height, width: {height} x {width} do not fit {environment.height} x {environment.width}")
    if not 1 <= fewest <= len(objects) <= N:
        raise UserError(f"objects: {fewest} to {len(objects)} given, allowed are 1 to {N}")
    if not 1 <= steps[0] <= steps[1]:
        raise UserError(f"max_steps: {max_steps} is not a positive number or (low, high)")
    if not environment.moving_objects and 2 ** len(objects) * heights[1] * widths[1] > environment.num_states:
        states = 2 ** len(objects) * heights[1] * widths[1]
        raise UserError(
            f"num_states: worlds have up to {states} states, the environment holds {environment.num_states}"
        )
    if max_random_walls < 0:
        raise UserError(f"max_random_walls: {max_random_walls} is negative")
    padded_walls = np.zeros((environment.height, environment.width), bool)
    for y, row in enumerate(walls):
        padded_walls[y, : len(row)] = [cell == "1" for cell in row]
    # Random walls leave the last cells free (see `params`), so only the fixed walls count here.
    free = heights[0] * widths[0] - int(np.sum(padded_walls[: heights[0], : widths[0]]))
    if free < len(objects) + 4:
        raise UserError(f"objects: {len(objects)} need {len(objects) + 4} free cells, the smallest world has {free}")
    layouts = comb(heights[1] * widths[1] - int(np.sum(padded_walls)), len(objects))
    if split != "any" and not environment.moving_objects and layouts < 100:
        raise UserError(f"split: the largest world's {layouts} layouts are too few to be split; 100 are needed")

    def numbers(which: int, name: str, least: float, most: float) -> np.ndarray:
        ranges = np.zeros((2, N), np.float32)  # [low or high, N]
        for i, thing in enumerate(objects):
            low, high = _pair(thing[which])
            # A log-uniform range cannot start at zero.
            if not least <= low <= high <= most or (which > 0 and low == 0 < high):
                raise UserError(f"objects[{i}]: {name} {thing[which]} is not in {least} to {most}, or its low is zero")
            ranges[:, i] = low, high
        return ranges

    least_scale, most_scale = _pair(reward_scale)
    if not 0 < least_scale <= most_scale < np.inf:
        raise UserError(f"reward_scale: {reward_scale} is not a positive number or (low, high)")
    least_slip, most_slip = _pair(slip)
    if not 0 <= least_slip <= most_slip <= 1:
        raise UserError(f"slip: {slip} is not a probability or (low, high)")
    least_reward, most_reward = _pair(step_reward)
    if not -np.inf < least_reward <= most_reward < np.inf:
        raise UserError(f"step_reward: {step_reward} is not a finite number or (low, high)")

    return GridSpec(
        height=np.array(heights, np.int32),
        width=np.array(widths, np.int32),
        walls=padded_walls,
        max_random_walls=np.array(max_random_walls, np.int32),
        num_objects=np.array([fewest, len(objects)], np.int32),
        object_rewards=numbers(0, "reward", -np.inf, np.inf),
        end_probability=numbers(1, "end probability", 0.0, 1.0),
        return_probability=numbers(2, "return probability", 0.0, 1.0),
        step_reward=np.array([least_reward, most_reward], np.float32),
        reward_scale=np.array([least_scale, most_scale], np.float32),
        slip=np.array([least_slip, most_slip], np.float32),
        max_steps=np.array(steps, np.int32),
        split=np.array(SPLITS[split], np.int32),
    )


def dense(split: Split = "any") -> GridSpec:
    """Tabular, 11x11, objects that come back soon."""
    return grid_spec(TABULAR, height=11, width=11, objects=_DENSE, max_steps=500, split=split)


def sparse(split: Split = "any") -> GridSpec:
    """Tabular, 13x13, one good and one bad object, either ends the episode."""
    return grid_spec(TABULAR, height=13, width=13, objects=[(1, 1, 0), (-1, 1, 0)], max_steps=50, split=split)


def long_horizon(split: Split = "any") -> GridSpec:
    """Tabular, 11x11, good objects come back rarely, bad ones at once."""
    return grid_spec(TABULAR, height=11, width=11, objects=_LONG, max_steps=1000, split=split)


def longer_horizon(split: Split = "any") -> GridSpec:
    """Tabular, 7x9 with walls, two good objects among five bad ones."""
    good: Object = (1, 0.1, 0.01)
    bad: Object = (-1, 0.8, 1)
    objects, walls = [good] * 2 + [bad] * 5, LONGER_HORIZON_WALLS
    return grid_spec(TABULAR, height=7, width=9, objects=objects, max_steps=2000, walls=walls, split=split)


def long_dense(split: Split = "any") -> GridSpec:
    """Tabular, four rooms, four good objects that come back rarely."""
    objects: list[Object] = [(1, 0, 0.005)] * 4
    return grid_spec(TABULAR, height=11, width=11, objects=objects, max_steps=2000, walls=FOUR_ROOMS_WALLS, split=split)


def random_small_worlds(split: Split = "any") -> GridSpec:
    """Tabular, all numbers random: 4 to 10 cells a side, 1 to 5 objects, up to 15 walls, 20 to 750 steps.

    The first object's reward is positive, so that every world has something to gain.
    """
    first: Object = ((0, 1), *_ANY_OBJECT[1:])
    return grid_spec(
        TABULAR,
        height=(4, 10),
        width=(4, 10),
        objects=[first] + [_ANY_OBJECT] * 4,
        max_steps=(20, 750),
        max_random_walls=15,
        min_objects=1,
        split=split,
    )


def random_dense(split: Split = "any") -> GridSpec:
    """Moving objects, numbers as in `dense`."""
    return grid_spec(MOVING, height=11, width=11, objects=_DENSE, max_steps=500, split=split)


def random_long_horizon(split: Split = "any") -> GridSpec:
    """Moving objects, numbers as in `long_horizon`."""
    return grid_spec(MOVING, height=11, width=11, objects=_LONG, max_steps=1000, split=split)


def random_small(split: Split = "any") -> GridSpec:
    """Moving objects, 5x7 with two walls."""
    objects: list[Object] = [(1, 0, 0.05), (1, 0, 0.05), (-1, 0.5, 0.1), (-1, 0.5, 0.1)]
    return grid_spec(MOVING, height=5, width=7, objects=objects, max_steps=500, walls=SMALL_WALLS, split=split)


def random_small_sparse(split: Split = "any") -> GridSpec:
    """Moving objects, 5x7, the first object collected ends the episode."""
    objects: list[Object] = [(1, 1, 1), (-1, 1, 1), (-1, 1, 1)]
    return grid_spec(MOVING, height=5, width=7, objects=objects, max_steps=50, split=split)


def random_very_dense(split: Split = "any") -> GridSpec:
    """Moving objects, 11x11, one good object that is always back in the next step."""
    return grid_spec(MOVING, height=11, width=11, objects=[(1, 0, 1)], max_steps=2000, split=split)


def small_layouts(
    height: int = 5,
    width: int = 5,
    objects: Sequence[Object] = ((1, 0, 0.1), (1, 0, 0.05), (-1, 0.3, 0.1)),
    max_steps: int = 100,
    max_random_walls: int = 0,
    split: Split = "any",
) -> tuple[GridWorld, GridSpec]:
    """A small environment of its own padding, for quick experiments: only the objects' cells (and walls) vary."""
    environment = GridWorld(height, width, len(objects), num_states=2 ** len(objects) * height * width)
    spec = grid_spec(
        environment,
        height=height,
        width=width,
        objects=objects,
        max_steps=max_steps,
        max_random_walls=max_random_walls,
        split=split,
    )
    return environment, spec


_SCALES = (0.1, 10.0)
_HAZARD: Object = ((-1, 0), 1, 0)
_GOAL: Object = ((0, 1), 1, 0)


def any_small(environment: GridWorld, split: Split = "any") -> GridSpec:
    """Small worlds with all numbers random, those of rewards included: how large they are, and a little on every step.

    The first object's reward is positive.
    """
    most = environment.num_objects
    first: Object = ((0.2, 1), *_ANY_OBJECT[1:])
    return grid_spec(
        environment,
        height=(4, environment.height),
        width=(4, environment.width),
        objects=[first] + [_ANY_OBJECT] * (most - 1),
        min_objects=1,
        max_steps=(20, 500),
        max_random_walls=6,
        step_reward=(-0.1, 0.1),
        reward_scale=_SCALES,
        slip=(0, 0.3),
        split=split,
    )


def survive(environment: GridWorld, split: Split = "any") -> GridSpec:
    """Small worlds with a reward on every step until a hazard ends the episode. The agent slips: it must keep clear."""
    most = environment.num_objects
    return grid_spec(
        environment,
        height=(4, environment.height),
        width=(4, environment.width),
        objects=[_HAZARD] * most,
        min_objects=most - 1,
        max_steps=(50, 500),
        max_random_walls=4,
        step_reward=1.0,
        reward_scale=_SCALES,
        slip=(0.05, 0.4),
        split=split,
    )


def negative(environment: GridWorld, split: Split = "any") -> GridSpec:
    """Small worlds with a cost on every step until a goal is found; further goals may be worth more or less."""
    return grid_spec(
        environment,
        height=(4, environment.height),
        width=(4, environment.width),
        objects=[_GOAL] * (environment.num_objects - 1),
        min_objects=1,
        max_steps=(50, 500),
        max_random_walls=6,
        step_reward=-1.0,
        reward_scale=_SCALES,
        slip=(0, 0.4),
        split=split,
    )


_SMALL_SPECS = {"any_small": any_small, "survive": survive, "negative": negative}
_TABULAR_SPECS = {
    "dense": dense,
    "sparse": sparse,
    "long_horizon": long_horizon,
    "longer_horizon": longer_horizon,
    "long_dense": long_dense,
    "random_small_worlds": random_small_worlds,
}
_MOVING_SPECS = {
    "random_dense": random_dense,
    "random_long_horizon": random_long_horizon,
    "random_small": random_small,
    "random_small_sparse": random_small_sparse,
    "random_very_dense": random_very_dense,
}
GRID_NAMES = (
    *_TABULAR_SPECS,
    *_MOVING_SPECS,
    "small_layouts",
    *_SMALL_SPECS,
    *(f"moving_{name}" for name in _SMALL_SPECS),
)


def make_grid(name: str, split: Split = "any") -> tuple[GridWorld, GridSpec]:
    """The environment and the distribution of worlds of a name in `GRID_NAMES`.

    Raises:
        UserError: the name or the split is unknown.
    """
    if name in _TABULAR_SPECS:
        return TABULAR, _TABULAR_SPECS[name](split)
    if name in _MOVING_SPECS:
        return MOVING, _MOVING_SPECS[name](split)
    if name == "small_layouts":
        return small_layouts(split=split)
    if name in _SMALL_SPECS:
        return SMALL, _SMALL_SPECS[name](SMALL, split)
    if (kind := name.removeprefix("moving_")) in _SMALL_SPECS:
        return SMALL_MOVING, _SMALL_SPECS[kind](SMALL_MOVING, split)
    raise UserError(f"grid: {name!r} is unknown; choose from {', '.join(GRID_NAMES)}")


def _pair(value: float | tuple[float, float]) -> tuple:
    """(low, high) of a range, or of a fixed number."""
    return value if isinstance(value, tuple) else (value, value)
