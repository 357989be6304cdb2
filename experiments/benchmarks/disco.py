"""What an agent's update by Disco103 costs here, alone and in a population, and by the public package.

    taskset -c 1 python -m experiments.benchmarks.disco [--public-python PYTHON --public-path CHECKOUT]

The same work for both: networks of the same sizes, the same rollouts, the published weights, one compiled program. With
an interpreter that has the requirements of google-deepmind/disco_rl and a checkout of it, the public package is timed
in the same run: its updates and ours take turns, so that what else the machine does meets all of them alike. Keep all
on one core, since CPU seconds of several threads that wait for each other are no measure of work.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.benchmarks.disco_work import WORKS, Work, made_up, serve
from experiments.script import run_script
from metaobj.common.agents.agent import AgentConfig
from metaobj.common.devices import hardware, quick_jit
from metaobj.common.environments.protocol import Box
from metaobj.common.errors import UserError
from metaobj.common.experience.batches import Batch
from metaobj.common.files import atomic_write
from metaobj.common.objectives.loading import load_objective
from metaobj.common.types import Rollout
from metaobj.disco.agent import ModelAgent, ModelConfig

SECONDS = 1.0
"""That a repetition takes at least, of as many updates as that needs."""


@dataclass(frozen=True)
class Arguments:
    """Updates by Disco103, here and by the public package."""

    public_python: Path | None = None
    """An interpreter that has the public package's requirements."""
    public_path: Path | None = None
    """A checkout of the public package."""
    works: tuple[str, ...] = tuple(WORKS)
    """Sizes of agents and rollouts."""
    repetitions: int = 7
    out: Path = Path("experiments/results/benchmarks/disco.json")
    """The figures."""
    serve: tuple[str, int] | None = field(default=None, metadata={"help": "only for the processes that are timed"})
    """Work and agents: be the process that is timed."""

    def __post_init__(self) -> None:
        if (self.public_python is None) != (self.public_path is None):
            raise UserError("public_python, public_path: one given; must be both or none")
        for name in self.works:
            if name not in WORKS:
                raise UserError(f"works: {name!r} given; choose from {', '.join(WORKS)}")


def updating(work: Work, agents: int) -> Any:
    """A function that takes one update of each of so many agents and keeps what they have become."""
    loaded = load_objective("pretrained:disco103")
    rule, eta = loaded.objective, loaded.eta
    agent = ModelAgent(
        Box((work.board, work.board)),
        tuple(rule.heads(work.actions).items()),
        AgentConfig("dense", hidden=work.hidden),
        ModelConfig(work.units, work.units),
    )

    def batch(seed: int) -> Batch:
        seen = made_up(work, seed)
        observation, action, reward, ends = map(jnp.asarray, seen[:4])
        never = jnp.zeros_like(ends[1:])
        rollout = Rollout(observation[:-1], action[:-1], reward[1:], ends[1:], never, observation[1:])
        rate = {"learning_rate": np.float32(1e-2)}
        return Batch.of(rollout, hyperparameters=rate, behaviour=jax.nn.log_softmax(seen.logits[:-1]))

    def step(eta: Any, learner: Any, batch: Batch) -> Any:
        return agent.learn(learner, rule, eta, batch)[0]  # what is logged is left out

    def born(key: jax.Array) -> Any:
        return replace(agent.init(key), memory=rule.first_memory())

    if agents == 1:
        run, learner, batches = quick_jit()(step), born(jax.random.key(0)), batch(0)
    else:
        run = quick_jit()(jax.vmap(step, (None, 0, 0)))
        learner = jax.vmap(born)(jax.random.split(jax.random.key(0), agents))
        batches = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(batch, range(agents)))
    batches = jax.device_put(batches)

    def update() -> None:
        nonlocal learner
        learner = jax.block_until_ready(run(eta, learner, batches))

    return update


class Timed:
    """A process that takes updates when told to."""

    def __init__(self, command: list[str], path: Mapping[str, str]) -> None:
        self.command = command
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **path}
        )
        self.about = self._heard()
        once = self.time(1)["wall"]
        self.number = max(round(SECONDS / once), 1)

    def time(self, number: int | None = None) -> dict[str, float]:
        """Seconds of an update."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{number or self.number}\n")
        self.process.stdin.flush()
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise UserError(f"{self.command[0]}: ended with status {self.process.wait()}; see above")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def end(self) -> None:
        """Let it go."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def summary(values: list[float]) -> dict[str, float]:
    """Least, median and largest."""
    return {name: round(float(f(values)), 6) for name, f in (("min", min), ("median", np.median), ("max", max))}


def measure(name: str, arguments: Arguments) -> dict[str, Any]:
    """All who are timed at one work, in turn."""
    root = str(Path(__file__).resolve().parents[2])
    ours = partial(Timed, path={"PYTHONPATH": os.pathsep.join((root, os.environ.get("PYTHONPATH", "")))})
    started: dict[str, tuple[int, Timed]] = {}
    for agents in WORKS[name].agents:
        command = [sys.executable, "-m", "experiments.benchmarks.disco", "--serve", name, str(agents)]
        started[f"here, {agents}"] = agents, ours(command)
        if arguments.public_python is not None:
            command = [str(arguments.public_python), "-m", "experiments.benchmarks.disco_public", name, str(agents)]
            path = os.pathsep.join((root, str(arguments.public_path)))
            started[f"public, {agents}"] = agents, Timed(command, {"PYTHONPATH": path})
    times: dict[str, list[dict[str, float]]] = {who: [] for who in started}
    for _ in range(arguments.repetitions):
        for who, (_, timed) in started.items():
            times[who].append(timed.time())
    work, found = WORKS[name], {}
    for who, (agents, timed) in started.items():
        timed.end()
        cpu = summary([each["cpu"] for each in times[who]])
        found[who] = {
            "agents": agents,
            "cpu_seconds": cpu,
            "wall_seconds": summary([each["wall"] for each in times[who]]),
            "steps_per_cpu_second": round(agents * work.steps * work.trajectories / cpu["median"], 1),
            "updates_per_repetition": timed.number,
            **timed.about,
        }
    return found


def ratios(found: Mapping[str, Any]) -> dict[str, float]:
    """How many times as many steps of agents here as there, for each second of the CPU."""
    rate = {who: row["steps_per_cpu_second"] for who, row in found.items()}
    made = {}
    for who, row in found.items():
        agents = row["agents"]
        if not who.startswith("here") or "public, 1" not in rate:
            continue
        made[f"{agents} here to 1 public"] = round(rate[who] / rate["public, 1"], 2)
        if agents > 1:
            made[f"{agents} here to {agents} public, by vmap"] = round(rate[who] / rate[f"public, {agents}"], 2)
    return made


def main() -> None:
    """Measure, print, keep."""
    arguments = tyro.cli(Arguments)
    if arguments.serve is not None:
        name, agents = arguments.serve
        serve(updating(WORKS[name], agents), {"jax": version("jax")})
        return
    console = Console(width=100)
    table = Table("work", "who, agents", "CPU s an update (min, max)", "wall s", "steps per CPU s", box=box.SIMPLE_HEAD)
    rows = {}
    for name in arguments.works:
        found = measure(name, arguments)
        rows[name] = {"work": asdict(WORKS[name]), "rows": found, "ratios": ratios(found)}
        for who, row in found.items():
            cpu, wall = row["cpu_seconds"], row["wall_seconds"]
            table.add_row(
                name,
                who,
                f"{cpu['median']:.4g} ({cpu['min']:.4g}, {cpu['max']:.4g})",
                f"{wall['median']:.4g}",
                f"{row['steps_per_cpu_second']:.0f}",
            )
    console.print(table)
    for name, row in rows.items():
        for what, ratio in row["ratios"].items():
            console.print(f"{name}: {what}: {ratio:.2f} times the steps per CPU second")
    record = {
        "command": "taskset -c 1 python -m experiments.benchmarks.disco --public-python PYTHON --public-path CHECKOUT"
        if arguments.public_python
        else "taskset -c 1 python -m experiments.benchmarks.disco",
        "date": datetime.date.today().isoformat(),
        "hardware": hardware(),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "repetitions": arguments.repetitions,
        "works": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(arguments.out, (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    run_script(main)
