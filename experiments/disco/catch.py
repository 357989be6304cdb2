"""Disco103 on Catch, beside what the published implementation did there.

    python -m experiments.disco.catch

A board of 8 x 8: a ball falls from a random column, a paddle moves left, right or not at all, and the last of seven
actions pays 1 or -1. As in the published run: 2 environments, rollouts of 28 steps into a store of 1024 trajectories,
one update on 64 of them for each rollout, networks of 512-512 and a model of 128, a learning rate of 0.01.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import struct
from rich.console import Console
from rich.table import Table

from experiments.script import run_script
from metaobj.common.agents.agent import AgentConfig
from metaobj.common.devices import use_all_cores
from metaobj.common.environments.protocol import Box, Discrete
from metaobj.common.evaluation.follow import follow
from metaobj.common.files import make_folder, write_csv
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives.contestants import learned
from metaobj.common.objectives.loading import load_objective
from metaobj.common.pictures.style import COLOURS, new_figure, save_figure, set_title, style_panel
from metaobj.common.types import PRNGKey

SIZE = 8
ACTIONS = SIZE - 1
"""Of an episode."""
PUBLISHED = Path("experiments/results/disco/published_catch.csv")
WINDOW = 50
"""Iterations that a point of the published curves is of."""


@struct.dataclass
class State:
    """An episode in progress."""

    ball: jax.Array  # [2] int32, row and column
    paddle: jax.Array  # [] int32


@dataclass(frozen=True)
class Catch:
    """See above; observations are the board."""

    @property
    def observation_space(self) -> Box:
        return Box((SIZE, SIZE), 0.0, 1.0)

    @property
    def action_space(self) -> Discrete:
        return Discrete(3)

    def _observe(self, state: State) -> jax.Array:
        board = jnp.zeros((SIZE, SIZE)).at[state.ball[0], state.ball[1]].set(1.0)
        return board.at[SIZE - 1, state.paddle].set(1.0)

    def reset(self, key: PRNGKey, params: Any) -> tuple[jax.Array, State]:
        column = jax.random.randint(key, (), 0, SIZE)
        state = State(jnp.stack([jnp.zeros_like(column), column]), jnp.int32(SIZE // 2))
        return self._observe(state), state

    def step(self, key: PRNGKey, state: State, action: jax.Array, params: Any) -> tuple[Any, ...]:
        paddle = jnp.clip(state.paddle + action - 1, 0, SIZE - 1).astype(jnp.int32)
        after = State(state.ball.at[0].add(1), paddle)
        over = after.ball[0] == SIZE - 1
        reward = jnp.where(over, jnp.where(after.ball[1] == paddle, 1.0, -1.0), 0.0)
        return self._observe(after), after, reward, over, jnp.zeros((), bool), {}


CATCH = Catch()


@dataclass(frozen=True)
class Arguments:
    """Disco103 on Catch."""

    seeds: int = 3
    iterations: int = 1000
    learning_rate: float = 0.01
    hidden: tuple[int, ...] = (512, 512)
    out: Path = Path("experiments/results/disco/catch")
    """Folder of the table and the picture."""


def published() -> dict[int, list[tuple[int, float]]]:
    """By seed, (iteration, share that was caught)."""
    curves: dict[int, list[tuple[int, float]]] = {}
    with PUBLISHED.open(newline="") as file:
        for row in csv.DictReader(file):
            curves.setdefault(int(row["seed"]), []).append((int(row["iteration"]), float(row["catch_rate_in_window"])))
    return curves


def main() -> None:
    """Learn; table, CSV file, picture."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    loaded = load_objective("pretrained:disco103")
    method = learned(replace(loaded, config=replace(loaded.config, rollout_steps=28)))
    agent = AgentConfig("dense", hidden=arguments.hidden)
    entry = Entry("experiments.disco.catch:CATCH", 1, 2, arguments.iterations, split="any", agent=agent)
    bins = max(arguments.iterations // WINDOW, 1)
    seen = follow(method, entry, {"learning_rate": arguments.learning_rate}, arguments.seeds, bins)
    caught = (seen.values["reward"] * ACTIONS + 1.0) / 2.0  # [seeds, bins]
    at = (np.arange(bins) + 1) * arguments.iterations // bins
    theirs = published()
    table = Table("Agent", "above 90 % after so many iterations", "caught at the end")
    for name, curves in (
        ("here", [list(zip(at.tolist(), row.tolist(), strict=True)) for row in caught]),
        ("published", list(theirs.values())),
    ):
        for seed, curve in enumerate(curves):
            first = next((iteration for iteration, share in curve if share > 0.9), None)
            table.add_row(f"{name}, {seed}", str(first or "never"), f"{curve[-1][1]:.3f}")
    make_folder(arguments.out)
    rows = [(seed, int(i), float(share)) for seed, row in enumerate(caught) for i, share in zip(at, row, strict=True)]
    write_csv(arguments.out / "catch.csv", ("seed", "iteration", "caught"), rows)
    figure = new_figure(6.4, 3.6)
    panel = figure.subplots()
    for seed, curve in theirs.items():
        label = "published implementation" if seed == 0 else None
        panel.plot(*zip(*curve, strict=True), color=COLOURS[1], linewidth=1.2, label=label)
    for seed, row in enumerate(caught):
        panel.plot(at, row, color=COLOURS[0], linewidth=1.6, label="metaobj" if seed == 0 else None)
    panel.set_ylim(0, 1.03)
    panel.legend(frameon=False)
    style_panel(panel, "", "iterations, 58 or 56 environment steps each", "caught")
    set_title(
        figure, "Disco103 on Catch", f"{len(theirs)} and {arguments.seeds} agents; windows of {WINDOW} iterations"
    )
    save_figure(figure, arguments.out / "catch.png")
    Console(width=100).print(table)


if __name__ == "__main__":
    run_script(main)
