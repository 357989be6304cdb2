"""What fine-tuning gained: fresh agents by an objective and by what it was tuned from, at the same settings.

    python -m experiments.fine_tuning TUNED START --suite mine:corridor --steps 8000 [--seeds 64] [--out FILE]

No setting is chosen: all are told, and agents of one setting and number begin alike in both, so that differences are
taken agent by agent. A table goes to the terminal and to a CSV file.
"""

import time
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro
from rich.console import Console

from experiments.intervals import told
from experiments.rows import Row
from experiments.script import run_script
from metaobj.common.devices import hardware
from metaobj.common.evaluation.curves import final_score
from metaobj.common.evaluation.protocol import Trials
from metaobj.common.evaluation.statistics import area_under_curve
from metaobj.common.files import write_csv
from metaobj.common.objectives.compare import Comparison, prepare

NAMES = ("learning_rate", "kl_weight")
COLUMNS = (
    *NAMES,
    "agents",
    "environment_steps",
    *(f"{what}_{of}" for what in ("area", "final") for of in ("tuned", "start", "difference")),
    "better",
    "hardware",
    "date",
    "command",
)


@dataclass(frozen=True)
class Arguments:
    """Agents by a tuned objective beside agents by what it was tuned from."""

    tuned: Annotated[str, tyro.conf.Positional]
    """An objective, as `metaobj evaluate` takes it."""
    start: Annotated[str, tyro.conf.Positional]
    """What it was tuned from."""
    suite: str
    """Where agents learn."""
    steps: int
    """Environment steps of each agent."""
    seeds: int = 64
    """Agents of each setting."""
    learning_rates: tuple[float, ...] = (20.0, 40.0, 80.0, 160.0)
    """Of the agents."""
    kl_weights: tuple[float, ...] = (0.5, 1.0)
    """Of their predictions."""
    out: Path = Path("runs/fine-tuning.csv")
    """The table."""


def main() -> None:
    """Train the agents and tell what they made."""
    arguments = tyro.cli(Arguments)
    names = (f"tuned={arguments.tuned}", f"start={arguments.start}")
    comparison = Comparison(names, arguments.suite, seeds=arguments.seeds, steps=arguments.steps, trust=True)
    protocol, entries, field, *_ = prepare(comparison)
    trials, rows = Trials(protocol), []
    console = Console(highlight=False)
    for setting in product(arguments.learning_rates, arguments.kl_weights):
        settings = dict(zip(NAMES, setting, strict=True))
        returns = []  # [entries * agents, bins] of each
        for contestant in field.contestants:
            lives = [trials.train(contestant.methods[0], entry, [settings], "evaluation")[0] for entry in entries]
            returns.append(np.concatenate([life.returns for life in lives]))
        scores = {"area": [area_under_curve(r) for r in returns], "final": [final_score(r) for r in returns]}
        row: Row = {**settings, "agents": arguments.seeds, "environment_steps": arguments.steps}
        for what, (tuned, start) in scores.items():
            row |= {f"{what}_tuned": f"{tuned.mean():.3f}", f"{what}_start": f"{start.mean():.3f}"}
            row |= {f"{what}_difference": told(tuned - start, 4)}
        row |= {"better": f"{np.mean(scores['area'][0] > scores['area'][1]):.2f}", "hardware": hardware()}
        rows.append(row | {"date": time.strftime("%Y-%m-%d"), "command": "python -m experiments.fine_tuning"})
        console.print("  ".join(str(row[name]) for name in COLUMNS[:-3]))
    write_csv(arguments.out, COLUMNS, ([row[name] for name in COLUMNS] for row in rows))


if __name__ == "__main__":
    run_script(main)
