"""Which checkpoint of a run is the best: how fresh agents learn by each in worlds of a kind that is not trained on.

The meta-loss does not tell: it judges agents that are in the middle of their lives, in worlds that the objective is
fitted to.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import numpy as np

from metaobj.common.errors import UserError
from metaobj.common.evaluation.training import train_agents
from metaobj.common.evaluation.worlds import DrawnWorlds, draw_worlds
from metaobj.common.files import atomic_write, parse_json
from metaobj.common.keys import stream
from metaobj.common.lifetimes.distributions import Entry, make_distribution
from metaobj.common.lifetimes.population import Family, make_families
from metaobj.common.objectives import file
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Config, Plugin
from metaobj.common.types import PyTree

SCORES = "selection.jsonl"
"""A line of JSON for each checkpoint."""
LAST = "last.safetensors"
"""What a run has learned by now, where `objective.safetensors` is of its best checkpoint."""
_BINS = 10


def selection_entries(plugin: Plugin[Config, Any], config: Config) -> tuple[Entry, ...]:
    """What a run's checkpoints are selected on; none where they are not.

    Raises:
        UserError: it is unknown, or trained on too.
    """
    if not config.selection:
        return ()
    try:
        entries = make_distribution(config.selection, 1, plugin.distributions)
    except UserError as error:
        raise UserError(f"selection: {error}") from error
    trained_on = make_distribution(config.distribution, 1, plugin.distributions)
    if both := sorted({entry.environment for entry in entries} & {entry.environment for entry in trained_on}):
        raise UserError(f"selection: {', '.join(both)} is trained on too; choose other worlds")
    return entries


@dataclass(frozen=True, eq=False)
class Selection:
    """The worlds, and the scores so far, in a run folder."""

    plugin: Plugin[Any, Any]
    config: Any
    folder: Path
    """Of the run: what it had learned by each checkpoint lies there."""

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """See `selection_entries`."""
        return selection_entries(self.plugin, self.config)

    @cached_property
    def families(self) -> list[Family[Any]]:
        """A program for each entry."""
        programs, steps = self.plugin.programs(self.config, self.plugin.build(self.config)), self.config.rollout_steps
        return [family for entry in self.entries for family in make_families([entry], programs, rollout_steps=steps)]

    @cached_property
    def worlds(self) -> list[DrawnWorlds]:
        """The same at every checkpoint.

        Raises:
            UserError: there are no scores in some of them.
        """
        keys = jax.random.split(stream(self.config.seed, "selection"), len(self.entries))
        drawn = []
        for entry, family, key in zip(self.entries, self.families, keys, strict=True):
            drawn.append(draw_worlds(family, entry.environment, key, entry.lifetimes))
            if drawn[-1].reference is None:
                raise UserError(f"{entry.environment} does not tell what there is to be earned, so no score")
        return drawn

    def check(self) -> None:
        """Before anything takes long.

        Raises:
            UserError: nothing can be selected on these worlds, or the scores so far cannot be read.
        """
        _ = self.entries
        try:
            _ = self.worlds
        except UserError as error:
            raise UserError(f"selection: {error}") from error
        self.known()

    def score(self, eta: PyTree) -> dict[str, float]:
        """For each environment, the mean score over the lives of fresh agents: 0 is the uniform policy and 1 the best;
        over worlds, and over the learning rates of the entry. An agent that diverges has 0 from there on.
        """
        rule = self.plugin.build(self.config)
        others = {name: values[len(values) // 2] for name, values in self.plugin.hyperparameters(self.config).items()}
        keys = jax.random.split(stream(stream(self.config.seed, "selection"), "evaluation"), len(self.entries))
        found = {}
        for entry, family, worlds, key in zip(self.entries, self.families, self.worlds, keys, strict=True):
            settings = [{"learning_rate": rate, **others} for rate in entry.learning_rates]
            updates = int(family.updates[0])
            record = train_agents(rule, eta, family, worlds, updates, settings, key, min(_BINS, updates))
            found[entry.environment] = float(np.nan_to_num(record.scores).mean())
        return found

    def known(self) -> dict[int, Mapping[str, Any]]:
        """Scores by step.

        Raises:
            UserError: the file is damaged.
        """
        path = self.folder / SCORES
        if not path.exists():
            return {}
        try:
            rows = [parse_json(line) for line in path.read_bytes().splitlines()]
            return {int(row["step"]): {**row, "score": float(row["score"])} for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{path}: is damaged ({error!r}); without it checkpoints are scored anew") from error

    def best(self) -> Path:
        """The file of the best checkpoint so far, the first among equals. Those that have no score yet get one; steps
        at which the run was merely stopped do not count, so that it ends alike however often it is.

        Raises:
            UserError: there is none, or one cannot be read.
        """
        rows = self.known()
        every, end = self.config.checkpoint_every, self.config.meta_updates
        kept = [step for step in file.kept_steps(self.folder) if step % every == 0 or step == end]
        if not kept:
            raise UserError(f"{self.folder / file.STEPS}: holds no checkpoint's objective")
        for step in kept:
            if step not in rows:
                by_environment = self.score(load_objective(file.kept(self.folder, step), self.plugin.kind).eta)
                score = float(np.mean(list(by_environment.values())))
                rows[step] = {"step": step, "score": score, **{f"score/{n}": v for n, v in by_environment.items()}}
                atomic_write(self.folder / SCORES, "".join(json.dumps(rows[at]) + "\n" for at in sorted(rows)))
        return file.kept(self.folder, max(kept, key=lambda step: (rows[step]["score"], -step)))
