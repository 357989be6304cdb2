"""The evaluation protocol: tune on training environments, then train fresh agents on a suite.

Every method gets the same worlds, networks, rollouts and environment steps. Its hyperparameters are chosen per kind of
agent on worlds from the training part, never on the suite: each setting of the method's grid trains agents there, and
the one with the best sum of final and mean score is used throughout the suite.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.evaluation.curves import Curves, Reference
from metaobj.common.evaluation.method import Method, Settings
from metaobj.common.evaluation.statistics import interquartile_mean
from metaobj.common.evaluation.training import DrawnWorlds, Record, draw_worlds, train_agents
from metaobj.common.keys import stream
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Lifetime
from metaobj.common.lifetimes.population import Family, make_families
from metaobj.common.memory import least_memory, memory, size_of


@dataclass(frozen=True)
class EvaluationProtocol:
    """Sizes of an evaluation."""

    seeds: int = 64
    """Agents per environment of the suite; each lives in a world of its own where worlds differ."""
    tuning_seeds: int = 64
    """Agents per setting and training environment."""
    bins: int = 25
    """Points of a learning curve."""
    longest_tuning_life: int = 500
    """Updates of an agent in tuning, at most."""
    seed: int = 0

    def __post_init__(self) -> None:
        check_numbers(self, "seeds tuning_seeds bins", at_least=1, at_most=MOST)
        check_numbers(self, "seed", at_least=0, at_most=2**32 - 1)


def check_sizes(
    protocol: EvaluationProtocol, method: Method, suite: Sequence[Entry], tuning: Sequence[Entry] = ()
) -> None:
    """Before time is spent.

    Raises:
        UserError: the method cannot live in one of the environments of the suite or of tuning; a learning curve of the
            suite has more bins than an agent has updates; or memory cannot hold the agents.
    """
    for name, entries in (("seeds", suite), ("tuning_seeds", tuning)):
        number = getattr(protocol, name)
        for family in make_families(entries, method.programs):
            for entry in (entries[task] for task in family.tasks):
                if name == "seeds" and protocol.bins > (updates := method.updates(entry, family.program)):
                    where = f"an agent of {method.name} has {updates} updates on {entry.environment}"
                    raise UserError(f"bins: {protocol.bins} given; {where}")
            agent = _least_memory(method, family, method.settings(entries[family.tasks[0]].agent)[0])
            if (needed := agent * number) > memory():
                names = " or ".join(entries[task].environment for task in family.tasks)
                raise UserError(
                    f"{name}: {number} given; so many agents of {method.name} on {names} take "
                    f"{needed / 2**30:.3g} GiB, and there are {memory() / 2**30:.3g} GiB of memory"
                )


def check_steps(methods: Sequence[Method], suite: Sequence[Entry]) -> None:
    """Before time is spent.

    Raises:
        UserError: agents of two methods would not live the same number of environment steps.
    """
    for entry in suite:
        lives: dict[str, int] = {}
        for method in methods:
            program = make_families([entry], method.programs)[0].program
            lives[method.name] = program.first_steps + method.updates(entry, program) * program.steps_per_update
        if len(set(lives.values())) > 1:
            told = " and ".join(f"{name} {steps}" for name, steps in lives.items())
            raise UserError(f"{entry.environment}: agents would not live the same number of steps: {told}")


def _least_memory(method: Method, family: Family, setting: Settings) -> float:
    """Bytes that an agent takes at least, itself and what an update or a test of it keeps of its steps."""
    program = family.program

    def live(lifetime: Lifetime) -> Any:
        return program.update(method.rule, method.weights, lifetime), program.test(lifetime)

    try:
        scalars = {name: jnp.float32(value) for name, value in setting.items()}
        lifetime = jax.eval_shape(family.start, jax.random.key(0), jax.random.key(1), scalars, 1)
        return size_of(lifetime) + least_memory(jax.make_jaxpr(live)(lifetime).jaxpr)
    except OverflowError:  # a dimension that is no 32-bit integer
        return math.inf


def tune(
    protocol: EvaluationProtocol,
    method: Method,
    entries: Sequence[Entry],
    report: Callable[[str], None] = lambda line: None,
) -> tuple[Settings, list[tuple[Settings, float]]]:
    """The method's best setting on training environments that share a kind of agent, and each setting's score.

    A setting's score is the mean over the environments of the interquartile mean, over agents, of final plus mean
    score. Where no reference returns are known, scores are scaled to [0, 1] by the best and worst agent met.
    """
    settings = method.settings(entries[0].agent)
    count = protocol.tuning_seeds
    totals = np.zeros(len(settings))
    for number, entry in enumerate(entries):
        family = make_families([replace(entry, split="training")], method.programs)[0]
        worlds_key, agents_key = jax.random.split(jax.random.fold_in(stream(protocol.seed, "tuning"), number))
        worlds = draw_worlds(family, 0, worlds_key, count)
        scores = []
        for at, setting in enumerate(settings):
            report(f"tuning {method.name} on {entry.environment}: setting {at + 1}/{len(settings)}")
            record = _train(protocol, method, family, worlds, entry, setting, agents_key, count)
            scores.append(record.scores)
        stacked = _worst_where_diverged(np.stack(scores))  # [settings, L, bins]
        if worlds.reference is None:
            span = stacked.max() - stacked.min()
            stacked = (stacked - stacked.min()) / (span if span > 0 else 1.0)
        final = interquartile_mean(stacked[:, None, :, -1])
        area = interquartile_mean(stacked.mean(-1)[:, None])
        totals += (final + area) / len(entries)
    best = int(np.argmax(totals))
    return settings[best], list(zip(settings, totals.tolist(), strict=True))


def evaluate(
    protocol: EvaluationProtocol,
    method: Method,
    suite: Sequence[Entry],
    settings: Mapping[str, Settings],
    report: Callable[[str], None] = lambda line: None,
) -> Curves:
    """Train `protocol.seeds` fresh agents on each environment of the suite, with `settings` by its name."""
    records: list[Record] = []
    for number, entry in enumerate(suite):
        report(f"training {protocol.seeds} agents by {method.name} on {entry.environment}")
        family = make_families([entry], method.programs)[0]
        worlds_key, agents_key = jax.random.split(jax.random.fold_in(stream(protocol.seed, "evaluation"), number))
        worlds = draw_worlds(family, 0, worlds_key, protocol.seeds)
        record = _train(
            protocol, method, family, worlds, entry, settings[entry.environment], agents_key, protocol.seeds
        )
        records.append(record)
    known = [record.optimal is not None for record in records]

    def by_seed(values: Sequence[np.ndarray | None]) -> np.ndarray:
        return np.stack([np.full(protocol.seeds, np.nan) if one is None else one for one in values])

    return Curves(
        method=method.name,
        tasks=[entry.environment for entry in suite],
        returns=np.stack([np.where(record.diverged, np.nan, record.returns) for record in records]),
        env_steps=np.stack([record.env_steps for record in records]),
        reference=Reference(
            by_seed([record.random if record.optimal is not None else None for record in records]),
            by_seed([record.optimal for record in records]),
        ),
        floor=by_seed([record.random for record in records]),
        diverged=np.stack([record.diverged for record in records]),
        groups=[
            entry.environment.partition("/")[0] if has_reference else entry.environment
            for entry, has_reference in zip(suite, known, strict=True)
        ],
    )


def _train(
    protocol: EvaluationProtocol,
    method: Method,
    family: Family,
    worlds: DrawnWorlds,
    entry: Entry,
    setting: Settings,
    key: jax.Array,
    count: int,
) -> Record:
    hyperparameters = {name: np.full(count, value) for name, value in setting.items()}
    updates = method.updates(entry, family.program)
    bins = min(protocol.bins, updates)
    return train_agents(method.rule, method.weights, family, worlds, updates, hyperparameters, key, bins)


def _worst_where_diverged(scores: np.ndarray) -> np.ndarray:
    """Scores of all settings on an environment: where an agent has diverged, the worst that any agent had; where all
    had from the start, 0 for all.
    """
    finite = np.isfinite(scores)
    return np.where(finite, scores, scores[finite].min() if finite.any() else 0.0)
