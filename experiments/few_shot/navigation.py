"""MAML in 2-D navigation: parameters meta-trained to adapt, ones trained for all goals at once, and new ones.

    python -m experiments.few_shot.navigation

Finn et al. 2017, section 5.3. What is told is the return before and after one to three policy gradients in a task, each
from 20 episodes, on goals that no training has drawn.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import tyro
from matplotlib.axes import Axes
from rich.console import Console
from rich.table import Table

from experiments.few_shot.maml import Experience, Learner, train
from experiments.few_shot.plane import Plane
from experiments.intervals import band, told
from experiments.script import run_script
from metaobj.common.devices import quick_jit, use_all_cores
from metaobj.common.files import make_folder, write_csv
from metaobj.common.keys import Purpose, stream
from metaobj.common.pictures.style import (
    COLOURS,
    MUTED,
    add_legend,
    grid_of_panels,
    save_figure,
    set_title,
    style_panel,
)
from metaobj.common.types import PRNGKey, PyTree

MAML = Learner(Plane())
TOGETHER = replace(MAML, inner_steps=0, tasks=2 * MAML.tasks)  # as many environment steps
STARTS = {"MAML": MAML, "trained for all goals": TOGETHER, "new": None}
RATES = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Of the first policy gradient in a task; further ones have half of it."""


@dataclass(frozen=True)
class Arguments:
    """MAML in 2-D navigation."""

    seeds: int = 3
    """Starts of each kind."""
    updates: int = 60
    """Meta-updates, of 80 000 environment steps at most."""
    steps: int = 3
    """Policy gradients in a task after training."""
    goals: int = 30
    """Held out; and as many others, on which each kind's rate is chosen, by the return after one step."""
    out: Path = Path("experiments/results/few_shot/navigation")
    """Folder of the tables and the picture."""


class Adapted(NamedTuple):
    """What a start makes of some goals, before and after each step of adapting."""

    goals: jax.Array  # [goals, 2]
    experience: tuple[Experience, ...]  # each with a leading axis of the goals
    returns: jax.Array  # [goals, 1 + steps]


@quick_jit(static_argnums=(0, 1))
def adapted(steps: int, goals: int, params: PyTree, key: PRNGKey, rate: float) -> Adapted:
    """Adapt to so many goals, drawn by the key."""
    task_key, key = jax.random.split(key)
    tasks = MAML.draw_tasks(task_key, goals)
    live = partial(MAML.live, rates=[rate] + [rate / 2] * (steps - 1))
    experience, returns = jax.vmap(live, (None, 0, 0))(params, jax.random.split(key, goals), tasks)
    return Adapted(tasks, experience, returns.mean(-1))


def tested(run: Callable[..., Adapted], starts: list[PyTree], purpose: Purpose, rate: float) -> np.ndarray:
    """Mean returns over goals of each seed's start, [seeds, 1 + steps]; the goals are the same for all."""
    return np.stack([run(start, stream(0, purpose), rate).returns.mean(0) for start in starts])


def main() -> None:
    """Train, adapt; table, CSV files, picture."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    run = partial(adapted, arguments.steps, arguments.goals)
    table = Table("Start", "Rate", "Before", *(f"After {step + 1}" for step in range(arguments.steps)))
    results: dict[str, np.ndarray] = {}  # [seeds, 1 + steps]
    tried: dict[str, np.ndarray] = {}  # [rates, seeds]
    curves: dict[str, list[np.ndarray]] = {}
    rows: list[tuple[object, ...]] = []
    for name, learner in STARTS.items():
        starts = []
        for seed in range(arguments.seeds):
            if learner is None:
                starts.append(MAML.init(jax.random.key(seed)))
                continue
            params, curve = train(learner, arguments.updates, jax.random.key(seed))
            starts.append(params)
            curves.setdefault(name, []).append(np.asarray(curve))

        tried[name] = np.stack([tested(run, starts, "tuning", rate)[:, 1] for rate in RATES])
        rate = RATES[int(np.argmax(np.nan_to_num(tried[name].mean(1), nan=-np.inf)))]
        results[name] = tested(run, starts, "test", rate)
        table.add_row(name, f"{rate:g}", *(told(values, 1) for values in results[name].T))
        rows += [(name, rate, seed, *row) for seed, row in enumerate(results[name])]
        if learner is MAML:
            shown = run(starts[0], stream(0, "test"), MAML.inner_rate)
    make_folder(arguments.out)
    write_csv(
        arguments.out / "returns.csv",
        ("start", "rate", "seed", "before", *(f"after_{step + 1}" for step in range(arguments.steps))),
        rows,
    )
    chances = [
        (name, RATES[at], seed, float(value))
        for name, values in tried.items()
        for (at, seed), value in np.ndenumerate(values)
    ]
    write_csv(arguments.out / "rates.csv", ("start", "rate", "seed", "after_1"), chances)
    points = [
        (name, seed, at + 1, *map(float, row), *[""] * (2 - len(row)))
        for name, values in curves.items()
        for seed, curve in enumerate(values)
        for at, row in enumerate(curve)
    ]
    write_csv(arguments.out / "curves.csv", ("start", "seed", "updates", "before", "after"), points)
    draw(arguments.out / "navigation.png", results, tried, shown)
    Console(width=140).print(table)


def draw(path: Path, results: dict[str, np.ndarray], tried: dict[str, np.ndarray], shown: Adapted) -> None:
    """Returns by steps of adapting and by the rate of the first, and the ways that MAML's first seed goes.

    Args:
        path: of the PNG.
        results: [seeds, 1 + steps] of each start.
        tried: [rates, seeds] of each start, returns after one step.
        shown: of MAML's first seed.
    """
    figure, (by_step, by_rate, ways) = grid_of_panels(3, 3.7, 3.1, 3)
    for colour, values in zip(COLOURS, results.values(), strict=False):
        steps = np.arange(values.shape[1])
        band(by_step, steps, values, colour, linewidth=1.8, marker="o", markersize=4)
    by_step.set_xticks(steps)
    for colour, values in zip(COLOURS, tried.values(), strict=False):
        by_rate.plot(RATES, values, color=colour, linewidth=0.9)
        by_rate.plot(RATES, values.mean(1), color=colour, linewidth=1.8, marker="o", markersize=4)
    by_rate.set_xscale("log")
    by_rate.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    by_rate.minorticks_off()
    for panel in (by_step, by_rate):
        panel.set_ylim(-75, 0)
    style_panel(by_step, "held-out goals", "policy gradients in the task", "return of an episode")
    style_panel(by_rate, "other goals, after one, each seed", "rate of the policy gradient", "return of an episode")
    _draw_ways(ways, shown)
    style_panel(ways, "MAML to six goals", grid_axis=None)
    add_legend(figure, [*results])
    set_title(
        figure, "2-D navigation: starts that adapt", "right: one episode to each goal, before (grey) and after one step"
    )
    save_figure(figure, path)


def _draw_ways(panel: Axes, shown: Adapted) -> None:
    for at, goal in enumerate(np.asarray(shown.goals[:6])):
        for stage, width in ((0, 0.6), (1, 1.3)):
            seen = jax.tree.map(lambda leaf, at=at: np.asarray(leaf[at, :, 0]), shown.experience[stage])  # one episode
            way = seen.observation[seen.valid]
            panel.plot(*way.T, color=COLOURS[at] if stage else MUTED, linewidth=width, alpha=0.8)
        panel.plot(*goal, "*", color=COLOURS[at], markersize=11, markeredgecolor="white")
    panel.set(xlim=(-0.8, 0.8), ylim=(-0.8, 0.8), aspect="equal", xticks=(-0.5, 0, 0.5), yticks=(-0.5, 0, 0.5))


if __name__ == "__main__":
    run_script(main)
