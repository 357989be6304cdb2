"""A learned objective's weights from a rule that is there already, distilled into its network.

Agents live in the training distribution, half of them by the teacher and half by the student, and at each of their
updates the student is regressed on the teacher's targets. It is meta-training with another loss, which looks at the
targets themselves, so that nothing is differentiated through the agents.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import jax
import jax.numpy as jnp
from rich.console import Console

from metaobj.common.agents.agent import Heads
from metaobj.common.errors import UserError
from metaobj.common.experience.batches import Batch
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import ProgramMaker
from metaobj.common.lifetimes.sampler import SamplerConfig
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.trainer import MetaTrainer, TrainingState
from metaobj.common.rules.on_policy import LearnedObjective
from metaobj.common.runs.loop import run_chunk, summarise
from metaobj.common.runs.progress import Progress
from metaobj.common.types import Metrics, PRNGKey, PyTree

BY_STUDENT = "by_student"
"""A hyperparameter of agents: 1 where they learn by the student."""
_EVENLY = SamplerConfig(temperature=1e6)
"""All settings as often as each other, whatever comes of them."""
_LEARNING_RATE, _CLIP = 2e-3, 1.0
_ENVIRONMENTS, _UPDATES = 8, 2
"""Of an agent, and K: targets say more than returns do, so that small batches and many of them learn fastest."""
_GROWN = 40
"""Meta-updates after which agents are looked at."""
_STILL = 1e-12
"""A learning rate by which nothing is learnt."""


class Teacher(Protocol):
    """What a student is to say. A frozen dataclass."""

    @property
    def errors(self) -> tuple[str, ...]:
        """Names of what `compare` tells."""

    def wanted(self, given: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> PyTree:
        """The targets that a student's `given` ones should be, in the same form."""

    def compare(self, given: PyTree, wanted: PyTree) -> Metrics:
        """How far the ones are from the others, scalars that a student's loss is the sum of."""


Student = TypeVar("Student", bound=LearnedObjective)


@dataclass(frozen=True)
class Distillation(Generic[Student]):
    """A learned objective whose meta-loss is the distance of a student's targets from a teacher's."""

    student: Student
    teacher: Teacher

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return (*self.student.hyperparameters, BY_STUDENT)

    def heads(self, num_actions: int) -> dict[str, int]:
        return self.student.heads(num_actions)

    def init(self, key: PRNGKey) -> PyTree:
        return self.student.init(key)

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        heads, next_heads = jax.lax.stop_gradient((heads, next_heads))
        given, _ = self.student.targets(weights, heads, next_heads, batch)
        wanted = self.teacher.wanted(given, heads, next_heads, batch)
        about = self.teacher.compare(given, wanted)
        by_student = batch.hyperparameters[BY_STUDENT] > 0.5
        targets = jax.tree.map(lambda g, w: jnp.where(by_student, g, w), given, wanted)
        return jax.lax.stop_gradient(targets), about

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        return self.student.loss(heads, targets, batch)

    def meta_loss(
        self, heads: Heads, next_heads: Heads, batch: Batch, updates: Metrics, target: Heads | None = None
    ) -> tuple[jax.Array, Metrics]:
        return jnp.sum(jnp.stack([updates[name] for name in self.teacher.errors])), {}


@dataclass(frozen=True)
class Lessons:
    """How a student learns."""

    rule: Distillation[Any]
    programs: Callable[[Any, Any], ProgramMaker[Any]]
    """From (configuration, rule)."""
    hyperparameters: Mapping[str, tuple[float, ...]]
    """Of agents, beside `BY_STUDENT` and the learning rate."""
    live: Mapping[str, str]
    """The teacher's errors and how they are shown meanwhile, {name: format}."""

    def learn(
        self,
        config: MetaTrainingConfig,
        entries: Sequence[Entry],
        test: Sequence[Entry],
        console: Console,
        devices: int | None,
        doing: str,
    ) -> tuple[PyTree, dict[str, float]]:
        """Weights that say what the teacher says, as nearly as the student can, and how near they are in `test`.

        Args:
            config: of the student; `meta_updates` tells how long it learns.
            entries: where agents live by either's targets.
            test: where it is told how near; worlds that no training can draw.
            console: where progress is shown.
            devices: over how many devices agents are spread; all that fit by default.
            doing: what is said of it meanwhile.

        Raises:
            UserError: what was learnt is not finite.
        """
        few = [replace(entry, num_environments=_ENVIRONMENTS) for entry in entries]
        trainer = self.trainer(config, few, devices)
        state = trainer.init("start")
        with Progress(console, config.meta_updates, 0, self.live) as progress:
            progress.note(f"{doing}: compiling")
            state = _run(trainer, state, config.meta_updates, progress.update)
        tester = self.trainer(config, test, devices, _STILL)
        rows: list[Metrics] = []
        # Agents grow up before they are looked at.
        standing = replace(tester.init("test"), eta=jax.device_put(jax.device_get(state.eta)))
        grown = math.ceil(_GROWN / config.log_every) * config.log_every
        _run(tester, standing, grown, lambda step, row: rows.append(row))
        errors = {name: float(rows[-1][name]) for name in self.rule.teacher.errors}
        if not math.isfinite(sum(errors.values())):
            raise UserError("the teacher was not learnt: an error is not finite")
        return jax.device_get(state.eta), errors

    def trainer(
        self,
        config: MetaTrainingConfig,
        entries: Sequence[Entry],
        devices: int | None,
        learning_rate: float = _LEARNING_RATE,
    ) -> MetaTrainer:
        """Of the student's weights."""
        way = replace(
            config,
            inner_updates=_UPDATES,
            checkpoint_every=config.meta_updates,
            learning_rate=learning_rate,
            schedule="cosine",
            lifetime_gradient_clip=_CLIP,
            sampler=_EVENLY,
            mix=0.0,
            estimator="backprop",
        )
        hyperparameters = {**self.hyperparameters, BY_STUDENT: (0.0, 1.0)}
        return MetaTrainer.of(self.rule, tuple(entries), self.programs(way, self.rule), hyperparameters, way, devices)


def _run(
    trainer: MetaTrainer, state: TrainingState, updates: int, told: Callable[[int, Metrics], None]
) -> TrainingState:
    """So many meta-updates, in chunks whose metrics are told."""
    chunk = trainer.run_chunk.lower(state).compile()
    for step in range(trainer.config.log_every, updates + 1, trainer.config.log_every):
        state, metrics, took = run_chunk(trainer, chunk, state)
        told(step, summarise(trainer, metrics, took))
    return state
