"""Snake on a small board: whose values judge a discount that tunes itself, and after how many updates.

    python -m experiments.online.snake

A snake on a board of 6 x 6 earns 1 for each fruit until it bites itself or leaves (Jumanji's; `pip install
'metaobj[jumanji]'`). Agents begin with a discount of 0.8, too short for a snake that must not shut itself in, and are
judged at a discount of 1 on the next rollout (Bonnet et al. 2022): by their own values or by an outer
value function, after one update or after each of several (Bonnet et al. 2021, "One Step at a Time"). A reduced size: a
convolution of 16 channels, a layer of 64, 64 environments, and 640 000 of the paper's 75 million steps.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from matplotlib.ticker import EngFormatter
from rich.console import Console
from rich.table import Table

from experiments.intervals import band, told
from experiments.script import run_script
from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.devices import use_all_cores
from metaobj.common.evaluation import follow
from metaobj.common.files import make_folder, write_csv
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.meta.objectives import Mixed
from metaobj.common.pictures.style import COLOURS, add_legend, grid_of_panels, save_figure, set_title, style_panel
from metaobj.common.rules.bounded import Bounded
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.methods import OnlineMethod
from metaobj.selftuning.rule import Numbers, SelfTuning

ENVIRONMENTS, ROLLOUT = 64, 5
K = 4
"""Updates in a mixture."""
AGENT = AgentConfig("conv", hidden=(64,), channels=(16,), optimiser="rmsprop")


def _fixed(value: float) -> Bounded:
    return Bounded(value, tuned=False)


def method(name: str, discount: Bounded, **how: Any) -> OnlineMethod:
    """One of those that are compared, judged by its own values."""
    numbers = Numbers(discount=discount, lambda_=_fixed(0.95), value_weight=_fixed(0.5), entropy_weight=_fixed(0.01))
    return OnlineMethod(
        name,
        SelfTuning(numbers, Outer(lambda_=1.0)),
        {"gradient_clip": 0.1, **how},
        discount=1.0,
        value=ValueConfig(learning_rate=1e-3),
        agent=lambda agent: agent,
    )


_MG = method("MG", Bounded(0.8))
_MIXED = method("mixed", Bounded(0.8), meta_objective=Mixed(0.8), inner_updates=K)
METHODS = (
    method("A2C, 0.8", _fixed(0.8)),
    method("A2C, 0.99", _fixed(0.99)),
    _MG,
    replace(_MG.outer(), name="MG, outer values"),
    replace(_MIXED.outer(), name="mixed, outer values"),
)
BINS = 50


@dataclass(frozen=True)
class Arguments:
    """Snake."""

    seeds: int = 4
    """Agents of each method."""
    updates: int = 2000
    """Of each agent, from rollouts of 5 steps of 64 environments."""
    learning_rate: float = 1e-3
    meta_learning_rate: float = 3e-3
    """K times as high where eta is tuned once in K updates."""
    out: Path = Path("experiments/results/online/snake")
    """Folder of the table and the picture."""


def main() -> None:
    """Run all methods; table, CSV file, picture."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    entry = Entry("jumanji/Snake-6x6", 1, ENVIRONMENTS, arguments.updates, split="any", agent=AGENT)
    table = Table("Agents", "Fruits at the end [95 %]", "over their lives", "Discount at the end")
    lives: dict[str, follow.Followed] = {}
    rows = []
    for each in METHODS:
        rate = arguments.meta_learning_rate * each.how.get("inner_updates", 1)
        setting = {"learning_rate": arguments.learning_rate, "meta_learning_rate": rate}
        seen = lives[each.name] = follow.follow(each.method(ROLLOUT), entry, setting, arguments.seeds, BINS)
        fruits, discount = seen.values[follow.RETURN], seen.values["discount"]
        last = discount[:, -1]
        table.add_row(
            each.name,
            *(told(values) for values in (fruits[:, -BINS // 10 :].mean(1), fruits.mean(1))),
            f"{np.median(last):.3f} ({last.min():.3f} to {last.max():.3f})",
        )
        rows += [
            (each.name, seed, steps, fruits[seed, at], discount[seed, at])
            for seed in range(arguments.seeds)
            for at, steps in enumerate(seen.env_steps)
        ]
    make_folder(arguments.out)
    write_csv(arguments.out / "curves.csv", ("method", "seed", "env_steps", "fruits", "discount"), rows)
    _draw(arguments.out / "snake.png", lives, arguments.seeds)
    Console(width=120).print(table)


def _draw(path: Path, lives: dict[str, follow.Followed], seeds: int) -> None:
    """What is eaten in an episode, by all and by those that began at 0.8 alone, and the discount, over their lives."""
    figure, panels = grid_of_panels(3, width=4.2, height=3.0, max_columns=3)
    from_bad_start = [name for name, seen in lives.items() if seen.values["discount"][0, 0] < 0.9]
    for panel, quantity, names, title in zip(
        panels,
        (follow.RETURN, follow.RETURN, "discount"),
        (lives, from_bad_start, lives),
        ("fruits per episode", "the same, of those that begin at 0.8", "discount"),
        strict=True,
    ):
        for (name, seen), colour in zip(lives.items(), COLOURS, strict=False):
            if name in names:
                band(panel, seen.env_steps, seen.values[quantity], colour)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        style_panel(panel, title, "environment steps")
    set_title(figure, "Snake on 6 x 6 cells", f"means of {seeds} agents with 95 % intervals")
    add_legend(figure, list(lives))
    save_figure(figure, path)


if __name__ == "__main__":
    run_script(main)
