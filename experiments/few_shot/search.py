"""What there is to be earned in GridNavi: by an agent that knows the goal, and by the best that does not."""

from typing import NamedTuple

import numpy as np

from experiments.few_shot.grid import AT_GOAL, ELSEWHERE, GridNavi


class Search(NamedTuple):
    """How a best agent looks for the goal."""

    route: np.ndarray  # [episodes, T] the cell after each step while the goal is not found
    returns: np.ndarray  # [episodes] means over goals


def known_goal(grid: GridNavi) -> float:
    """Mean over goals of the return of an episode that goes straight there."""
    return float(_return(grid, _straight(grid)[grid.goals].mean()))


def bayes_optimal(grid: GridNavi, episodes: int) -> Search:
    """The greatest undiscounted return of a trial, all goals equally likely, and how it is spread over the episodes.

    While the goal is not found every step shows the same, so a best agent follows one route; when it is found, the
    agent stays, and goes straight there in later episodes. Returns are linear in the number of steps at the goal, and
    what a route earns is a sum over the goals on it, each by when it is first reached: dynamic programming over (cell,
    goals passed) finds the best, exactly, in integers. Where several are best this is one of them.

    Args:
        grid: at most 40 goals; time and memory grow quickly with them.
        episodes: of the trial.
    """
    floor, _ = _best(grid, episodes, keep=2000, floor=0)
    _, route = _best(grid, episodes, keep=None, floor=floor)
    return Search(route, _return(grid, _steps_at_goal(grid, route).mean(0)))


def _return(grid: GridNavi, steps_at_goal: np.ndarray) -> np.ndarray:
    return AT_GOAL * steps_at_goal + ELSEWHERE * (grid.time_limit - steps_at_goal)


def _straight(grid: GridNavi) -> np.ndarray:
    """Steps at a goal that is known, for one in each cell."""
    rows, columns = np.divmod(np.arange(grid.size**2), grid.size)
    return np.maximum(grid.time_limit + 1 - rows - columns, 0)


def _steps_at_goal(grid: GridNavi, route: np.ndarray) -> np.ndarray:
    """Of an agent that follows a route until it finds the goal, [goals, episodes]."""
    episodes, T = route.shape
    straight = _straight(grid)
    steps = np.zeros((len(grid.goals), episodes), np.int64)
    for row, goal in zip(steps, grid.goals, strict=True):
        found = np.flatnonzero(route.ravel() == goal)
        if len(found):
            episode, step = divmod(int(found[0]), T)
            row[episode] = T - step
            row[episode + 1 :] = straight[goal]
    return steps


def _best(grid: GridNavi, episodes: int, keep: int | None, floor: int) -> tuple[int, np.ndarray]:
    """Search forwards: (steps at the goal, summed over goals; the route).

    Args:
        grid: the world.
        episodes: of the trial.
        keep: only so many states after each step, the most promising; all with None.
        floor: states that cannot come up to it are left out.
    """
    T, cells, n = grid.time_limit, grid.size**2, len(grid.goals)
    bit = np.full(cells, n)  # of a cell that is no goal: one that no set of goals has
    bit[grid.goals] = np.arange(n)
    straight = _straight(grid)
    now = np.tile(np.arange(T, 0, -1), episodes)  # steps at a goal in the episode that finds it, by the step that does
    after = np.repeat(np.arange(episodes)[::-1], T)  # episodes that follow
    now, after = (np.concatenate([values, np.zeros(n, np.int64)]) for values in (now, after))
    dearest = np.argsort(-straight[grid.goals])

    def bound(passed: np.ndarray, step: int) -> np.ndarray:
        """What is earned besides if each further step finds a goal, first those that later episodes gain most from."""
        rank, more = np.full(len(passed), step), np.zeros(len(passed), np.int64)
        for goal in dearest:
            missing = passed >> goal & 1 == 0
            rank = rank + missing
            more += np.where(missing, now[rank] + after[rank] * straight[grid.goals[goal]], 0)
        return more

    cell, passed, earned = (np.zeros(1, np.int64) for _ in range(3))
    past = []
    for step in range(episodes * T):
        if step % T == 0:
            cell = np.zeros_like(cell)
        parent = np.repeat(np.arange(len(cell)), grid.action_space.n)
        cell = grid.moves[cell].astype(np.int64).ravel()
        before, passed = passed[parent], (passed[parent] | 1 << bit[cell]) & (1 << n) - 1
        earned = earned[parent] + np.where(passed != before, now[step] + after[step] * straight[cell], 0)
        # Of those that are in the same cell and have passed the same goals, the one that has earned most.
        code = cell << n | passed
        order = np.lexsort((earned, code))
        kept = order[np.append(np.diff(code[order]) != 0, True)]
        hope = earned[kept] + bound(passed[kept], step)
        first = np.argsort(-hope, kind="stable")[:keep]
        kept = kept[first[hope[first] >= floor]]
        cell, passed, earned = cell[kept], passed[kept], earned[kept]
        past.append((cell, parent[kept]))
    at = int(np.argmax(earned))
    total, route = int(earned[at]), []
    for cells_then, parents in reversed(past):
        route.append(cells_then[at])
        at = parents[at]
    return total, np.array(route[::-1]).reshape(episodes, T)
