"""RL^2 in GridNavi: an agent with memory, one without, the best search, and who knows the goal.

    python -m experiments.few_shot.grid_navi

Duan et al. 2016 and Wang et al. 2016; the task, and what is left for memory to gain in it, are of Zintgraf et al. 2020.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter
from rich.console import Console
from rich.table import Table

from experiments.few_shot.search import bayes_optimal, known_goal
from experiments.few_shot.trials import TrialAgent, train
from experiments.intervals import band, told
from experiments.script import run_script
from metaobj.common.devices import quick_jit, use_all_cores
from metaobj.common.files import make_folder, write_csv
from metaobj.common.keys import stream
from metaobj.common.pictures.style import (
    COLOURS,
    INK,
    MUTED,
    add_legend,
    grid_of_panels,
    save_figure,
    set_title,
    style_panel,
)
from metaobj.common.types import PRNGKey, PyTree

AGENTS = {"RL^2": TrialAgent(), "without memory": TrialAgent(remembers=False)}
BIN = 10
"""Updates whose trials make a point of a learning curve."""


@dataclass(frozen=True)
class Arguments:
    """RL^2 in GridNavi."""

    seeds: int = 5
    """Agents of each kind."""
    updates: int = 450
    """Of each, from 128 trials of 60 steps."""
    tests: int = 100
    """Trials after training, for each of the goals."""
    out: Path = Path("experiments/results/few_shot/grid_navi")
    """Folder of the tables and the picture."""


@quick_jit(static_argnums=(0, 1))
def tested(agent: TrialAgent, tests: int, params: PyTree, key: PRNGKey) -> jax.Array:
    """Mean return of each episode over all goals, each equally often, [episodes]. The agent acts as it was trained to,
    by chance.
    """
    goals = jnp.repeat(jnp.asarray(agent.grid.goals, jnp.int32), tests)
    return agent.returns(agent.play(params, key, goals)).mean(1)


def main() -> None:
    """Train and test all; table, CSV files, picture."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    grid, episodes = AGENTS["RL^2"].grid, AGENTS["RL^2"].episodes
    search, straight = bayes_optimal(grid, episodes), known_goal(grid)
    bounds = {"best search (exact)": search.returns, "knows the goal": np.full(episodes, straight)}
    table = Table("Agent", *(f"Episode {at + 1}" for at in range(episodes)), "Trial")
    results, curves = {}, {}
    for name, agent in AGENTS.items():
        params, curve = zip(
            *(train(agent, arguments.updates, jax.random.key(seed)) for seed in range(arguments.seeds)), strict=True
        )
        test = partial(tested, agent, arguments.tests)
        keys = [stream(seed, "test") for seed in range(arguments.seeds)]
        results[name] = np.stack([test(one, key) for one, key in zip(params, keys, strict=True)])  # [seeds, episodes]
        whole = np.stack(curve).sum(-1)[:, : arguments.updates // BIN * BIN]
        curves[name] = whole.reshape(arguments.seeds, -1, BIN).mean(-1)  # [seeds, bins]
        table.add_row(name, *map(told, results[name].T), told(results[name].sum(1)))
    for name, values in bounds.items():
        table.add_row(name, *(f"{value:.2f}" for value in values), f"{values.sum():.2f}")
    make_folder(arguments.out)
    rows = [(name, seed, *row) for name, values in results.items() for seed, row in enumerate(values)]
    rows += [(name, "", *values) for name, values in bounds.items()]
    write_csv(arguments.out / "returns.csv", ("agent", "seed", *(f"episode_{at + 1}" for at in range(episodes))), rows)
    points = [
        (name, seed, (at + 1) * BIN, float(value))
        for name, values in curves.items()
        for (seed, at), value in np.ndenumerate(values)
    ]
    write_csv(arguments.out / "curves.csv", ("agent", "seed", "updates", "trial_return"), points)
    draw(arguments.out / "grid_navi.png", results, curves, bounds, search.route[0])
    Console(width=140).print(table)


def draw(
    path: Path,
    results: dict[str, np.ndarray],
    curves: dict[str, np.ndarray],
    bounds: dict[str, np.ndarray],
    route: np.ndarray,
) -> None:
    """Returns by episode, over training, and how the best search begins.

    Args:
        path: of the PNG.
        results: [seeds, episodes] of each agent.
        curves: [seeds, bins] of each, of whole trials.
        bounds: [episodes] of each.
        route: [T] cells.
    """
    figure, (by_episode, learning, search) = grid_of_panels(3, 3.6, 3.0, 3)
    styles = dict(zip(bounds, ((0, (4, 2)), (0, (1, 1.5))), strict=True))
    for colour, (name, values) in zip(COLOURS, results.items(), strict=False):
        episode = np.arange(1, values.shape[1] + 1)
        band(by_episode, episode, values, colour, linewidth=1.8, marker="o", markersize=4)
        size = AGENTS[name].trials * AGENTS[name].steps * BIN
        learning.plot((np.arange(curves[name].shape[1]) + 0.5) * size, curves[name].T, color=colour, linewidth=0.9)
    for (name, values), colour in zip(bounds.items(), (INK, MUTED), strict=True):
        by_episode.plot(episode, values, color=colour, linestyle=styles[name], linewidth=1.4)
        learning.axhline(values.sum(), color=colour, linestyle=styles[name], linewidth=1.4)
    by_episode.set_xticks(episode)
    learning.xaxis.set_major_formatter(EngFormatter(sep=""))
    style_panel(by_episode, "after training", "episode of the trial", "return of the episode")
    style_panel(learning, "over training, each seed", "environment steps", "return of the trial")
    _draw_route(search, AGENTS["RL^2"].grid.size, np.concatenate([[0], route]))
    style_panel(search, "the best search, first episode", grid_axis=None)
    search.tick_params(length=0)
    add_legend(figure, [*results])
    set_title(
        figure,
        "GridNavi: the goal is not seen and stays for four episodes",
        "dashed: the best search, exact; dotted: who knows the goal",
    )
    save_figure(figure, path)


def _draw_route(panel: Axes, size: int, cells: np.ndarray) -> None:
    rows, columns = np.divmod(cells, size)
    panel.plot(columns, rows, color=COLOURS[2], linewidth=1.8)
    panel.plot(columns[0], rows[0], "o", color=INK, markersize=6)
    panel.plot(columns[-1], rows[-1], "s", color=COLOURS[2], markersize=6)
    panel.set(xlim=(-0.5, size - 0.5), ylim=(-0.5, size - 0.5), aspect="equal")
    panel.set(xticks=np.arange(size + 1) - 0.5, yticks=np.arange(size + 1) - 0.5, xticklabels=[], yticklabels=[])
    panel.grid(True, color=MUTED, linewidth=0.4)


if __name__ == "__main__":
    run_script(main)
