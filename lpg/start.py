"""A start for LPG's weights: a rule that a person wrote, distilled into the network."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

from rich.console import Console

from metaobj.common.agents.agent import Heads, TargetRule
from metaobj.common.experience.batches import Batch
from metaobj.common.lifetimes.distributions import Entry, make_distribution
from metaobj.common.types import Metrics, PyTree
from metaobj.lpg.actor_critic import ActorCritic
from metaobj.lpg.config import DISTRIBUTIONS, LPGTraining
from metaobj.lpg.objective import LPG
from metaobj.lpg.programs import programs
from metaobj.lpg.targets import errors
from metaobj.lpg.teaching import Distillation, Lessons

_LAYOUTS = (Entry("grid/small_layouts", lifetimes=8, split="held_out"),)
"""Worlds that no training can draw, to tell how well the teacher has been learnt."""


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


@dataclass(frozen=True)
class Targets:
    """A rule of LPG's heads as a teacher, whose weights are its own."""

    rule: TargetRule
    errors: ClassVar[tuple[str, ...]] = ("policy_error", "prediction_error")

    def wanted(self, given: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> PyTree:
        return self.rule.targets((), heads, next_heads, batch)[0]

    def compare(self, given: PyTree, wanted: PyTree) -> Metrics:
        return errors(given, wanted)


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
    teacher = ActorCritic(config.network.prediction_size, config.value.lambda_)
    learnt = learn(teacher, config, entries, console, devices, doing)
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
    eta, found = lessons(teacher, config).learn(way(config), entries, _LAYOUTS, console, devices, doing)
    return Learnt(eta, **found)


def lessons(teacher: TargetRule, config: LPGTraining) -> Lessons:
    """For the configuration's network."""
    return Lessons(
        Distillation(LPG(config.network), Targets(teacher)),
        programs,
        {"kl_weight": config.kl_weights},
        {"policy_error": "policy's error {:.3f}", "prediction_error": "prediction's {:.3f}"},
    )


def way(config: LPGTraining) -> LPGTraining:
    """The configuration, as it learns from a teacher."""
    updates, meta_loss = config.start_updates, replace(config.meta_loss, look_ahead=0)
    return replace(config, meta_updates=updates, checkpoint_every=updates, meta_loss=meta_loss)
