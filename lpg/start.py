"""A start for LPG's weights: a rule that a person wrote, distilled into the network.

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
from metaobj.common.lifetimes.distributions import Entry, make_distribution
from metaobj.common.lifetimes.sampler import SamplerConfig
from metaobj.common.meta.trainer import MetaTrainer, TrainingState
from metaobj.common.runs.loop import run_chunk, summarise
from metaobj.common.runs.progress import Progress
from metaobj.common.types import Metrics, PRNGKey, PyTree
from metaobj.lpg.actor_critic import ActorCritic
from metaobj.lpg.config import DISTRIBUTIONS, LPGTraining
from metaobj.lpg.objective import LPG
from metaobj.lpg.programs import programs
from metaobj.lpg.targets import errors

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
_LAYOUTS = (Entry("grid/small_layouts", lifetimes=8, split="held_out"),)
"""Worlds that no training can draw, to tell how well the teacher has been learnt."""


@dataclass(frozen=True)
class Distillation:
    """A learned objective whose meta-loss is the distance of a student's targets from a teacher's."""

    student: LPG
    teacher: TargetRule

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return (*self.student.hyperparameters, BY_STUDENT)

    def heads(self, num_actions: int) -> dict[str, int]:
        return self.student.heads(num_actions)

    def init(self, key: PRNGKey) -> PyTree:
        return self.student.init(key)

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        heads, next_heads = jax.lax.stop_gradient((heads, next_heads))
        wanted, _ = self.teacher.targets((), heads, next_heads, batch)
        given, _ = self.student.targets(weights, heads, next_heads, batch)
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


def distil(config: LPGTraining, console: Console, devices: int | None = None) -> PyTree:
    """Weights eta that say what `ActorCritic` says, as nearly as their network can; how near they are is told.

    Args:
        config: of the run that starts from them; `start_updates` tells how long.
        console: where progress is shown.
        devices: over how many devices agents are spread; all that fit by default.

    Raises:
        UserError: what was learnt is not finite.
    """
    entries = make_distribution(config.distribution, config.scale, DISTRIBUTIONS, config.life)
    doing = "learning the start from actor-critic"
    try:
        learnt = learn(_actor_critic(config), config, entries, console, devices, doing)
    except UserError as error:
        raise UserError(f"start: {error}") from error
    console.print(f"started from actor-critic: {learnt.told}", highlight=False, soft_wrap=True)
    return learnt.eta


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
    few = tuple(replace(entry, num_environments=_ENVIRONMENTS) for entry in entries)
    trainer = _trainer(config, few, devices, teacher)
    state = trainer.init("start")
    live = {"policy_error": "policy's error {:.3f}", "prediction_error": "prediction's {:.3f}"}

    with Progress(console, config.start_updates, 0, live) as progress:
        progress.note(f"{doing}: compiling")
        state = _run(trainer, state, config.start_updates, progress.update)
    test = _trainer(config, _LAYOUTS, devices, teacher, _STILL)
    rows: list[Metrics] = []
    # Agents grow up before they are looked at.
    standing = replace(test.init("test"), eta=jax.device_put(jax.device_get(state.eta)))
    _run(test, standing, math.ceil(_GROWN / config.log_every) * config.log_every, lambda step, row: rows.append(row))
    policy, prediction = float(rows[-1]["policy_error"]), float(rows[-1]["prediction_error"])
    if not math.isfinite(policy + prediction):
        raise UserError("the teacher was not learnt: an error is not finite")
    return Learnt(jax.device_get(state.eta), policy, prediction)


def _actor_critic(config: LPGTraining) -> ActorCritic:
    return ActorCritic(config.network.prediction_size, config.value.lambda_)


def _trainer(
    config: LPGTraining,
    entries: tuple[Entry, ...],
    devices: int | None,
    teacher: TargetRule,
    learning_rate: float = _LEARNING_RATE,
) -> MetaTrainer:
    rule = Distillation(LPG(config.network), teacher)
    way = replace(
        config,
        inner_updates=_UPDATES,
        meta_updates=config.start_updates,
        checkpoint_every=config.start_updates,
        learning_rate=learning_rate,
        schedule="cosine",
        lifetime_gradient_clip=_CLIP,
        sampler=_EVENLY,
        meta_loss=replace(config.meta_loss, look_ahead=0),
        mix=0.0,
        estimator="backprop",
    )
    hyperparameters = {"kl_weight": config.kl_weights, BY_STUDENT: (0.0, 1.0)}
    return MetaTrainer.of(rule, entries, programs(way, rule), hyperparameters, way, devices)


def _run(
    trainer: MetaTrainer, state: TrainingState, updates: int, told: Callable[[int, Metrics], None]
) -> TrainingState:
    """So many meta-updates, in chunks whose metrics are told."""
    chunk = trainer.run_chunk.lower(state).compile()
    for step in range(trainer.config.log_every, updates + 1, trainer.config.log_every):
        state, metrics, took = run_chunk(trainer, chunk, state)
        told(step, summarise(trainer, metrics, took))
    return state
