"""The work that an update of Disco103 is timed by, and how a process is timed in turn with others.

Needs NumPy alone, so that another project's interpreter can run it.
"""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True)
class Work:
    """An agent's network and what it learns from in one update."""

    steps: int
    """T, transitions."""
    trajectories: int
    """B."""
    hidden: tuple[int, ...]
    """Widths of the torso."""
    units: int
    """Of the model's LSTM and of the hidden layer of each of its heads."""
    agents: tuple[int, ...]
    """How many are timed, each number as one program."""
    board: int = 8
    """Observations are boards of so many cells a side, as Catch's."""
    actions: int = 3


WORKS = {
    "published": Work(28, 64, (512, 512), 128, (1,)),
    "small": Work(20, 4, (64, 64), 32, (1, 32)),
}
"""The published evaluation on Catch, where an agent's products alone keep a core busy; and agents of the size that
`metaobj train disco --preset disco-demo` trains many of.
"""


class MadeUp(NamedTuple):
    """A rollout of T + 1 time steps in which episodes of seven steps pay 1 or -1 at their end."""

    observations: np.ndarray  # [T + 1, B, board, board] float32
    actions: np.ndarray  # [T + 1, B] int32
    rewards: np.ndarray  # [T + 1, B] float32; each came with its observation
    ends: np.ndarray  # [T + 1, B] bool, whether its observation is an episode's last
    logits: np.ndarray  # [T + 1, B, A] float32 of the policy that acted


def made_up(work: Work, seed: int) -> MadeUp:
    """The same for everyone who asks with this seed."""
    random = np.random.default_rng(seed)
    shape = (work.steps + 1, work.trajectories)
    ends = np.broadcast_to(np.arange(1, shape[0] + 1)[:, None] % 7 == 0, shape)
    paid = np.where(random.random(shape) < 0.5, 1.0, -1.0)
    return MadeUp(
        (random.random((*shape, work.board, work.board)) < 0.05).astype(np.float32),
        random.integers(0, work.actions, shape, np.int32),
        np.where(ends, paid, 0.0).astype(np.float32),
        ends,
        (0.1 * random.standard_normal((*shape, work.actions))).astype(np.float32),
    )


def serve(update: Callable[[], Any], about: dict[str, Any]) -> None:
    """Compile, say so, then take so many updates as each line of the input asks for, and answer with the wall and CPU
    seconds of one. All that is written is JSON.
    """
    begun = time.perf_counter()
    for _ in range(3):  # the first calls find memory that the system has not handed out yet
        update()
    _say({"first_seconds": time.perf_counter() - begun, **about})
    for line in sys.stdin:
        number = int(line)
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(number):
            update()
        _say({"wall": (time.perf_counter() - wall) / number, "cpu": (time.process_time() - cpu) / number})


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)
