"""The demonstration: everything once, small, in a few minutes on two cores."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.markup import escape
from rich.rule import Rule

from metaobj.common.evaluation.method import FEW as SETTINGS
from metaobj.common.evaluation.wording import duration
from metaobj.common.files import make_folder
from metaobj.common.objectives.compare import Comparison, compare
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import get_plugin, kinds, unable
from metaobj.common.objectives.train import meta_train

SHARE = 8
"""One in so many of the agents that settings are usually tuned on: a demonstration is to be short."""

FEW = 10
"""Agents on the other task. In tuning there are as many, over all of its settings: they share one program."""


@dataclass(frozen=True)
class DemoArguments:
    """Meta-train a small objective, compare it with a baseline, draw what it does."""

    kind: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="KIND", help=f"One of {', '.join(kinds())}.")]
    run_dir: Path = Path("runs/demo")
    """The run folder; must not hold a run yet."""
    seed: int = 0
    """Seed of the evaluation."""


def demo(arguments: DemoArguments, console: Console) -> None:
    """Train, evaluate, inspect; tell what each leaves where."""
    begun = time.monotonic()
    plugin = get_plugin(arguments.kind)
    if plugin.inspect is None:
        raise unable(arguments.kind, plugin, "inspect", "demonstrated")
    config = plugin.presets[plugin.default_preset]
    parts = 3 if plugin.elsewhere is None else 4

    def part(number: int, title: str) -> None:
        left = time_left(plugin.demo_seconds, number - 1, time.monotonic() - begun)
        console.print(Rule(f"{number} of {parts}: {title}{left}"))

    part(1, f"meta-training {plugin.kind} on {config.distribution}")
    outcome = meta_train(plugin, config, arguments.run_dir, console=console)
    if not outcome.finished:
        console.print(f"stopped at step {outcome.step} and saved")
        return
    part(2, "fresh agents on tasks that no training can draw")
    folder = arguments.run_dir / "evaluation"
    names = (str(outcome.objective), plugin.baselines(config)[0].name)
    tuning_seeds = max(plugin.protocol.tuning_seeds // SHARE, 1)
    compare(Comparison(names, plugin.suite, tuning_seeds=tuning_seeds, seed=arguments.seed), folder, console)
    elsewhere = arguments.run_dir / "elsewhere"
    if plugin.elsewhere is not None:
        shipped, task = plugin.elsewhere
        part(3, f"{shipped} on {task}, which it never saw")
        names = (shipped, names[1])
        short = Comparison(
            names, task, seeds=FEW, tuning_seeds=FEW // SETTINGS, seed=arguments.seed, tuning="suite", steps=200_000
        )
        compare(short, elsewhere, console)
    part(parts, "what the rule does")
    loaded = load_objective(outcome.objective)
    inspection = arguments.run_dir / "inspection"
    make_folder(inspection)
    with console.status("inspecting"):
        seen = plugin.inspect(loaded, inspection)
    for line in seen.verdict:
        console.print(escape(line), soft_wrap=True)
    found = [
        ("the objective", outcome.objective),
        ("its training", arguments.run_dir / "training.png"),
        ("learning curves", folder / "learning_curves.png"),
        ("scores", folder / "intervals.png"),
        ("all of it on a page", folder / "report.html"),
        *([("another kind of task", elsewhere / "report.html")] if plugin.elsewhere is not None else []),
        *((f"inspection: {picture.stem}", picture) for picture in seen.files if picture.suffix == ".png"),
    ]
    for what, path in found:
        console.print(f"  {what:28} {path}", soft_wrap=True)
    console.print(f"{time.monotonic() - begun:.0f} s in all")


def time_left(usual: Sequence[float], done: int, seconds: float) -> str:
    """How long a demonstration will go on whose first parts took so long, by what its parts usually take.

    Args:
        usual: seconds of each part, on some machine; empty where that is not known.
        done: how many are done.
        seconds: what those took.
    """
    if not usual:
        return ""
    slower = seconds / sum(usual[:done]) if done else 1.0
    return f", about {duration(slower * sum(usual[done:]))} {'left' if done else 'in all'}"
