"""What makes a learned loss learn at small scale: its form, the geometry it is judged in, renewal, the warm start.

    python -m experiments.metagenrl_study [--seeds 3] [--updates 1200] [--only NAME] [--out DIR]

Each variant is meta-trained on pendulums of varied physics from several seeds; then fresh agents learn by the frozen
loss alone on held-out pendulums. Beside their returns stands what happened on the way: the cosine between the learned
update and the critic's, saturation, and the norm of the meta-gradient, early and late in meta-training.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from common.devices import use_all_cores
from common.evaluation.agents import draw_worlds, train_agents
from common.evaluation.statistics import interquartile_mean
from common.meta_training import make_trainer
from common.population import make_families
from metagenrl.config import PRESETS, MetaGenRLTraining
from metagenrl.objective import MetaGenRLConfig
from metagenrl.plugin import plugin

_BASE = replace(PRESETS["metagenrl-demo"], distribution="pendulums")
_NEVER = 2**30


def _network(**changes: bool) -> MetaGenRLTraining:
    return replace(_BASE, network=replace(MetaGenRLConfig(), **changes))


def _meta(**changes: Any) -> MetaGenRLTraining:
    return replace(_BASE, meta=replace(_BASE.meta, **changes))


VARIANTS: dict[str, MetaGenRLTraining] = {
    "chosen": _BASE,
    "free loss": _network(),
    "free loss, reads the TD error": _network(td_error=True),
    "product, not centred": _network(td_error=True, product=True),
    "judged along the plain gradient": _meta(inner_optimiser="normalised"),
    "summed SGD step, judgement not scaled": _meta(
        inner_optimiser="sgd", inner_step="sum", inner_learning_rate=1e-3, scale_judge=False
    ),
    "policies always follow the critic": _meta(warm_start=_NEVER),
    "warm start in each lifetime": _meta(warm_start_per="lifetime"),
    "no warm start": _meta(warm_start=0),
    "agents never renewed": _BASE,
    "no penalty on saturation": replace(_BASE, agent=replace(_BASE.agent, saturation_penalty=0.0)),
}


@dataclass(frozen=True)
class Arguments:
    """A study of MetaGenRL on pendulums."""

    seeds: int = 3
    """Meta-training seeds per variant."""
    updates: int = 1200
    """Meta-updates of each."""
    agents: int = 16
    """Fresh agents that judge a loss."""
    only: str | None = None
    """One variant."""
    out: Path = Path("experiments/results/metagenrl_study")
    """Folder of the table."""


def judge(name: str, config: MetaGenRLTraining, agents: int) -> Mapping[str, Any]:
    """Meta-train once, then train fresh agents on held-out pendulums."""
    trainer = make_trainer(plugin, config)
    if name == "agents never renewed":
        entries = [replace(entry, updates=_NEVER) for entry in trainer.entries]
        trainer = replace(trainer, families=make_families(entries, plugin.programs(config, trainer.objective)))
    state = trainer.init()
    rows = []
    for _ in range(config.meta_updates // config.log_every):
        state, metrics = trainer.run_chunk(state)
        rows.append({key: float(np.mean(value)) for key, value in metrics.items()})
    tenth = max(1, len(rows) // 10)
    (entry,) = trainer.entries
    held_out = replace(entry, split="held_out")
    (family,) = make_families([held_out], plugin.programs(config, trainer.objective))
    worlds = draw_worlds(family, 0, jax.random.key(config.seed + 1), agents)
    best = trainer.sampler.best(jax.device_get(state.sampler))[0]
    settings = {key: np.full(agents, value) for key, value in best.items()}
    record = train_agents(
        trainer.objective, state.eta, family, worlds, entry.updates, settings, jax.random.key(config.seed), 5
    )
    assert record.random is not None
    return {
        "fresh_return": float(interquartile_mean(record.returns[None, :, -1])),
        "random_return": float(record.random.mean()),
        "reward_late": float(np.mean([row["reward"] for row in rows[-tenth:]])),
        "cosine_early": float(np.mean([row["cosine"] for row in rows[:tenth]])),
        "cosine_late": float(np.mean([row["cosine"] for row in rows[-tenth:]])),
        "saturation_late": float(np.mean([row["saturation"] for row in rows[-tenth:]])),
        "meta_gradient_early": float(np.mean([row["meta_gradient_norm"] for row in rows[:tenth]])),
        "meta_gradient_late": float(np.mean([row["meta_gradient_norm"] for row in rows[-tenth:]])),
    }


def main() -> None:
    """Run the variants and write the table, anew after each run."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    console = Console()
    arguments.out.mkdir(parents=True, exist_ok=True)
    rows: list[Mapping[str, Any]] = []
    variants = VARIANTS if arguments.only is None else {arguments.only: VARIANTS[arguments.only]}
    for seed in range(arguments.seeds):
        for name, base in variants.items():
            log_every = min(base.log_every, arguments.updates)
            config = replace(
                base, seed=seed, meta_updates=arguments.updates, log_every=log_every, checkpoint_every=log_every
            )
            rows.append({"variant": name, "seed": seed, **judge(name, config, arguments.agents)})
            console.print(rows[-1])
            with (arguments.out / "runs.csv").open("w", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
    titles = ("fresh return", "cosine, early", "late", "meta-gradient, late", "reward, late")
    keys = ("fresh_return", "cosine_early", "cosine_late", "meta_gradient_late", "reward_late")
    table = Table("variant", box=box.SIMPLE_HEAD, title=f"Means over {arguments.seeds} meta-training seeds")
    for title in titles:
        table.add_column(title, justify="right")
    for name in variants:
        own = [row for row in rows if row["variant"] == name]
        table.add_row(name, *(f"{np.mean([row[key] for row in own]):.3g}" for key in keys))
    console.print(table)


if __name__ == "__main__":
    main()
