"""How agents do by Disco objectives in three tasks, at given learning rates: what the table "From Muesli" is made of.

    python -m experiments.disco_start FILE ... [--learning-rates RATE ...] [--agents N] [--out FILE.csv]

Catch and CartPole, which no meta-training here has met, and held-out grids; interim results of a run are files too
(`RUN/objectives`). Agents of all have networks of 64-64, action values as the file says, and no store.
"""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

import tyro

from experiments.rows import Row, add, check_only
from experiments.script import run_script
from experiments.study import Task, returns_in
from metaobj.common.devices import use_all_cores
from metaobj.common.errors import UserError
from metaobj.common.evaluation.protocol import Contestant, EvaluationProtocol, Trials
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.replayed import ReplayConfig
from metaobj.common.objectives.contestants import learned
from metaobj.common.objectives.loading import load_objective
from metaobj.disco.config import RATES, WIDE

COLUMNS = ("objective", "task", "learning_rate", "agents", "final", "final_error", "area", "area_error", "curve")


@dataclass(frozen=True)
class Arguments:
    """Agents by Disco objectives."""

    files: tyro.conf.Positional[tuple[Path, ...]]
    """Objectives."""
    only: tuple[str, ...] = ()
    """Some of the environments."""
    learning_rates: tuple[float, ...] = (1e-2,)
    agents: int | None = None
    """In each task; left out, 4 or, in grids, 6."""
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
        raise UserError("files: none given; name one or more objectives, such as RUN/objective.safetensors")
    if arguments.agents is not None and arguments.agents < 2:
        raise UserError(f"agents: {arguments.agents} given; must be at least 2")
    judged = {task.entry.environment: (task, agents) for task, agents in tasks(arguments.updates)}
    check_only(arguments.only, tuple(judged))
    chosen = [judged[name] for name in arguments.only or judged]
    for path in arguments.files:
        loaded = load_objective(path, "disco")
        method = learned(replace(loaded, config=replace(loaded.config, replay=ReplayConfig())), str(path))
        for (task, few), rate in product(chosen, arguments.learning_rates):
            agents = arguments.agents or few
            trials = Trials(EvaluationProtocol(seeds=agents, tuning_seeds=1, tuning="suite"))
            setting = {"learning_rate": rate}
            returns = returns_in(task, trials, Contestant(method.name, (method,)), setting)[0]  # [agents, bins]
            row: Row = {
                "objective": method.name,
                "task": task.entry.environment,
                "learning_rate": rate,
                "agents": agents,
                "curve": " ".join(f"{x:.2f}" for x in returns.mean(0)[::3]),
            }
            for name, values in (("final", returns[:, -1]), ("area", returns.mean(-1))):
                row |= {name: float(values.mean()), f"{name}_error": float(values.std(ddof=1) / agents**0.5)}
            print(*(f"{x:.3g}" if isinstance(x := row[name], float) else x for name in COLUMNS), flush=True)
            add(arguments.out, COLUMNS, row)


if __name__ == "__main__":
    run_script(main)
