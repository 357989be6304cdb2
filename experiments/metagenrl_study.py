"""What makes a learned loss learn at small scale: its form, the geometry it is judged in, renewal, the warm start.

    python -m experiments.metagenrl_study [--worlds point-masses|pendulums] [--seeds 3] [--updates 800] [--only NAME]

Each variant is meta-trained in a world of varied physics from several seeds; then fresh agents learn by the frozen
loss alone in held-out ones. Beside their returns stands what the population shows at the end, by age: the cosine
between the learned update and the critic's, saturation, and the norm of the meta-gradient.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from common.devices import quick_jit, use_all_cores
from common.evaluation.agents import draw_worlds, train_agents
from common.evaluation.statistics import interquartile_mean
from common.lifetime import Lifetime
from common.meta_step import MetaTrainer, TrainingState
from common.meta_training import make_trainer
from common.population import make_families, meta_gradient
from metagenrl.config import PRESETS, MetaGenRLTraining
from metagenrl.objective import MetaGenRLConfig
from metagenrl.plugin import plugin

_BASE = PRESETS["metagenrl-demo"]
_NEVER = 2**30


def _network(**changes: bool) -> MetaGenRLTraining:
    return replace(_BASE, network=replace(MetaGenRLConfig(), **changes))


def _meta(**changes: Any) -> MetaGenRLTraining:
    return replace(_BASE, meta=replace(_BASE.meta, **changes))


def _agent(**changes: Any) -> MetaGenRLTraining:
    return replace(_BASE, agent=replace(_BASE.agent, **changes))


_NEVER_RENEWED = "agents never renewed"
VARIANTS: dict[str, MetaGenRLTraining] = {
    "chosen": _BASE,
    "free loss": _network(),
    "free loss, reads the TD error": _network(td_error=True),
    "product, not centred": _network(td_error=True, product=True),
    "policies always follow the critic": _meta(warm_start=_NEVER),
    "warm start in each lifetime": _meta(warm_start_per="lifetime"),
    "no warm start": _meta(warm_start=0),
    _NEVER_RENEWED: _BASE,
    "no penalty on saturation": _agent(saturation_penalty=0.0),
    "judged along the plain gradient, normalised": _meta(inner_optimiser="normalised"),
    "judged along the plain gradient (mean, SGD)": _meta(inner_optimiser="sgd", inner_learning_rate=1e-3),
    "the same, summed over the batch": _meta(inner_optimiser="sgd", inner_learning_rate=1e-3, inner_step="sum"),
    "judgement not scaled": _meta(scale_judge=False),
    "judged by the smaller critic": _meta(judge_critic="minimum"),
    "judged on the updates' windows too": _meta(judge_windows="all"),
    "time limits end, with a bonus of 1": _agent(time_limits_end=True, end_bonus=1.0),
}
"""The first is what the presets do; the others differ in one thing each."""


@dataclass(frozen=True)
class Arguments:
    """A study of MetaGenRL on one small environment."""

    worlds: Literal["point-masses", "pendulums"] = "point-masses"
    """Trained and tested on: pendulums are harder, and take thousands of meta-updates."""
    seeds: int = 3
    """Meta-training seeds per variant."""
    updates: int = 800
    """Meta-updates of each."""
    agents: int = 8
    """Fresh agents that judge a loss."""
    only: str | None = None
    """One variant."""
    out: Path = Path("experiments/results/metagenrl_study")
    """Folder of the table; what stands there already is not run again."""


AGES = ("young", "middle", "old")
LOOKED_AT = ("cosine", "saturation", "gradient_norm")


def judge(name: str, config: MetaGenRLTraining, agents: int, seeds: Iterable[int]) -> Iterator[dict[str, Any]]:
    """For each seed: meta-train, look at the population, then train fresh agents on held-out physics."""
    trainer = make_trainer(plugin, config)
    (entry,) = trainer.entries
    if name == _NEVER_RENEWED:
        entries = [replace(entry, updates=_NEVER)]
        trainer = replace(trainer, families=make_families(entries, plugin.programs(config, trainer.objective)))
    (held_out,) = make_families([replace(entry, split="held_out")], plugin.programs(config, trainer.objective))
    look = looking(trainer)
    for seed in seeds:
        # The seed is in the first state alone, so all seeds share what is compiled.
        state = replace(trainer, config=replace(config, seed=seed)).init()
        for _ in range(config.meta_updates // config.log_every):
            state, _ = trainer.run_chunk(state)
        worlds = draw_worlds(held_out, 0, jax.random.key(seed + 1), agents)
        best = trainer.sampler.best(jax.device_get(state.sampler))[0]
        settings = {key: np.full(agents, value) for key, value in best.items()}
        key = jax.random.key(seed)
        record = train_agents(trainer.objective, state.eta, held_out, worlds, entry.updates, settings, key, 5)
        ages, metrics = look(state)
        assert record.random is not None
        yield {
            "variant": name,
            "seed": seed,
            "updates": config.meta_updates,
            "fresh_return": float(interquartile_mean(record.returns[None, :, -1])),
            "random_return": float(record.random.mean()),
            **by_age(ages, metrics, entry.updates),
        }


def looking(trainer: MetaTrainer, updates: int = 60) -> Callable[[TrainingState], Any]:
    """The population lives on by the loss as it is now: (ages, {name: values}), all [updates, L]."""
    (family,) = trainer.families

    @quick_jit()
    def live(state: TrainingState) -> Any:
        def one(population: Lifetime, _: None) -> tuple[Lifetime, tuple[jax.Array, dict[str, jax.Array]]]:
            given = (trainer.objective, family, trainer.config, state.eta, population, state.step)
            _, after, metrics = meta_gradient(*given)
            return after, (population.updates, {key: metrics[key] for key in LOOKED_AT})

        return jax.lax.scan(one, state.populations[0], None, length=updates)[1]

    return lambda state: jax.device_get(live(state))


def by_age(ages: np.ndarray, metrics: dict[str, np.ndarray], life: int) -> dict[str, float]:
    """Means by thirds of a life."""
    third = np.minimum(3 * ages // life, 2)
    return {
        f"{key}_{age}": float(values[third == at].mean()) if (third == at).any() else float("nan")
        for key, values in metrics.items()
        for at, age in enumerate(AGES)
    }


def main() -> None:
    """Run the variants and write the table anew after each run."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    console = Console()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{arguments.worlds}.csv"
    rows: list[dict[str, Any]] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = [
                {key: value if key == "variant" else float(value) for key, value in row.items()}
                for row in csv.DictReader(file)
            ]
    done = {(row["variant"], row["seed"], row["updates"]) for row in rows}
    variants = VARIANTS if arguments.only is None else {arguments.only: VARIANTS[arguments.only]}
    for name, base in variants.items():
        seeds = [seed for seed in range(arguments.seeds) if (name, seed, arguments.updates) not in done]
        log_every = min(base.log_every, arguments.updates)
        config = replace(
            base,
            distribution=arguments.worlds,
            meta_updates=arguments.updates,
            log_every=log_every,
            checkpoint_every=log_every,
        )
        for row in judge(name, config, arguments.agents, seeds):
            rows.append(row)
            console.print(row)
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
                writer.writerows(rows)
    report([row for row in rows if row["updates"] == arguments.updates], list(variants), console)


def report(rows: list[dict[str, Any]], variants: list[str], console: Console) -> None:
    """Means over the seeds."""
    table = Table("Variant", box=box.SIMPLE_HEAD, title="Fresh agents, and the population by thirds of a life")
    for title in ("return of\nfresh agents", "worst and\nbest seed", "cosine", "saturation", "meta-gradient"):
        table.add_column(title, justify="right")
    for name in variants:
        own = [row for row in rows if row["variant"] == name]
        if not own:
            continue
        fresh = [row["fresh_return"] for row in own]
        means = [" ".join(f"{np.mean([row[f'{key}_{age}'] for row in own]):.2g}" for age in AGES) for key in LOOKED_AT]
        table.add_row(name, f"{np.mean(fresh):.0f}", f"{min(fresh):.0f} {max(fresh):.0f}", *means)
    console.print(table)
    random = np.mean([row["random_return"] for row in rows])
    seeds = len({row["seed"] for row in rows})
    console.print(f"{seeds} meta-training seeds; uniform actions return {random:.0f}.")


if __name__ == "__main__":
    main()
