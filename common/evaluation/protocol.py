"""The evaluation protocol: choose settings by tuning, then train fresh agents on a suite.

Every method gets the same worlds, kinds of network and environment steps. Its hyperparameters are chosen per kind of
agent, by the best sum of final and mean score, under one of two rules:

    training    the whole grid, on environments of the training part: the suite is not looked at
    suite       a few learning rates on the suite itself, all else as usual: one rate for all its tasks, as the field
                does; the agents that are reported are others than those it was chosen by

A best setting on the edge of what was tried is followed outwards, twice at most, and told as an edge if it stays one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias
from zlib import crc32

import jax
import numpy as np

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.evaluation.cells import Cells, describe, digest, is_stable, source_of, versions
from metaobj.common.evaluation.curves import Curves, Reference
from metaobj.common.evaluation.evaluation import Choice
from metaobj.common.evaluation.journal import Journal
from metaobj.common.evaluation.memory_of import agent_bytes
from metaobj.common.evaluation.method import Method, Settings, beyond, edges
from metaobj.common.evaluation.references import known_returns
from metaobj.common.evaluation.statistics import interquartile_mean
from metaobj.common.evaluation.suites import APART
from metaobj.common.evaluation.training import Record, train_agents
from metaobj.common.evaluation.worlds import draw_worlds
from metaobj.common.keys import Purpose, stream
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.population import make_families
from metaobj.common.memory import memory

Tuning: TypeAlias = Literal["training", "suite"]
ROUNDS = 2
"""How often a best setting on an edge is followed outwards."""
LITTLE = 0.1
"""Final plus mean score, of 2 at best, below which the agents of the best setting have learned little, and what tells
it from others may be noise.
"""


@dataclass(frozen=True)
class EvaluationProtocol:
    """Rules and sizes of an evaluation."""

    seeds: int = 64
    """Agents per environment of the suite; each lives in a world of its own where worlds differ."""
    tuning_seeds: int = 64
    """Agents per setting and environment in tuning."""
    bins: int = 25
    """Points of a learning curve."""
    longest_tuning_life: int = 500
    """Updates of an agent in tuning on training environments, at most."""
    seed: int = 0
    tuning: Tuning = "training"
    """What settings are chosen on."""

    def __post_init__(self) -> None:
        check_numbers(self, "seeds tuning_seeds bins", at_least=1, at_most=MOST)
        check_numbers(self, "seed", at_least=0, at_most=2**32 - 1)
        if self.tuning not in ("training", "suite"):
            raise UserError(f"tuning: {self.tuning!r} given; must be training or suite")

    @property
    def told(self) -> str:
        """In a sentence, for tables and pages."""
        if self.tuning == "training":
            return "tuned on training environments only, over each method's whole grid"
        return "one learning rate per suite and kind of agent, the best of a few; all else as usual"


@dataclass(frozen=True, eq=False)
class Contestant:
    """What takes part in a comparison under one name: a method, or one per meta-training seed, which differ in their
    weights alone.
    """

    name: str
    methods: tuple[Method, ...]


@dataclass(frozen=True, eq=False)
class Trials:
    """Trains the agents of an evaluation, cell by cell."""

    protocol: EvaluationProtocol
    cells: Cells = field(default_factory=Cells)
    journal: Journal = field(default_factory=Journal)

    def train(self, method: Method, entry: Entry, settings: Sequence[Settings], purpose: Purpose) -> list[Record]:
        """One record for each setting, of all agents that the protocol asks for."""
        count = self._count(purpose)
        family = make_families([entry], method.programs)[0]
        updates = method.updates(entry, family.program)
        bins = min(self.protocol.bins, updates)
        inputs = {
            "versions": versions(),
            "rule": describe(method.rule),
            "weights": digest(method.weights),
            "program": describe(family.program),
            "environment": [entry.environment, entry.split, source_of(entry.environment)],
            "sizes": [count, updates, bins],
            "settings": list(settings),
            "keys": [self.protocol.seed, purpose],
        }
        label = f"{method.name} on {entry.environment}"
        if purpose == "tuning":
            label = f"tuning {label}, {len(settings)} setting{'s' * (len(settings) > 1)}"
        record = self.cells.find(inputs)
        stored = record is not None
        if record is None:
            self.journal.begin(label)
            # By name: a task has the same worlds in whatever suite it is.
            number = crc32(entry.environment.encode())
            worlds_key, agents_key = jax.random.split(jax.random.fold_in(stream(self.protocol.seed, purpose), number))
            worlds = draw_worlds(family, entry.environment, worlds_key, count)
            needed = len(settings) * count * agent_bytes(method, family, settings[0])
            at_once = max(int(len(settings) * min(0.5 * memory() / needed, 1.0)), 1)  # what memory holds with ease
            parts = [
                train_agents(
                    method.rule,
                    method.weights,
                    family,
                    worlds,
                    updates,
                    settings[at : at + at_once],
                    agents_key,
                    bins,
                )
                for at in range(0, len(settings), at_once)
            ]
            record = Record.joined(parts)
            try:
                if is_stable(inputs):
                    self.cells.keep(inputs, record)
            except UserError as error:  # what was computed is told all the same
                self.journal.warn(str(error))
        self.journal.end(label, self.work(method, entry, settings, purpose), stored)
        return [with_known(entry.environment, part) for part in record.parts(len(settings))]

    def work(self, method: Method, entry: Entry, settings: Sequence[Settings], purpose: Purpose) -> float:
        """Environment steps of all agents together."""
        return float(method.steps(entry)) * len(settings) * self._count(purpose)

    def _count(self, purpose: Purpose) -> int:
        return self.protocol.seeds if purpose == "evaluation" else self.protocol.tuning_seeds


def with_known(name: str, record: Record) -> Record:
    """With what is known by name of an environment whose returns could not be computed."""
    known = known_returns(name)
    if record.optimal is not None or known is None or known.best is None:
        return record
    random, best = (np.full(len(record.returns), value) for value in (known.random, known.best))
    return record._replace(random=random, optimal=best)


def planned_settings(protocol: EvaluationProtocol, method: Method, agent: AgentConfig) -> list[Settings]:
    """What tuning tries before it follows an edge."""
    return method.settings(agent) if protocol.tuning == "training" else method.few_settings(agent)


def tune(trials: Trials, contestant: Contestant, entries: Sequence[Entry]) -> Choice:
    """The best setting on environments that share a kind of agent.

    A setting's score is the mean over the environments of the interquartile mean, over agents, of final plus mean
    score. Where no reference returns are known, scores are scaled to [0, 1] by the best and worst agent met.
    """
    protocol, agent = trials.protocol, entries[0].agent
    settings = grid = planned_settings(protocol, contestant.methods[0], agent)
    if protocol.tuning == "training":
        entries = [replace(entry, split="training") for entry in entries]

    def measure(settings: Sequence[Settings]) -> list[list[Record]]:
        """By environment and setting, the agents of all methods."""
        by_entry = []
        for entry in entries:
            lives = [trials.train(m, entry, settings, "tuning") for m in contestant.methods]
            by_entry.append([Record.joined(same) for same in zip(*lives, strict=True)])
        return by_entry

    records = measure(settings)
    totals = _totals(records)
    for _ in range(ROUNDS):
        # One at a time: they share the program of the agents that are reported, where these are as many.
        for setting in beyond(grid, settings, settings[int(np.argmax(totals))]):
            cells = [(method, entry) for method in contestant.methods for entry in entries]
            trials.journal.more(sum(trials.work(*cell, [setting], "tuning") for cell in cells))
            settings = [*settings, setting]
            records = [[*old, *new] for old, new in zip(records, measure([setting]), strict=True)]
        totals = _totals(records)
    best = settings[int(np.argmax(totals))]
    known = all(record.optimal is not None for by_setting in records for record in by_setting)
    return Choice(
        method=contestant.name,
        agent=label(agent),
        setting=best,
        edges=edges(grid, settings, best),
        tried=list(zip(settings, totals.tolist(), strict=True)),
        worlds=list(dict.fromkeys(entry.environment for entry in entries)),
        little=known and bool(np.max(totals) < LITTLE),
    )


def evaluate(
    trials: Trials,
    contestant: Contestant,
    suite: Sequence[Entry],
    settings: Mapping[str, Settings],
) -> Curves:
    """Train `protocol.seeds` fresh agents on each environment of the suite, with `settings` by its name.

    Where no policy's return can be computed, what is known of the environment by name stands for it.
    """
    lives: list[Record] = []
    for entry in suite:
        chosen = [settings[entry.environment]]
        parts = [
            record for method in contestant.methods for record in trials.train(method, entry, chosen, "evaluation")
        ]
        lives.append(Record.joined(parts))
    agents = len(lives[0].returns)

    def by_seed(values: Sequence[np.ndarray | None]) -> np.ndarray:
        return np.stack([np.full(agents, np.nan) if one is None else one for one in values])

    counted = [entry.environment not in APART for entry in suite]
    return Curves(
        method=contestant.name,
        tasks=[entry.environment for entry in suite],
        returns=np.stack([np.where(record.diverged, np.nan, record.returns) for record in lives]),
        env_steps=np.stack([record.env_steps for record in lives]),
        reference=Reference(
            by_seed([record.random if record.optimal is not None else None for record in lives]),
            by_seed([record.optimal for record in lives]),
        ),
        floor=by_seed([_floor(entry, record) for entry, record in zip(suite, lives, strict=True)]),
        diverged=np.stack([record.diverged for record in lives]),
        meta_seeds=len(contestant.methods),
        groups=[entry.environment for entry in suite],
        headline=counted if any(counted) else None,
        restarts=sum(int(record.restarts.sum()) for record in lives if record.restarts is not None),
    )


def _floor(entry: Entry, record: Record) -> np.ndarray | None:
    """What uniform actions earn: computed, measured with these agents, or known."""
    known = known_returns(entry.environment)
    if record.random is not None or known is None:
        return record.random
    return np.full(len(record.returns), known.random)


def label(agent: AgentConfig) -> str:
    """A kind of agent in a few words, such as "dense 64-64"."""
    widths = "-".join(map(str, (agent.channels if agent.torso == "conv" else ()) + agent.hidden))
    return f"{agent.torso} {widths}".strip() if agent.torso != "tabular" else agent.torso


def _totals(records: Sequence[Sequence[Record]]) -> np.ndarray:
    """Of each setting, from records by environment and setting."""
    totals = []
    for by_setting in records:
        scores = _worst_where_diverged(np.stack([record.scores for record in by_setting]))  # [settings, L, bins]
        if by_setting[0].optimal is None:
            span = scores.max() - scores.min()
            scores = (scores - scores.min()) / (span if span > 0 else 1.0)
        final, area = (interquartile_mean(values[:, None]) for values in (scores[..., -1], scores.mean(-1)))
        totals.append(final + area)
    return np.mean(totals, axis=0)


def _worst_where_diverged(scores: np.ndarray) -> np.ndarray:
    """Scores of all settings on an environment: where an agent has diverged, the worst that any agent had; where all
    had from the start, 0 for all.
    """
    finite = np.isfinite(scores)
    return np.where(finite, scores, scores[finite].min() if finite.any() else 0.0)
