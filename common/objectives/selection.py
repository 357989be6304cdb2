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
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.objectives.plugin import Plugin
from metaobj.common.types import PyTree

LAST = "last.safetensors"
"""What a run has learned by now, where `objective.safetensors` is of its best checkpoint."""
_BINS = 10


@dataclass(frozen=True, eq=False)
class Selection:
    """The worlds, and the scores so far, in a file of the run folder."""

    plugin: Plugin[Any, Any]
    trainer: MetaTrainer
    path: Path
    """A line of JSON for each checkpoint."""

    @cached_property
    def entries(self) -> tuple[Entry, ...]:
        """What is selected on.

        Raises:
            UserError: it is unknown, or trained on too.
        """
        name = self.trainer.config.selection
        try:
            entries = make_distribution(name, 1, self.plugin.distributions)
        except UserError as error:
            raise UserError(f"selection: {error}") from error
        if both := sorted({e.environment for e in entries} & {e.environment for e in self.trainer.entries}):
            raise UserError(f"selection: {', '.join(both)} is trained on too; choose other worlds")
        return entries

    @cached_property
    def families(self) -> list[Family[Any]]:
        """A program for each entry."""
        programs = self.plugin.programs(self.trainer.config, self.trainer.objective)
        return [family for entry in self.entries for family in make_families([entry], programs)]

    @cached_property
    def worlds(self) -> list[DrawnWorlds]:
        """The same at every checkpoint.

        Raises:
            UserError: there are no scores in some of them.
        """
        key = stream(self.trainer.config.seed, "selection")
        keys = jax.random.split(key, len(self.entries))
        drawn = []
        for entry, family, k in zip(self.entries, self.families, keys, strict=True):
            drawn.append(draw_worlds(family, entry.environment, k, entry.lifetimes))
            if drawn[-1].reference is None:
                raise UserError(f"selection: {entry.environment} does not tell what there is to be earned, so no score")
        return drawn

    def check(self) -> None:
        """Before anything takes long.

        Raises:
            UserError: nothing can be selected on these worlds, or the scores so far cannot be read.
        """
        assert len(self.worlds) == len(self.entries)
        self.known()

    def score(self, eta: PyTree) -> dict[str, float]:
        """For each environment, the mean score over the lives of fresh agents: 0 is the uniform policy and 1 the best;
        over worlds, and over the learning rates of the entry. An agent that diverges has 0 from there on.
        """
        config = self.trainer.config
        others = {name: values[len(values) // 2] for name, values in self.plugin.hyperparameters(config).items()}
        keys = jax.random.split(stream(stream(config.seed, "selection"), "evaluation"), len(self.entries))
        found = {}
        for entry, family, worlds, key in zip(self.entries, self.families, self.worlds, keys, strict=True):
            settings = [{"learning_rate": rate, **others} for rate in entry.learning_rates]
            bins = min(_BINS, entry.updates)
            record = train_agents(self.trainer.objective, eta, family, worlds, entry.updates, settings, key, bins)
            found[entry.environment] = float(np.nan_to_num(record.scores).mean())
        return found

    def known(self) -> dict[int, Mapping[str, Any]]:
        """Scores by step.

        Raises:
            UserError: the file is damaged.
        """
        if not self.path.exists():
            return {}
        try:
            rows = [parse_json(line) for line in self.path.read_bytes().splitlines()]
            return {int(row["step"]): {**row, "score": float(row["score"])} for row in rows}
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{self.path}: is damaged ({error!r}); without it checkpoints are scored anew") from error

    def is_best(self, step: int, eta: PyTree) -> bool:
        """Score a checkpoint, unless it has been, and tell whether none before it was better.

        A run is the same each time, so what was written before it fell back or was killed still holds.
        """
        rows = self.known()
        if step not in rows:
            by_environment = self.score(jax.device_get(eta))
            score = float(np.mean(list(by_environment.values())))
            rows[step] = {"step": step, "score": score, **{f"score/{n}": v for n, v in by_environment.items()}}
            lines = [json.dumps(rows[at]) + "\n" for at in sorted(rows)]
            atomic_write(self.path, "".join(lines))
        return all(row["score"] < rows[step]["score"] for at, row in rows.items() if at < step)
