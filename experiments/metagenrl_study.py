"""What makes a learned loss learn at small scale: its form, the geometry it is judged in, renewal, the warm start.

    python -m experiments.metagenrl_study [--worlds small-control|pendulums] [--seeds N] [--updates N] [--only NAME ...]

Each variant is meta-trained in worlds of varied physics from several seeds; then fresh agents learn by the frozen loss
alone in held-out ones, and from small-control also in a task that it never saw. Beside their returns, as shares of what
tuned DDPG gains over uniform actions, stands what the population shows at the end, by age: the cosine between the
learned update and the critic's, saturation, and the norm of the meta-gradient.

Runs add to one table, so several at once may share the variants.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich import box
from rich.console import Console
from rich.table import Column, Table

from experiments.rows import Row, add, check_only, read
from experiments.script import run_script
from metaobj.common.devices import quick_jit, use_all_cores
from metaobj.common.evaluation.baselines import ddpg
from metaobj.common.evaluation.method import Method, Settings
from metaobj.common.evaluation.protocol import Contestant, EvaluationProtocol, Trials, evaluate, tune
from metaobj.common.evaluation.statistics import interquartile_mean
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.lifetimes.distributions import Entry, make_distribution
from metaobj.common.lifetimes.lifetime import Lifetime
from metaobj.common.lifetimes.population import make_families
from metaobj.common.meta.gradient import meta_gradient
from metaobj.common.meta.trainer import MetaTrainer, TrainingState
from metaobj.common.objectives.train import make_trainer
from metaobj.metagenrl.config import PRESETS, MetaGenRLTraining
from metaobj.metagenrl.objective import MetaGenRLConfig
from metaobj.metagenrl.plugin import plugin

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

    worlds: Literal["small-control", "pendulums", "point-masses"] = "small-control"
    """Trained in."""
    seeds: int = 3
    """Meta-training seeds per variant."""
    updates: int = 3000
    """Meta-updates of each."""
    agents: int = 8
    """Fresh agents that judge a loss."""
    only: tuple[str, ...] = ()
    """Some of the variants."""
    out: Path = Path("experiments/results/metagenrl_study")
    """Folder of the table; what stands there already is not run again."""


DDPG = "DDPG, tuned"
AGES = ("young", "middle", "old")
LOOKED_AT = ("cosine", "saturation", "gradient_norm")


def suite_of(worlds: str) -> tuple[Entry, ...]:
    """Held-out physics of the worlds trained in, and a new task where those are several."""
    trained = [entry.environment for entry in make_distribution(worlds)]
    held_out = tuple(entry for entry in make_suite("held-out-physics") if entry.environment in trained)
    return held_out + (make_suite("unseen-control") if len(trained) > 1 else ())


def columns(worlds: str) -> list[str]:
    """Of the table."""
    names = [entry.environment for entry in suite_of(worlds)]
    returns = [f"{kind}/{name}" for kind in ("fresh", "uniform") for name in names]
    return ["variant", "seed", "updates", *returns, *(f"{key}_{age}" for key in LOOKED_AT for age in AGES)]


def judge(name: str, config: MetaGenRLTraining, agents: int, seeds: Iterable[int]) -> Iterator[Row]:
    """For each seed: meta-train, look at the population, then train fresh agents."""
    trainer = make_trainer(plugin, config)
    programs = plugin.programs(config, plugin.build(config))
    life = trainer.entries[0].updates
    if name == _NEVER_RENEWED:
        entries = [replace(entry, updates=_NEVER) for entry in trainer.entries]
        trainer = replace(trainer, families=make_families(entries, programs))
    look = looking(trainer)
    for seed in seeds:
        # The seed is in the first state alone, so all seeds share what is compiled.
        state = replace(trainer, config=replace(config, seed=seed)).init()
        for _ in range(config.meta_updates // config.log_every):
            state, _ = trainer.run_chunk(state)
        best = trainer.sampler.best(jax.device_get(state.sampler))
        settings = {entry.environment: setting for entry, setting in zip(trainer.entries, best, strict=True)}
        suite = suite_of(config.distribution)
        settings |= {entry.environment: best[0] for entry in suite if entry.environment not in settings}
        # Nothing to tune: the settings are the sampler's.
        method = Method(name, trainer.objective, state.eta, programs, lambda agent: {}, config.rollout_steps)
        returns = fresh_returns(method, suite, settings, agents, seed)
        yield returns | by_age(look(state), life)


def baseline(config: MetaGenRLTraining, agents: int, seeds: Iterable[int]) -> Iterator[Row]:
    """The same for DDPG, tuned on training physics."""
    method = ddpg(config.rollout_steps, config.discount, config.agent, config.critic_learning_rates)
    trials = Trials(EvaluationProtocol(tuning_seeds=agents))
    setting = tune(trials, Contestant(method.name, (method,)), make_distribution(config.distribution)).setting
    suite = suite_of(config.distribution)
    settings = {entry.environment: setting for entry in suite}
    for seed in seeds:
        yield fresh_returns(method, suite, settings, agents, seed)


def fresh_returns(
    method: Method, suite: Sequence[Entry], settings: Mapping[str, Settings], agents: int, seed: int
) -> Row:
    """Interquartile means over agents, with `settings` by environment, and the mean of uniform actions there."""
    curves = evaluate(
        Trials(EvaluationProtocol(seeds=agents, bins=5, seed=seed)), Contestant(method.name, (method,)), suite, settings
    )
    assert curves.floor is not None
    row: Row = {"seed": seed}
    for name, returns, floor in zip(curves.tasks, curves.returns, curves.floor, strict=True):
        row[f"fresh/{name}"] = float(interquartile_mean(returns[None, :, -1]))
        row[f"uniform/{name}"] = float(floor)
    return row


def looking(trainer: MetaTrainer, updates: int = 60) -> Callable[[TrainingState], Any]:
    """The population lives on by the loss as it is now: (ages, {name: values}), all [updates, L]."""

    @quick_jit()
    def live(state: TrainingState) -> Any:
        def one(populations: tuple[Lifetime, ...], _: None) -> tuple[tuple[Lifetime, ...], Any]:
            after, seen = [], []
            for family, population in zip(trainer.families, populations, strict=True):
                given = (trainer.objective, family, trainer.config, state.eta, population, state.step)
                _, lived, _, metrics = meta_gradient(*given)
                after.append(lived)
                seen.append((population.updates, {key: metrics[key] for key in LOOKED_AT}))
            return tuple(after), jax.tree.map(lambda *parts: jnp.concatenate(parts), *seen)

        return jax.lax.scan(one, state.populations, None, length=updates)[1]

    return lambda state: jax.device_get(live(state))


def by_age(seen: Any, life: int) -> dict[str, float]:
    """Means by thirds of a life, where there are agents of that age."""
    ages, metrics = seen
    third = np.minimum(3 * ages // life, 2)
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
    check_only(arguments.only, (DDPG, *VARIANTS))
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{arguments.worlds}.csv"
    console = Console(width=140)
    for name in arguments.only or (DDPG, *VARIANTS):
        updates = 0 if name == DDPG else arguments.updates
        done = {(row["variant"], row["seed"], row["updates"]) for row in read(path)}
        seeds = [seed for seed in range(arguments.seeds) if (name, seed, updates) not in done]
        base = VARIANTS.get(name, _BASE)
        log_every = min(base.log_every, arguments.updates)
        config = replace(
            base,
            distribution=arguments.worlds,
            meta_updates=arguments.updates,
            log_every=log_every,
            checkpoint_every=log_every,
        )
        given = (config, arguments.agents, seeds)
        for row in baseline(*given) if name == DDPG else judge(name, *given):
            returns = " ".join(f"{value:.0f}" for key, value in row.items() if key.startswith("fresh/"))
            console.print(f"{name}, seed {row['seed']}: {returns}")
            add(path, columns(arguments.worlds), row | {"variant": name, "updates": updates})
    report([row for row in read(path) if row["updates"] in (0, arguments.updates)], arguments.worlds, console)


def report(rows: list[Row], worlds: str, console: Console) -> None:
    """Means over the seeds."""
    names = [entry.environment for entry in suite_of(worlds)]
    reference = {row["seed"]: row for row in rows if row["variant"] == DDPG}
    rows = [row for row in rows if row["seed"] in reference]
    if not rows:
        console.print(f"Gains are shares of DDPG's: --only '{DDPG}' measures them.")
        return

    def gain(row: Row, name: str) -> float:
        """In the worlds of its seed, which are others for another seed."""
        same = reference[row["seed"]]
        floor = same[f"uniform/{name}"]
        return (row[f"fresh/{name}"] - floor) / (same[f"fresh/{name}"] - floor)

    title = "Gains of fresh agents; the population by thirds of a life"
    table = Table(Column("Variant", min_width=28), box=box.SIMPLE_HEAD, title=title)
    for title in (*map(short, names), "all, by seed", *LOOKED_AT):
        table.add_column(title.replace("_", " "), justify="right", no_wrap=True)
    for variant in (DDPG, *VARIANTS):
        own = [row for row in rows if row["variant"] == variant]
        if not own:
            continue
        gains = np.array([[gain(row, name) for name in names] for row in own])  # [seeds, environments]
        by_seed = " ".join(f"{value:.2f}" for value in gains.mean(1))
        means = [" ".join(mean(own, f"{key}_{age}") for age in AGES) for key in LOOKED_AT]
        table.add_row(variant, *(f"{value:.2f}" for value in gains.mean(0)), by_seed, *means)
    console.print(table)
    for name in names:
        floor, top = (np.mean([row[f"{kind}/{name}"] for row in reference.values()]) for kind in ("uniform", "fresh"))
        console.print(f"{short(name)}: 0 is the return of uniform actions, {floor:.0f}, and 1 that of DDPG, {top:.0f}.")


def short(name: str) -> str:
    """An environment's name for people."""
    return name.removeprefix("control/").removesuffix("/varied").removesuffix("-v1").replace("_", " ")


def mean(rows: list[Row], key: str) -> str:
    """Over the rows that know it."""
    values = [row[key] for row in rows if key in row]
    return f"{np.mean(values):.2g}" if values else "-"


if __name__ == "__main__":
    run_script(main)
