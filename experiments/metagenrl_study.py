"""What makes a learned loss learn at small scale: its form, the geometry it is judged in, renewal, the warm start.

    python -m experiments.metagenrl_study [--worlds pendulums|point-masses] [--seeds N] [--updates N] [--only NAME ...]

Each variant is meta-trained in a world of varied physics from several seeds; then fresh agents learn by the frozen
loss alone in held-out ones. Beside their returns stands what the population shows at the end, by age: the cosine
between the learned update and the critic's, saturation, and the norm of the meta-gradient.

Runs add to one table, so several at once may share the variants.
"""

import csv
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

import jax
import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from common.devices import quick_jit, use_all_cores
from common.distributions import Entry, make_distribution
from common.evaluation.agents import draw_worlds, train_agents
from common.evaluation.baselines import ddpg
from common.evaluation.method import Settings
from common.evaluation.protocol import Protocol, tune
from common.evaluation.statistics import interquartile_mean
from common.evaluation.suites import SUITES
from common.lifetime import Lifetime, ProgramMaker
from common.meta_step import MetaTrainer, TrainingState
from common.meta_training import make_trainer
from common.population import make_families, meta_gradient
from common.types import PyTree
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

    worlds: Literal["pendulums", "point-masses"] = "pendulums"
    """Trained and tested on."""
    seeds: int = 3
    """Meta-training seeds per variant."""
    updates: int = 1500
    """Meta-updates of each."""
    agents: int = 8
    """Fresh agents that judge a loss."""
    only: tuple[str, ...] = ()
    """Some of the variants."""
    out: Path = Path("experiments/results/metagenrl_study")
    """Folder of the table; what stands there already is not run again."""


Row: TypeAlias = dict[str, Any]
DDPG = "DDPG, tuned"
AGES = ("young", "middle", "old")
LOOKED_AT = ("cosine", "saturation", "gradient_norm")
COLUMNS = (
    *("variant", "seed", "updates", "fresh_return", "random_return"),
    *(f"{key}_{age}" for key in LOOKED_AT for age in AGES),
)


def judge(name: str, config: MetaGenRLTraining, agents: int, seeds: Iterable[int]) -> Iterator[Row]:
    """For each seed: meta-train, look at the population, then train fresh agents on held-out physics."""
    trainer = make_trainer(plugin, config)
    (entry,) = trainer.entries
    if name == _NEVER_RENEWED:
        entries = [replace(entry, updates=_NEVER)]
        trainer = replace(trainer, families=make_families(entries, plugin.programs(config, trainer.objective)))
    programs = plugin.programs(config, trainer.objective)
    look = looking(trainer)
    for seed in seeds:
        # The seed is in the first state alone, so all seeds share what is compiled.
        state = replace(trainer, config=replace(config, seed=seed)).init()
        for _ in range(config.meta_updates // config.log_every):
            state, _ = trainer.run_chunk(state)
        best = trainer.sampler.best(jax.device_get(state.sampler))[0]
        returns = fresh_returns(trainer.objective, state.eta, programs, entry, best, agents, seed)
        ages, metrics = look(state)
        yield {"variant": name, "seed": seed, "updates": config.meta_updates} | returns | by_age(ages, metrics, entry)


def baseline(config: MetaGenRLTraining, agents: int, seeds: Iterable[int]) -> Iterator[Row]:
    """The same for DDPG, tuned on training physics."""
    method = ddpg(config.rollout_steps, config.discount, config.agent, config.critic_learning_rates)
    (entry,) = make_distribution(config.distribution)
    setting, _ = tune(Protocol(tuning_seeds=agents), method, [entry])
    for seed in seeds:
        returns = fresh_returns(method.rule, method.weights, method.programs, entry, setting, agents, seed)
        yield {"variant": DDPG, "seed": seed, "updates": config.meta_updates} | returns


def fresh_returns(
    rule: Any, weights: PyTree, programs: ProgramMaker, entry: Entry, setting: Settings, agents: int, seed: int
) -> dict[str, float]:
    """Of agents in held-out physics, and of uniform actions there."""
    (held_out,) = (one for one in SUITES["held-out-physics"] if one.environment == entry.environment)
    (family,) = make_families([held_out], programs)
    worlds = draw_worlds(family, 0, jax.random.key(seed + 1), agents)
    settings = {name: np.full(agents, value) for name, value in setting.items()}
    key = jax.random.key(seed)
    record = train_agents(rule, weights, family, worlds, held_out.updates, settings, key, 5)
    assert record.random is not None
    fresh = float(interquartile_mean(record.returns[None, :, -1]))
    return {"fresh_return": fresh, "random_return": float(record.random.mean())}


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


def by_age(ages: np.ndarray, metrics: dict[str, np.ndarray], entry: Entry) -> dict[str, float]:
    """Means by thirds of a life, where there are agents of that age."""
    third = np.minimum(3 * ages // entry.updates, 2)
    return {
        f"{key}_{age}": float(values[third == at].mean())
        for key, values in metrics.items()
        for at, age in enumerate(AGES)
        if (third == at).any()
    }


def main() -> None:
    """Run the variants that the table does not hold yet, and print it."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{arguments.worlds}.csv"
    console = Console()
    for name in arguments.only or (DDPG, *VARIANTS):
        done = {(row["variant"], row["seed"], row["updates"]) for row in read(path)}
        seeds = [seed for seed in range(arguments.seeds) if (name, seed, arguments.updates) not in done]
        base = VARIANTS.get(name, _BASE)
        log_every = min(base.log_every, arguments.updates)
        config = replace(
            base,
            distribution=arguments.worlds,
            meta_updates=arguments.updates,
            log_every=log_every,
            checkpoint_every=log_every,
        )
        if not seeds:
            continue
        given = (config, arguments.agents, seeds)
        for row in baseline(*given) if name == DDPG else judge(name, *given):
            console.print(f"{name}, seed {row['seed']}: {row['fresh_return']:.0f}")
            add(path, row)
    report([row for row in read(path) if row["updates"] == arguments.updates], console)


def read(path: Path) -> list[Row]:
    """The table so far. What is not known of a row is not in it."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {key: value if key == "variant" else float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def add(path: Path, row: Row) -> None:
    """One line more, in one write."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


def report(rows: list[Row], console: Console) -> None:
    """Means over the seeds."""
    table = Table("Variant", box=box.SIMPLE_HEAD, title="Fresh agents, and the population by thirds of a life")
    for title in ("return of\nfresh agents", "worst and\nbest seed", "cosine", "saturation", "meta-gradient"):
        table.add_column(title, justify="right")
    for name in (DDPG, *VARIANTS):
        own = [row for row in rows if row["variant"] == name]
        if not own:
            continue
        fresh = [row["fresh_return"] for row in own]
        means = [" ".join(mean(own, f"{key}_{age}") for age in AGES) for key in LOOKED_AT]
        table.add_row(name, f"{np.mean(fresh):.0f}", f"{min(fresh):.0f} {max(fresh):.0f}", *means)
    console.print(table)
    random = np.mean([row["random_return"] for row in rows])
    seeds = len({row["seed"] for row in rows})
    console.print(f"{seeds} meta-training seeds; uniform actions return {random:.0f}.")


def mean(rows: list[Row], key: str) -> str:
    """Over the rows that know it."""
    values = [row[key] for row in rows if key in row]
    return f"{np.mean(values):.2g}" if values else "-"


if __name__ == "__main__":
    main()
