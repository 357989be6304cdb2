"""An LPG's weights from a rule of the same heads that is there already, distilled into its network.

Agents live in the training distribution, half of them by the teacher and half by the student, and at each of their
updates the student is regressed on the teacher's targets. It is meta-training with another loss, which looks at the
targets themselves, so that nothing is differentiated through the agents.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from rich.console import Console

from metaobj.common.agents.agent import Heads, TargetRule
from metaobj.common.errors import UserError
from metaobj.common.experience.batches import Batch
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.sampler import SamplerConfig
from metaobj.common.meta.trainer import MetaTrainer, TrainingState
from metaobj.common.runs.loop import run_chunk, summarise
from metaobj.common.runs.progress import Progress
from metaobj.common.types import Metrics, PRNGKey, PyTree
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.objective import LPG
from metaobj.lpg.programs import programs
from metaobj.lpg.targets import errors

BY_STUDENT = "by_student"
"""A hyperparameter of agents: 1 where they learn by the student."""
TEST = (Entry("grid/small_layouts", lifetimes=8, split="held_out"),)
"""Worlds that no training can draw, to tell how well the teacher has been learnt."""
_EVENLY = SamplerConfig(temperature=1e6)
"""All settings as often as each other, whatever comes of them."""
_LEARNING_RATE, _CLIP = 2e-3, 1.0
_ENVIRONMENTS, _UPDATES = 8, 2
"""Of an agent, and K: targets say more than returns do, so that small batches and many of them learn fastest."""
_GROWN = 40
"""Meta-updates after which agents are looked at."""
_STILL = 1e-12
"""A learning rate by which nothing is learnt."""


@dataclass(frozen=True)
class Distillation:
    """A learned objective whose meta-loss is the distance of a student's targets from a teacher's."""

    student: LPG
    teacher: TargetRule
    """Its weights are its own."""

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
        wanted, _ = self.teacher.targets((), heads, next_heads, batch)
        about = errors(given, wanted)
        by_student = batch.hyperparameters[BY_STUDENT] > 0.5
        targets = jax.tree.map(lambda g, w: jnp.where(by_student, g, w), given, wanted)
        return jax.lax.stop_gradient(targets), about

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        return self.student.loss(heads, targets, batch)

    def meta_loss(
        self, heads: Heads, next_heads: Heads, batch: Batch, updates: Metrics, target: Heads | None = None
    ) -> tuple[jax.Array, Metrics]:
        return updates["policy_error"] + updates["prediction_error"], {}


class Learnt(NamedTuple):
    """What a student has made of a teacher. Errors are those of `targets.errors`, on rollouts of agents in held-out
    layouts.
    """

    eta: PyTree
    policy_error: float
    prediction_error: float

    @property
    def told(self) -> str:
        """The errors in words."""
        return (
            f"on held-out layouts the policy's targets differ by {self.policy_error:.3f} of their mean square, the "
            f"predictions' by {self.prediction_error:.3f} nats"
        )


def learn(
    teacher: TargetRule,
    config: LPGTraining,
    entries: Sequence[Entry],
    console: Console,
    devices: int | None = None,
    doing: str = "learning from the teacher",
) -> Learnt:
    """Weights of the configuration's network that say what a teacher says, as nearly as they can.

    Args:
        teacher: of the same heads; its weights are its own.
        config: of the student; `start_updates` tells how long.
        entries: where agents live by either's targets.
        console: where progress is shown.
        devices: over how many devices agents are spread; all that fit by default.
        doing: what is said of it meanwhile.

    Raises:
        UserError: what was learnt is not finite.
    """
    few = [replace(entry, num_environments=_ENVIRONMENTS) for entry in entries]
    trainer = trainer_of(teacher, config, few, devices)
    state = trainer.init("start")
    shown = {"policy_error": "policy's error {:.3f}", "prediction_error": "prediction's {:.3f}"}
    with Progress(console, config.start_updates, 0, shown) as progress:
        progress.note(f"{doing}: compiling")
        state = _run(trainer, state, config.start_updates, progress.update)
    tester = trainer_of(teacher, config, TEST, devices, _STILL)
    rows: list[Metrics] = []
    # Agents grow up before they are looked at.
    standing = replace(tester.init("test"), eta=jax.device_put(jax.device_get(state.eta)))
    grown = math.ceil(_GROWN / config.log_every) * config.log_every
    _run(tester, standing, grown, lambda step, row: rows.append(row))
    found = {name: float(rows[-1][name]) for name in shown}
    if not math.isfinite(sum(found.values())):
        raise UserError("the teacher was not learnt: an error is not finite")
    return Learnt(jax.device_get(state.eta), **found)


def trainer_of(
    teacher: TargetRule,
    config: LPGTraining,
    entries: Sequence[Entry],
    devices: int | None,
    learning_rate: float = _LEARNING_RATE,
) -> MetaTrainer:
    """Of the student's weights; arguments as `learn`'s."""
    way = replace(
        config,
        meta_updates=config.start_updates,
        checkpoint_every=config.start_updates,
        meta_loss=replace(config.meta_loss, look_ahead=0),
        inner_updates=_UPDATES,
        learning_rate=learning_rate,
        schedule="cosine",
        lifetime_gradient_clip=_CLIP,
        sampler=_EVENLY,
        mix=0.0,
        estimator="backprop",
        matmul_precision="default",
    )
    rule = Distillation(LPG(config.network), teacher)
    hyperparameters = {"kl_weight": config.kl_weights, BY_STUDENT: (0.0, 1.0)}
    return MetaTrainer.of(rule, tuple(entries), programs(way, rule), hyperparameters, way, devices)


def _run(
    trainer: MetaTrainer, state: TrainingState, updates: int, told: Callable[[int, Metrics], None]
) -> TrainingState:
    """So many meta-updates, in chunks whose metrics are told."""
    chunk = trainer.run_chunk.lower(state).compile()
    for step in range(trainer.config.log_every, updates + 1, trainer.config.log_every):
        state, metrics, took = run_chunk(trainer, chunk, state)
        told(step, summarise(trainer, metrics, took))
    return state
