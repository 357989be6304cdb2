"""What makes LPG carry: parts of its loss, what it starts from, how many worlds and how many updates it learns by.

    python -m experiments.lpg_study [--seeds SEED ...] [--only NAME ...]

Each variant is meta-trained from several seeds on tables alone (`carry-small`: small grids that pay now and then, on
every step, or cost on every step, and Markov chains) for the same number of environment steps. Fresh agents then learn
by it: tables in held-out chains longer than a rollout, of three kinds, with y and without; tables in held-out layouts,
and networks in CartPole, each at the best of a few learning rates there. A2C stands beside them.

Runs add to one table, so several at once may share the variants.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import jax
import tyro

from experiments.rows import Row, add, check_only, read
from experiments.script import run_script
from experiments.study import Task, Trained, columns, in_tasks, meta_trained
from metaobj.common.devices import use_all_cores
from metaobj.common.evaluation.baselines import a2c
from metaobj.common.evaluation.credit import KINDS, Variant
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.objectives.contestants import learned
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.objectives.train import make_trainer
from metaobj.lpg.bootstrap import bootstrapping
from metaobj.lpg.config import GRIDS, VALUE, LPGTraining
from metaobj.lpg.inspection_data import Size
from metaobj.lpg.objective import LPG
from metaobj.lpg.plugin import plugin

UPDATES = 160
"""Meta-updates of K = 5, 20 million environment steps."""


def _small(config: LPGTraining, learning_rate: float) -> LPGTraining:
    return replace(
        config,
        distribution="carry-small",
        scale=1,
        meta_updates=UPDATES,
        checkpoint_every=UPDATES,
        chunk=32,
        learning_rate=learning_rate,
    )


def _meta(base: LPGTraining, **changes: Any) -> LPGTraining:
    return replace(base, meta_loss=replace(base.meta_loss, **changes))


_BASE = _meta(_small(GRIDS, 1e-3), policy_entropy=0.05)
_STARTED = replace(_BASE, init="pretrained:lpg-distilled", learning_rate=5e-4)
_VALUE = _small(VALUE, 5e-4)
_LAYOUTS = replace(_BASE, distribution="small-layouts", scale=2)


def _updates(inner: int) -> LPGTraining:
    """As many environment steps by another K."""
    updates = UPDATES * (_BASE.inner_updates + 1) // (inner + 1)  # the last rollout of each judges
    return replace(_BASE, inner_updates=inner, meta_updates=updates, checkpoint_every=updates)


def _evolved(kind: Any) -> LPGTraining:
    """As many environment steps without differentiating: nothing is gathered for judging alone."""
    K = _LAYOUTS.inner_updates
    updates = UPDATES * (K + 1) // K
    return replace(_LAYOUTS, estimator=kind, meta_updates=updates, checkpoint_every=updates, log_every=updates // 24)


PLAIN = "LPG"
STARTED, VALUED = "LPG, from the hand-written rule", "LPG+V, from A2C"
STARTS = (PLAIN, STARTED, VALUED)
LAYOUTS = "layouts only"
EVOLVED = {kind: f"{LAYOUTS}, {kind}" for kind in ("antithetic-es", "persistent-es")}
POOLS = (4, 16, 64, 256, 1024)
_COURSE = (0.25, 0.5, 1.0)
VARIANTS: dict[str, Trained] = {
    PLAIN: Trained(_BASE, _COURSE),
    STARTED: Trained(_STARTED, (0.0, *_COURSE)),
    VALUED: Trained(_VALUE, (0.0, *_COURSE)),
    "no y": Trained(replace(_BASE, network=replace(_BASE.network, bootstrap=False))),
    "no KL term": Trained(replace(_BASE, kl_weights=(0.0,))),
    "no value function": Trained(_meta(_BASE, use_value=False, scale_advantages=False)),
    "rewards as they are": Trained(replace(_BASE, value=replace(_BASE.value, scale_rewards=False))),
    LAYOUTS: Trained(_LAYOUTS, _COURSE),
    "with networks": Trained(replace(_BASE, distribution="carry")),
    "K = 1": Trained(_updates(1)),
    "K = 11": Trained(_updates(11)),
    "advantages as they are": Trained(_meta(_BASE, scale_advantages=False)),
    "an Adam for each family": Trained(replace(_BASE, family_adam=True)),
    "no clip": Trained(replace(_BASE, lifetime_gradient_clip=0.0)),
    "lives twice as long": Trained(replace(_BASE, life=2.0)),
    "no entropy, b0 = 0": Trained(_meta(_BASE, policy_entropy=0.0)),
    "b2 = 0.05": Trained(_meta(_BASE, policy_target=0.05)),
    f"{STARTED}, anchor 0.03": Trained(_meta(_STARTED, anchor=0.03)),
    f"{STARTED}, look-ahead 6": Trained(_meta(_STARTED, look_ahead=6, policy_entropy=0.0)),
    **{f"{number} worlds": Trained(replace(_BASE, worlds=number)) for number in POOLS},
    **{name: Trained(_evolved(kind), _COURSE) for kind, name in EVOLVED.items()},
    "64 worlds, by regret": Trained(replace(_BASE, worlds=64, sampler=replace(_BASE.sampler, replay=0.8))),
}
"""The first is LPG as in the paper but for its worlds and the scale of rewards; most others differ from it in one
thing each.
"""
A2C = "A2C"

TASKS = {"layouts": "held-out-layouts", "cartpole": "CartPole-v1"}
"""Suites of one task each."""
_CHAINS = [f"{world}{cut}" for world in KINDS for cut in ("", ", no y")]
COLUMNS = columns(TASKS, _CHAINS)


@dataclass(frozen=True)
class Arguments:
    """A study of LPG."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Of meta-training."""
    only: tuple[str, ...] = ()
    """Some of the variants."""
    agents: int = 8
    """Fresh agents that judge an objective in each task."""
    tuning_agents: int = 3
    """Those that a learning rate is chosen by."""
    judged_in: tuple[Literal["chains", "layouts", "cartpole"], ...] = ("chains", "layouts", "cartpole")
    """What objectives are judged in; columns of others stay empty."""
    out: Path = field(default=Path("experiments/results/lpg_study/study.csv"))
    """The table; what stands there already is not run again."""


def in_chains(loaded: Loaded[LPGTraining, LPG], seed: int) -> Row:
    """Shares of the optimal return in chains longer than a rollout."""
    variants = {"": Variant(), ", no y": Variant(("y",))}
    found = bootstrapping(loaded, Size(), jax.random.key(seed), [*variants.values()]).scores
    return {
        f"{world}{name}": float(found[variant, world].point) for world in KINDS for name, variant in variants.items()
    }


def tasks(arguments: Arguments) -> dict[str, Task]:
    """What fresh agents are judged in."""
    return {
        task: Task(make_suite(name)[0], normalised=task != "cartpole")
        for task, name in TASKS.items()
        if task in arguments.judged_in
    }


def main() -> None:
    """Run what the table does not hold yet."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    check_only(arguments.only, (A2C, *VARIANTS))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)

    def keep(row: Row) -> None:
        print(" ".join(f"{key}={value:.3g}" if isinstance(value, float) else f"{value}," for key, value in row.items()))
        add(arguments.out, COLUMNS, row)

    for name in arguments.only or (A2C, *VARIANTS):
        if name == A2C:
            if not any(row["variant"] == A2C for row in read(arguments.out)):
                method = a2c(_BASE.rollout_steps, _BASE.discount, _BASE.value)
                judged = in_tasks(method, tasks(arguments), arguments.agents, arguments.tuning_agents)
                keep({"variant": name, "seed": 0, "share": 0.0, **judged})
            continue
        variant = VARIANTS[name]
        trainer: MetaTrainer | None = None
        for seed in arguments.seeds:
            done = {row["share"] for row in read(arguments.out) if (row["variant"], row["seed"]) == (name, seed)}
            if done >= set(variant.judged):
                continue
            # The seed is in the first state alone, so that all share what is compiled; unless it says what worlds are.
            if trainer is None or variant.config.worlds:
                trainer = make_trainer(plugin, replace(variant.config, seed=seed))
            for share, loaded, metrics in meta_trained(plugin, variant, trainer, seed):
                if share not in done:
                    row = {"variant": name, "seed": seed, "share": share, **metrics}
                    row["environment_steps"] = loaded.metadata["environment_steps"]
                    chains = in_chains(loaded, seed) if "chains" in arguments.judged_in else {}
                    judged = in_tasks(learned(loaded), tasks(arguments), arguments.agents, arguments.tuning_agents)
                    keep(row | chains | judged)


if __name__ == "__main__":
    run_script(main)
