"""Catch from a bad start: nothing tuned, the discount alone, or all numbers of the loss.

    python -m experiments.online.catch

Agents begin with a discount of 0.6 and a lambda of 0.5, under which the ball's fall is all but out of sight, and learn
from rollouts that are one update old. An ablation of STAC (Zahavy et al. 2020); the same with its numbers as they
should be stands beside it.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from experiments.intervals import told
from experiments.script import run_script
from metaobj.common.devices import use_all_cores
from metaobj.common.evaluation import follow
from metaobj.common.evaluation.statistics import interquartile_mean
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.files import make_folder, write_csv
from metaobj.common.rules.bounded import Bounded
from metaobj.selftuning.methods import ONLINE, OnlineMethod
from metaobj.selftuning.rule import Numbers, SelfTuning

STAC = ONLINE["STAC"]
assert isinstance(STAC.rule, SelfTuning)
_RULE = STAC.rule
_BAD = replace(_RULE.inner, discount=Bounded(0.6), lambda_=Bounded(0.5))


def still(numbers: Numbers, *moving: str) -> Numbers:
    """The same with all but some numbers fixed."""
    names = [each.name for each in fields(numbers) if each.name not in moving]
    return replace(numbers, **{name: replace(getattr(numbers, name), tuned=False) for name in names})


def variant(name: str, numbers: Numbers) -> OnlineMethod:
    """STAC with other numbers."""
    return replace(STAC, name=name, rule=replace(_RULE, inner=numbers))


METHODS = (
    variant("bad start, nothing tuned", still(_BAD)),
    variant("bad start, discount tuned", still(_BAD, "discount")),
    variant("bad start, discount and lambda tuned", still(_BAD, "discount", "lambda_")),
    variant("bad start, all tuned", _BAD),
    variant("good start, nothing tuned", still(_RULE.inner)),
    variant("good start, all tuned", _RULE.inner),
)


@dataclass(frozen=True)
class Arguments:
    """Self-tuning on Catch."""

    seeds: int = 20
    """Agents of each method."""
    learning_rate: float = 1e-3
    meta_learning_rate: float = 1e-2
    out: Path = Path("experiments/results/online/catch")
    """Folder of the table and the pictures."""


def main() -> None:
    """Run all variants; table, CSV file and a picture of each."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    (entry,) = make_suite("Catch-bsuite")
    setting = {"learning_rate": arguments.learning_rate, "meta_learning_rate": arguments.meta_learning_rate}
    table = Table("Agents", "Return over their lives [95 %]", "At the end [95 %]", "Discount", "lambda")
    rows = []
    make_folder(arguments.out)
    length = 9  # steps of an episode, which pays at its end alone
    for method in METHODS:
        seen = follow.follow(method.method(20), entry, setting, arguments.seeds)
        returns = seen.values["reward"] * length
        whole, last = returns.mean(1), returns[:, -returns.shape[1] // 10 :].mean(1)
        discount, lambda_ = (float(np.median(seen.values[name][:, -1])) for name in ("discount", "lambda_"))
        table.add_row(
            method.name,
            *(told(values, 2, interquartile_mean) for values in (whole, last)),
            f"{discount:.3f}",
            f"{lambda_:.3f}",
        )
        rows += [
            (method.name, seed, whole[seed], last[seed], *(seen.values[n][seed, -1] for n in ("discount", "lambda_")))
            for seed in range(arguments.seeds)
        ]
        follow.draw(arguments.out / f"{follow.slug(method.name)}.png", seen, method.name)
    write_csv(arguments.out / "agents.csv", ("method", "seed", "area", "final", "discount", "lambda"), rows)
    Console(width=120).print(table)


if __name__ == "__main__":
    run_script(main)
