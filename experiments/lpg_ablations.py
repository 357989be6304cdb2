"""What each part of LPG is for: the demo's objective without its value function, bootstrapping inputs or KL term.

    python -m experiments.lpg_ablations [--worlds layouts|chains|aliased_chains] [--seeds 3]

Each variant is meta-trained on small layouts from several seeds and judged as `metaobj evaluate` does: settings tuned
on training layouts, fresh agents on held-out ones. In a layout of 5x5 cells nothing lies farther than the 20 steps of
a rollout; in the chains, the reward for the first action is paid 5 to 50 steps later, and in the aliased ones no state
tells what it was.
"""

import csv
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from metaobj.common.devices import use_all_cores
from metaobj.common.evaluation.curves import final_score
from metaobj.common.evaluation.protocol import Contestant, EvaluationProtocol, Trials, evaluate, tune
from metaobj.common.evaluation.statistics import area_under_curve, interquartile_mean
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.objectives.contestants import learned, tuning_entries
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.train import meta_train
from metaobj.common.runs.metrics import read_metrics
from metaobj.lpg.config import PRESETS, LPGTraining
from metaobj.lpg.plugin import plugin

_BASE = PRESETS["lpg-demo"]
VARIANTS: dict[str, LPGTraining] = {
    "LPG": _BASE,
    "no value function": replace(_BASE, meta_loss=replace(_BASE.meta_loss, use_value=False)),
    "no bootstrapping inputs y": replace(_BASE, network=replace(_BASE.network, bootstrap=False)),
    "no KL term": replace(_BASE, kl_weights=(0.0,)),
}


WORLDS = {  # training distribution, evaluation suite
    "layouts": ("small-layouts", "held-out-layouts"),
    "chains": ("chain/long", "chain/long"),
    "aliased_chains": ("chain/aliased_long", "chain/aliased_long"),
}


@dataclass(frozen=True)
class Arguments:
    """Ablations of LPG."""

    worlds: Literal["layouts", "chains", "aliased_chains"] = "layouts"
    """What is trained and judged on."""
    seeds: int = 3
    """Meta-training seeds per variant."""
    out: Path = Path("experiments/results/lpg_ablations")
    """Folder of the table."""


def judge(config: LPGTraining, suite_name: str, protocol: EvaluationProtocol) -> Mapping[str, Any]:
    """Meta-train once, evaluate on held-out layouts."""
    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        outcome = meta_train(plugin, config, Path(folder) / "run")
        if outcome.signal is not None:
            raise SystemExit(128 + outcome.signal)
        seconds = time.monotonic() - begun
        rows = read_metrics(Path(folder) / "run" / "metrics.jsonl")
        loaded = load_objective(outcome.objective)
    method = learned(loaded)
    suite = make_suite(suite_name)
    trials, contestant = Trials(protocol), Contestant(method.name, (method,))
    tuned_on = tuning_entries(loaded.entries, suite[0].agent, protocol.longest_tuning_life)
    best = tune(trials, contestant, tuned_on).setting
    scores = evaluate(trials, contestant, suite, {suite[0].environment: best}).normalised  # [1, seeds, bins]
    return {
        "final": float(interquartile_mean(final_score(scores))),
        "area": float(interquartile_mean(area_under_curve(scores))),
        "training_reward": rows[-1]["reward"],
        "value_loss": rows[-1]["value_loss"],
        "not_finite": sum(row["not_finite"] for row in rows),
        "seconds": round(seconds, 1),
        **best,
    }


def main() -> None:
    """Run all variants and write the table."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    console = Console()
    distribution, suite = WORLDS[arguments.worlds]
    rows: list[Mapping[str, Any]] = []
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, config in VARIANTS.items():
        for seed in range(arguments.seeds):
            config = replace(config, seed=seed, distribution=distribution)
            row = {"variant": name, "seed": seed, **judge(config, suite, EvaluationProtocol(tuning_seeds=32))}
            console.print(row)
            rows.append(row)
            # Written anew each time: an end comes at any time.
            with (arguments.out / f"{arguments.worlds}.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    title = f"Held-out {arguments.worlds}, mean (min to max) over seeds"
    table = Table("Variant", "Final", "Area", "Training reward per step", title=title)
    for name in VARIANTS:
        own = [row for row in rows if row["variant"] == name]
        cells = []
        for key in ("final", "area", "training_reward"):
            values = np.array([row[key] for row in own])
            cells.append(f"{values.mean():.3f} ({values.min():.3f} to {values.max():.3f})")
        table.add_row(name, *cells)
    console.print(table)


if __name__ == "__main__":
    main()
