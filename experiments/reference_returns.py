"""What uniform actions make on the tasks of the suites whose worlds do not vary.

    python -m experiments.reference_returns [--names CartPole-v1 ...] [--episodes 4096]

Each task's row in the table is replaced by what is measured; the others stay. `common/evaluation/references.py` tells
the numbers to the evaluation.
"""

import csv
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import numpy as np
import tyro

from experiments.script import run_script
from metaobj.common.environments.measured import uniform_return
from metaobj.common.environments.protocol import sample_params
from metaobj.common.environments.registry import make_environment
from metaobj.common.evaluation.references import REFERENCES
from metaobj.common.files import write_csv

COLUMNS = ("environment", "episodes", "random", "standard_error")


@dataclass(frozen=True)
class Arguments:
    """Returns of uniform actions."""

    names: tuple[str, ...] = tuple(REFERENCES)
    """Environments."""
    episodes: int = 4096
    """Of each; a multiple of what is played at once."""
    at_once: int = 256
    """Episodes that are played at once."""
    out: Path = Path("experiments/results/references.csv")
    """The table."""


def measure(name: str, episodes: int, at_once: int) -> np.ndarray:
    """Returns of episodes of uniform actions, [episodes]."""
    environment, spec = make_environment(name)
    params = sample_params(environment, jax.random.key(0), spec)
    play = jax.jit(jax.vmap(partial(uniform_return, environment), (0, None)))
    keys = jax.random.split(jax.random.key(0), (episodes // at_once, at_once))
    return np.concatenate([np.asarray(play(some, params), float) for some in keys])


def main(arguments: Arguments) -> None:
    """Measure, and keep the table up to date after each task."""
    rows: dict[str, list[object]] = {}
    if arguments.out.exists():
        with arguments.out.open(newline="") as file:
            rows = {row[0]: [*row] for row in list(csv.reader(file))[1:]}
    for name in arguments.names:
        returns = measure(name, arguments.episodes, arguments.at_once)
        error = returns.std(ddof=1) / np.sqrt(returns.size)
        rows[name] = [name, returns.size, f"{returns.mean():.6g}", f"{error:.2g}"]
        print(*rows[name], flush=True)
        write_csv(arguments.out, COLUMNS, [rows[known] for known in sorted(rows)])


if __name__ == "__main__":
    run_script(lambda: main(tyro.cli(Arguments)))
