"""What meta-training makes of Disco at small scale, beside LPG and A2C.

    python -m experiments.disco_study [--seeds SEED ...] [--only NAME ...]

Disco from scratch with a small network, likewise from Muesli's policy improvement, and from the published weights; LPG
from noise and from the hand-written rule, LPG+V from A2C: each is meta-trained from several seeds in the same worlds
(those of `disco-worlds`: small grids and pendulums, seen by networks) for the same number of environment steps. Fresh
agents, networks of 64-64, then learn by what has become of it: in held-out grids of the kind, and in Catch, which
nothing was trained on, each at the best of a few learning rates there. A2C and the published Disco103 as it is stand
beside them, the latter also with a store.

Runs add to one table, so several at once may share the variants.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.lpg_study import PLAIN, STARTED, VALUED
from experiments.lpg_study import VARIANTS as OF_LPG
from experiments.rows import Row, add, check_only, read
from experiments.script import run_script
from experiments.study import Task, Trained, columns, in_tasks, meta_trained
from metaobj.common.devices import use_all_cores
from metaobj.common.evaluation.baselines import A2C_RATES, a2c
from metaobj.common.evaluation.method import Method
from metaobj.common.lifetimes.distributions import DISTRIBUTIONS, Entry, make_distribution
from metaobj.common.lifetimes.replayed import ReplayConfig
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.objectives.contestants import learned
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Plugin, get_plugin
from metaobj.common.objectives.train import make_trainer
from metaobj.disco.config import DISTRIBUTIONS as OF_DISCO
from metaobj.disco.config import PRESETS, RATES, WIDE, DiscoTraining

_DISCO, _LPG = "disco-study", "disco-study-by-rmsprop"
DISTRIBUTIONS[_DISCO] = tuple(
    replace(entry, lifetimes=entry.lifetimes // 2, num_environments=4)
    for entry in make_distribution("disco-worlds", 1, OF_DISCO)
)
"""Six agents of four environments at once: a meta-update of the published sizes is dear."""
DISTRIBUTIONS[_LPG] = tuple(
    replace(entry, learning_rates=A2C_RATES, agent=replace(entry.agent, optimiser="rmsprop"))
    for entry in DISTRIBUTIONS[_DISCO]
)
"""The same worlds and networks for LPG, whose agents have no optimiser of their own: A2C's."""

SCRATCH, MUESLI, TUNED = "Disco, from scratch", "Disco, from Muesli", "Disco103, trained on"
PUBLISHED, STORED, A2C = "Disco103", "Disco103, from a store", "A2C"
FROM_NOISE = "LPG, from noise"
_SMALL = PRESETS["disco-demo"]
_WIDE = replace(PRESETS["disco103"], model=_SMALL.model, replay=ReplayConfig(), chunk=6)
"""Agents with the same small model everywhere, and without a store, which none of the others has."""
VARIANTS: dict[str, tuple[str, Any]] = {
    SCRATCH: ("disco", replace(_SMALL, chunk=6)),
    MUESLI: ("disco", replace(PRESETS["disco-cpu"], chunk=6)),
    TUNED: ("disco", replace(_WIDE, init="pretrained:disco103")),
    FROM_NOISE: ("lpg", OF_LPG[PLAIN].config),
    STARTED: ("lpg", OF_LPG[STARTED].config),
    VALUED: ("lpg", OF_LPG[VALUED].config),
}
"""Kinds and configurations of what is meta-trained."""
UNTRAINED = (PUBLISHED, STORED, A2C)

GRIDS, CATCH = "grids", "catch"
COLUMNS = columns((GRIDS, CATCH))


@dataclass(frozen=True)
class Arguments:
    """A study of Disco."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Of meta-training."""
    only: tuple[str, ...] = ()
    """Some of the variants."""
    meta_updates: int = 60
    """Of Disco, each of K = 2 updates of 6 agents and 1440 environment steps; LPG's are of K = 5, and half as many."""
    updates: int = 250
    """Of the fresh agents that judge an objective, each of 4 environments and 20 steps."""
    agents: int = 6
    """Fresh agents that judge an objective in each task."""
    tuning_agents: int = 1
    """Those that a learning rate is chosen by."""
    out: Path = Path("experiments/results/disco_study/study.csv")
    """The table; what stands there already is not run again."""


def tasks(arguments: Arguments) -> dict[str, Task]:
    """What fresh agents are judged in."""
    common: dict[str, Any] = {"num_environments": 4, "updates": arguments.updates, "agent": WIDE}
    return {
        GRIDS: Task(Entry("grid/moving_any_small", learning_rates=RATES, split="held_out", **common)),
        CATCH: Task(Entry("Catch-bsuite", learning_rates=RATES, split="any", **common)),
    }


def variant(name: str, meta_updates: int) -> tuple[Plugin[Any, Any], Trained]:
    """Its kind, and how it is trained where Disco has so many meta-updates: with as many environment steps."""
    kind, config = VARIANTS[name]
    share = (_SMALL.inner_updates + 1) / (config.inner_updates + 1)  # the last rollout of each judges
    updates = round(meta_updates * share)
    worlds = _DISCO if kind == "disco" else _LPG
    changes: dict[str, Any] = {"distribution": worlds, "meta_updates": updates, "checkpoint_every": updates}
    judged = (0.0, 1.0) if name == MUESLI else (1.0,)
    return get_plugin(kind), Trained(replace(config, scale=1, log_every=gcd(updates, 10), **changes), judged)


def untrained(name: str) -> Method:
    """What is not meta-trained here."""
    if name == A2C:
        return a2c(_SMALL.rollout_steps, _SMALL.discount, _SMALL.value)
    loaded = load_objective("pretrained:disco103")
    config: DiscoTraining = replace(loaded.config, model=_WIDE.model, replay=_WIDE.replay)
    if name == STORED:
        config = replace(config, replay=ReplayConfig(1024, 12))
    return learned(replace(loaded, config=config), name)


def summary(rows: Sequence[Row]) -> Table:
    """Means over seeds of meta-training, with the least and the largest."""
    table = Table("", "seeds", "steps", *(f"{task}, {what}" for task in (GRIDS, CATCH) for what in ("final", "area")))
    table.box, table.title = box.SIMPLE_HEAD, "0: uniform actions, 1: the best policy"
    shown = [(name, share) for name in VARIANTS for share in (0.0, 1.0)] + [(name, 0.0) for name in UNTRAINED]
    for name, share in shown:
        of: list[Row] = [row for row in rows if (row["variant"], row["share"]) == (name, share)]
        if not of:
            continue

        def told(column: str, of: Sequence[Mapping[str, Any]] = of) -> str:
            values = [row[column] for row in of]
            spread = f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else ""
            return f"{np.mean(values):.2f}{spread}"

        steps = of[0].get("environment_steps", 0)
        scores = [told(f"{task}_{what}") for task in (GRIDS, CATCH) for what in ("final", "area")]
        label = f"{name}, as it starts" if name in VARIANTS and share == 0 else name
        table.add_row(label, str(len(of)), f"{steps / 1e6:.2f} M", *scores)
    return table


def main() -> None:
    """Run what the table does not hold yet."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    check_only(arguments.only, (*UNTRAINED, *VARIANTS))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    judged_in = tasks(arguments)

    def keep(row: Row, method: Method) -> None:
        row |= in_tasks(method, judged_in, arguments.agents, arguments.tuning_agents)
        print(" ".join(f"{key}={value:.3g}" if isinstance(value, float) else f"{value}," for key, value in row.items()))
        add(arguments.out, COLUMNS, row)

    for name in arguments.only or (*UNTRAINED, *VARIANTS):
        done = {(row["seed"], row["share"]) for row in read(arguments.out) if row["variant"] == name}
        if name in UNTRAINED:
            if not done:
                keep({"variant": name, "seed": 0, "share": 0.0}, untrained(name))
            continue
        plugin, trained = variant(name, arguments.meta_updates)
        trainer: MetaTrainer | None = None
        for seed in arguments.seeds:
            if done >= {(seed, share) for share in trained.judged}:
                continue
            # The seed is in the first state alone, so that all share what is compiled.
            trainer = trainer or make_trainer(plugin, replace(trained.config, seed=seed))
            for share, loaded, metrics in meta_trained(plugin, trained, trainer, seed):
                if (seed, share) in done:
                    continue
                steps = loaded.metadata["environment_steps"]
                row = {"variant": name, "seed": seed, "share": share, "environment_steps": steps, **metrics}
                keep(row, learned(loaded, name))
    Console(width=150).print(summary(read(arguments.out)))


if __name__ == "__main__":
    run_script(main)
