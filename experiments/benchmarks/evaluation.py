"""What it gains to train all seeds and all settings of an evaluation in one program.

    python -m experiments.benchmarks.evaluation [--seeds 32] [--updates 50] [--out experiments/results/benchmarks]

A2C's settings on CartPole, the same agents three times: all in one program; setting after setting; and agent after
agent, of which a sample is timed. Seconds are of the second call of each, compiled.
"""

import datetime
import json
import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import tyro

from experiments.script import run_script
from metaobj.common.devices import hardware, use_all_cores
from metaobj.common.evaluation.baselines import a2c
from metaobj.common.evaluation.method import Settings
from metaobj.common.evaluation.training import train_agents
from metaobj.common.evaluation.worlds import DrawnWorlds, draw_worlds
from metaobj.common.files import atomic_write
from metaobj.common.lifetimes.distributions import CONTROL_DENSE, Entry
from metaobj.common.lifetimes.population import make_families
from metaobj.lpg.config import LPGTraining


@dataclass(frozen=True)
class Arguments:
    """One program against one agent after the other."""

    seeds: int = 32
    """Agents of a setting."""
    updates: int = 50
    """Of an agent."""
    sample: int = 4
    """Agents that are timed alone."""
    out: Path = Path("experiments/results/benchmarks")
    """Folder of the figures."""


def measure(arguments: Arguments) -> dict[str, Any]:
    """Seconds of each way, and their ratios."""
    config = LPGTraining()
    method = a2c(config.rollout_steps, config.discount, config.value)
    entry = Entry("CartPole-v1", updates=arguments.updates, agent=CONTROL_DENSE, split="any")
    (family,) = make_families([entry], method.programs)
    settings = method.settings(entry.agent)
    worlds = draw_worlds(family, entry.environment, jax.random.key(0), arguments.seeds)
    one = DrawnWorlds(1, jax.tree.map(lambda leaf: leaf[:1], worlds.params), None)

    def seconds(worlds: DrawnWorlds, batches: list[list[Settings]]) -> float:
        for repetition in range(2):
            begun = time.perf_counter()
            for batch in batches if repetition else batches[:1]:
                train_agents(method.rule, (), family, worlds, arguments.updates, batch, jax.random.key(1), 5)
        return time.perf_counter() - begun

    agents = len(settings) * arguments.seeds
    together = seconds(worlds, [settings])
    by_setting = seconds(worlds, [[setting] for setting in settings])
    alone = seconds(one, [[setting] for setting in settings[: arguments.sample]]) / arguments.sample * agents
    return {
        "agents": agents,
        "settings": len(settings),
        "updates": arguments.updates,
        "seconds_together": round(together, 2),
        "seconds_setting_after_setting": round(by_setting, 2),
        "seconds_agent_after_agent": round(alone, 2),
        "ratio_to_setting_after_setting": round(by_setting / together, 2),
        "ratio_to_agent_after_agent": round(alone / together, 2),
        "date": datetime.date.today().isoformat(),
        "hardware": hardware(),
        "load": round(os.getloadavg()[0], 1),
        "versions": {"python": platform.python_version(), "jax": version("jax")},
    }


def main() -> None:
    """See the module."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    found = measure(arguments)
    text = json.dumps(found, indent=1)
    print(text)
    arguments.out.mkdir(parents=True, exist_ok=True)
    atomic_write(arguments.out / "evaluation.json", text + "\n")


if __name__ == "__main__":
    run_script(main)
