"""How agents do by Disco objectives in three tasks, at one learning rate: what the table "From Muesli" is made of.

    python -m experiments.disco_start FILE ... [--learning-rate RATE] [--out FILE.csv]

Catch and CartPole, which no meta-training here has met, and held-out grids; interim results of a run are files too
(`RUN/objectives`). Agents of all have networks of 64-64, action values as the file says, and no store.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from experiments.rows import Row, add
from experiments.study import Task, returns_in
from metaobj.common.devices import use_all_cores
from metaobj.common.evaluation.protocol import Contestant, EvaluationProtocol, Trials
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.replayed import ReplayConfig
from metaobj.common.objectives.contestants import learned
from metaobj.common.objectives.loading import load_objective
from metaobj.disco.config import RATES, WIDE

COLUMNS = ("objective", "task", "learning_rate", "final", "area", "curve")


@dataclass(frozen=True)
class Arguments:
    """Agents by Disco objectives."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Objectives."""
    learning_rate: float = 1e-2
    updates: int = 1000
    """Of an agent, of 20 steps each."""
    out: Path = Path("disco_start.csv")


def tasks(updates: int) -> tuple[tuple[Task, int], ...]:
    """Where, and with how many agents."""

    def entry(name: str, environments: int, split: Literal["any", "held_out"]) -> Entry:
        return Entry(name, 1, environments, updates, RATES, WIDE, split=split)

    return (
        (Task(entry("Catch-bsuite", 16, "any"), normalised=False), 4),
        (Task(entry("CartPole-v1", 16, "any"), normalised=False), 4),
        (Task(entry("grid/moving_any_small", 4, "held_out")), 6),
    )


def main() -> None:
    """Add to the table."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    if not arguments.files:
        raise SystemExit("files: none given; name one or more objectives, such as RUN/objective.safetensors")
    for path in arguments.files:
        loaded = load_objective(path, "disco")
        method = learned(replace(loaded, config=replace(loaded.config, replay=ReplayConfig())), str(path))
        for task, agents in tasks(arguments.updates):
            trials = Trials(EvaluationProtocol(seeds=agents, tuning_seeds=1, tuning="suite"))
            setting = {"learning_rate": arguments.learning_rate}
            returns = returns_in(task, trials, Contestant(method.name, (method,)), setting)[0].mean(0)
            row: Row = {
                "objective": method.name,
                "task": task.entry.environment,
                "learning_rate": arguments.learning_rate,
                "final": float(returns[-1]),
                "area": float(returns.mean()),
                "curve": " ".join(f"{x:.2f}" for x in returns[::3]),
            }
            print(*row.values())
            add(arguments.out, COLUMNS, row)


if __name__ == "__main__":
    main()
