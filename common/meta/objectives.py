"""What a learned objective's gradient is taken of: functions of the trace of K updates.

They differ in which of the agents theta_1 .. theta_K are judged, and by what; how an agent is judged is its program's
and its rule's.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import optax

from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.lifetimes.lifetime import MetaProgram
from metaobj.common.meta.unroll import Trace, unroll
from metaobj.common.types import Metrics, PyTree


class MetaObjective(Protocol):
    """A frozen dataclass."""

    def gathers(self, inner_updates: int) -> int:
        """How often a trial gathers in one meta-update."""

    def judge(
        self, program: MetaProgram[Any, Any], rule: Any, eta: PyTree, trial: Any, inner_updates: int, batch: PyTree
    ) -> tuple[jax.Array, Trace[Any], Metrics]:
        """K updates of a trial, and how well the agents among them do: (loss, trace, metrics).

        Differentiable with respect to `eta`. `batch` is what the trial has gathered already, None for nothing.
        """


def meta_loss(
    objective: MetaObjective,
    program: MetaProgram[Any, Any],
    rule: Any,
    inner_updates: int,
    eta: PyTree,
    lifetime: Any,
    step: jax.Array,
) -> tuple[jax.Array, tuple[Any, Metrics]]:
    """Live on, and how well the agent does by K updates by the rule: (loss, (lifetime, metrics)).

    Differentiable with respect to `eta`. `step` is the number of meta-updates so far. Among the metrics are
    "meta_loss", "reward" (per environment step), "episodes" and "episode_return" (number and sum).
    """
    trial, lived = program.begin_trial(rule, inner_updates, eta, lifetime, step)
    loss, trace, metrics = objective.judge(program, rule, eta, trial, inner_updates, None)
    metrics = {"meta_loss": loss, **summed(trace.acted), **lived, **trace.updates, **metrics}
    return loss, (program.end_trial(trace.trial), metrics)


def summed(acted: Metrics) -> Metrics:
    """Of all rollouts: the mean reward, and how many episodes ended with what sum of returns."""
    return {name: jnp.mean(leaf, 0) if name == "reward" else jnp.sum(leaf, 0) for name, leaf in acted.items()}


@dataclass(frozen=True)
class Last:
    """J(theta_K), on what theta_K gathers (Xu et al. 2018; Oh et al. 2020), or on the same that it has learned from
    (Zahavy et al. 2020).
    """

    on: Literal["next", "same"] = "next"

    def gathers(self, inner_updates: int) -> int:
        return inner_updates + 1

    def judge(
        self, program: MetaProgram[Any, Any], rule: Any, eta: PyTree, trial: Any, inner_updates: int, batch: PyTree
    ) -> tuple[jax.Array, Trace[Any], Metrics]:
        if self.on == "next":
            trace = unroll(program, rule, eta, trial, inner_updates, batch)
            loss, metrics = program.judge(rule, trace.trial, trace.batch, trace.updates)
            return loss, trace, metrics

        def look(trial: Any, learned: PyTree, batch: PyTree, updates: Metrics) -> PyTree:
            return learned  # to judge each of them here would cost K times as much

        trace = unroll(program, rule, eta, trial, inner_updates, batch, look)
        learned = jax.tree.map(lambda leaf: leaf[-1], trace.judged)
        loss, metrics = program.judge(rule, trace.trial, learned, trace.updates)
        return loss, trace, metrics


@dataclass(frozen=True)
class Mixed:
    """sum over k of w_k J(theta_k), each on what theta_k gathers (Bonnet et al. 2021, "One Step at a Time").

    The weights are w_k = c decay^(K - k), and sum to 1: decay 0 is `Last`, 1 the mean over all K. Which weights the
    paper took is not known; they are a choice.
    """

    decay: float = 1.0

    def __post_init__(self) -> None:
        check_numbers(self, "decay", at_least=0, at_most=1, prefix="mix.")

    def gathers(self, inner_updates: int) -> int:
        return inner_updates + 1

    def weights(self, inner_updates: int) -> jax.Array:
        """w_1 .. w_K."""
        raw = self.decay ** jnp.arange(inner_updates - 1.0, -1.0, -1.0)
        return raw / jnp.sum(raw)

    def judge(
        self, program: MetaProgram[Any, Any], rule: Any, eta: PyTree, trial: Any, inner_updates: int, batch: PyTree
    ) -> tuple[jax.Array, Trace[Any], Metrics]:
        def look(trial: Any, learned: PyTree, batch: PyTree, updates: Metrics) -> tuple[jax.Array, Metrics]:
            return program.judge(rule, trial, batch, updates)

        trace = unroll(program, rule, eta, trial, inner_updates, batch, look)
        losses, metrics = trace.judged
        loss = jnp.sum(self.weights(inner_updates) * losses)
        return loss, trace, jax.tree.map(lambda leaf: leaf[-1], metrics)


@dataclass(frozen=True)
class Bootstrapped:
    """How far theta_K is from what further updates make of it (Flennerhag et al. 2022, "Bootstrapped Meta-Learning").

    The target is constant: L - 1 updates from theta_K, by the rule itself or by its guide, and one more by the guide,
    which descends what the rule's agents are judged by. Each learns from what it gathers, the first from what theta_K
    gathered. The distance is the rule's own, or half the squared Euclidean one between parameters: with L = 1 and
    agents that learn by gradient descent at a rate alpha, its gradient is alpha times that of `Last` with the guide's
    loss for J.
    """

    look_ahead: int = 1
    """L."""
    by: Literal["rule", "guide"] = "guide"
    """What the first L - 1 of the further updates learn by."""
    distance: Literal["rule", "parameters"] = "rule"
    goes_on: Literal["learner", "target"] = "learner"
    """Which agent goes on: theta_K, the further updates forgotten, or the one after all but the last of them."""

    def __post_init__(self) -> None:
        check_numbers(self, "look_ahead", at_least=1, at_most=MOST)

    @property
    def further(self) -> int:
        """Updates beyond theta_K of the agent that goes on."""
        return self.look_ahead - 1 if self.goes_on == "target" else 0

    def gathers(self, inner_updates: int) -> int:
        return inner_updates + self.look_ahead

    def judge(
        self, program: MetaProgram[Any, Any], rule: Any, eta: PyTree, trial: Any, inner_updates: int, batch: PyTree
    ) -> tuple[jax.Array, Trace[Any], Metrics]:
        trace = unroll(program, rule, eta, trial, inner_updates, batch)
        before, target, seen, acted = self.target(program, rule, eta, trace.trial, trace.batch)
        if self.distance == "parameters":
            ours, theirs = (program.parameters(program.learner(one)) for one in (trace.trial, target))
            difference = jax.tree.map(lambda a, b: a - jax.lax.stop_gradient(b), ours, theirs)
            loss = 0.5 * optax.tree.norm(difference, squared=True)
            metrics: Metrics = {}
        else:
            loss, metrics = program.judge(rule, trace.trial, trace.batch, trace.updates, program.learner(target))
        if self.goes_on == "target":
            lived = jax.tree.map(lambda *parts: jnp.concatenate(parts), trace.acted, acted)
            trace = trace._replace(trial=before, batch=seen, acted=lived)
        return loss, trace, metrics

    def target(
        self, program: MetaProgram[Any, Any], rule: Any, eta: PyTree, trial: Any, batch: PyTree
    ) -> tuple[Any, Any, PyTree, Metrics]:
        """(the agent after L - 1 further updates, after L, what the first of these gathered last, what all gathering
        showed [L - 1]); constant.

        Raises:
            UserError: the rule has no guide.
        """
        if not hasattr(rule, "guide"):
            raise UserError(f"look_ahead: {self.look_ahead} given; {type(rule).__name__} does not say where that leads")
        trial, batch, eta = jax.lax.stop_gradient((trial, batch, eta))
        guide = rule.guide
        learner, weights = (rule, eta) if self.by == "rule" else (guide, ())
        if self.goes_on == "learner":
            trial = program.forked(trial)  # keys of its own: the agent itself is not to meet what was seen ahead

        def further(carry: tuple[Any, PyTree], _: None) -> tuple[tuple[Any, PyTree], Metrics]:
            trial, batch = carry
            trial = program.learn(learner, weights, trial, batch)[0]
            trial, batch, shown = program.gather(trial)
            return (trial, batch), shown

        (trial, batch), acted = jax.lax.scan(further, (trial, batch), None, length=self.look_ahead - 1)
        return jax.lax.stop_gradient((trial, program.learn(guide, (), trial, batch)[0], batch, acted))
