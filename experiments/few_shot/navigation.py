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
from metaobj.common.devices import quick_jit, use_all_cores
from metaobj.common.evaluation.bootstrap import stratified_bootstrap
from metaobj.common.evaluation.statistics import mean
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
RATES = (0.025, 0.05, 0.1, 0.2, 0.5, 1.0)


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
    """Held out, for each seed; and as many others, on which each kind's rate of adapting is chosen."""
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
    learner = replace(MAML, inner_steps=steps)
    task_key, key = jax.random.split(key)
    tasks = learner.draw_tasks(task_key, goals)
    experience, returns = jax.vmap(learner.live, (None, 0, 0, None))(params, jax.random.split(key, goals), tasks, rate)
    return Adapted(tasks, experience, returns.mean(-1))


def tested(run: Callable[..., Adapted], starts: list[PyTree], purpose: Purpose, rate: float) -> np.ndarray:
    """Mean returns over goals of each seed's start, [seeds, 1 + steps]; each seed has its own goals."""
    keys = [stream(seed, purpose) for seed in range(len(starts))]
    return np.stack([run(start, key, rate).returns.mean(0) for start, key in zip(starts, keys, strict=True)])


def told(values: np.ndarray) -> str:
    """The mean over seeds with its interval, in words."""
    point, low, high = map(float, stratified_bootstrap(values[None], mean))
    return f"{point:.1f} [{low:.1f}, {high:.1f}]"


def main() -> None:
    """Train, adapt; table, CSV files, picture."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    run = partial(adapted, arguments.steps, arguments.goals)
    table = Table("Start", "Rate", "Before", *(f"After {step + 1}" for step in range(arguments.steps)))
    results: dict[str, np.ndarray] = {}  # [seeds, 1 + steps]
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

        tried = {rate: tested(run, starts, "tuning", rate)[:, 1:].mean() for rate in RATES}
        rate = max(RATES, key=lambda rate: np.nan_to_num(tried[rate], nan=-np.inf))
        results[name] = tested(run, starts, "test", rate)
        table.add_row(name, f"{rate:g}", *map(told, results[name].T))
        rows += [(name, rate, seed, *row) for seed, row in enumerate(results[name])]
        if learner is MAML:
            shown = run(starts[0], stream(0, "test"), rate)
    make_folder(arguments.out)
    write_csv(
        arguments.out / "returns.csv",
        ("start", "rate", "seed", "before", *(f"after_{step + 1}" for step in range(arguments.steps))),
        rows,
    )
    draw(arguments.out / "navigation.png", results, np.stack(curves["MAML"]), shown)
    Console(width=120).print(table)


def draw(path: Path, results: dict[str, np.ndarray], curve: np.ndarray, shown: Adapted) -> None:
    """Returns by steps of adapting, MAML over its training, and the ways that its first seed goes.

    Args:
        path: of the PNG.
        results: [seeds, 1 + steps] of each start.
        curve: [seeds, updates, 2], returns before and after adapting.
        shown: of MAML's first seed.
    """
    figure, (by_step, learning, ways) = grid_of_panels(3, 3.7, 3.1, 3)
    for colour, values in zip(COLOURS, results.values(), strict=False):
        steps = np.arange(values.shape[1])
        _, low, high = stratified_bootstrap(values.T[:, None], mean)
        by_step.fill_between(steps, low, high, color=colour, alpha=0.2, linewidth=0)
        by_step.plot(steps, values.mean(0), color=colour, linewidth=1.8, marker="o", markersize=4)
    by_step.set_xticks(steps)
    for values, style in zip(np.moveaxis(curve, -1, 0), ((0, (2, 1.5)), "solid"), strict=True):
        learning.plot(np.arange(1, curve.shape[1] + 1), values.T, color=COLOURS[0], linestyle=style, linewidth=0.9)
    learning.set_ylim(bottom=max(curve.min(), -70))
    style_panel(by_step, "held-out goals", "policy gradients in the task", "return of an episode")
    style_panel(learning, "MAML over its training, each seed", "meta-updates", "return of an episode")
    _draw_ways(ways, shown)
    style_panel(ways, "MAML, six goals: before, after one", grid_axis=None)
    add_legend(figure, [*results])
    set_title(
        figure, "2-D navigation: what one start makes of 20 episodes", "middle: dashed before, solid after adapting"
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
    main()
