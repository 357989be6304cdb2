"""K updates of an agent by a rule, as something that can be judged and differentiated."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from metaobj.common.lifetimes.lifetime import MetaProgram
from metaobj.common.types import Metrics, PyTree

Trial = TypeVar("Trial")
Judge = Callable[[Any, PyTree, PyTree, Metrics], Any]
"""(a trial after an update, what it learned from, what it gathered then, what the rule said of the updates so far) to
anything.
"""


class Trace(NamedTuple, Generic[Trial]):
    """What K updates made of a trial."""

    trial: Trial  # after them, and after it gathered once more
    batch: PyTree  # what it gathered then: the updated agent's own
    updates: Metrics  # what the rule said of each update, averaged
    acted: Metrics  # [K + 1] what gathering showed, [K] where the first batch was given
    judged: PyTree  # [K] what `judge` said after each update; None where no one judges


def unroll(
    program: MetaProgram[Any, Any],
    rule: Any,
    eta: PyTree,
    trial: Trial,
    inner_updates: int,
    batch: PyTree | None = None,
    judge: Judge | None = None,
) -> Trace[Trial]:
    """Learn K times, each time from what was gathered since; theta_0 .. theta_K are differentiable in `eta`.

    Args:
        program: how to gather and learn.
        rule: what to learn by.
        eta: the rule's weights.
        trial: theta_0 and what belongs to it.
        inner_updates: K, at least 1.
        batch: what theta_0 has gathered already; by default it gathers now.
        judge: looks at theta_1 .. theta_K.
    """
    first: list[Metrics] = []
    if batch is None:
        trial, batch, shown = program.gather(trial)
        first = [jax.tree.map(lambda leaf: leaf[None], shown)]
    said = jax.eval_shape(lambda t, b: program.learn(rule, eta, t, b)[1], trial, batch)
    total: Metrics = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), said)

    def one(carry: tuple[Any, ...], number: jax.Array) -> tuple[tuple[Any, ...], tuple[Metrics, PyTree]]:
        trial, learned, total = carry
        trial, about = program.learn(rule, eta, trial, learned)
        trial, batch, shown = program.gather(trial)
        total = jax.tree.map(jnp.add, total, about)
        judged = None
        if judge is not None:
            judged = judge(trial, learned, batch, jax.tree.map(lambda leaf: leaf / number, total))
        return (trial, batch, total), (shown, judged)

    # A single update stands by itself: it is then known that theta_0 does not depend on eta.
    if inner_updates == 1:
        (trial, batch, total), outputs = one((trial, batch, total), jnp.ones(()))
        shown, judged = jax.tree.map(lambda leaf: leaf[None], outputs)
    else:
        numbers = jnp.arange(1.0, inner_updates + 1)
        (trial, batch, total), (shown, judged) = jax.lax.scan(one, (trial, batch, total), numbers)
    acted = jax.tree.map(lambda *parts: jnp.concatenate(parts), *first, shown)
    updates = jax.tree.map(lambda leaf: leaf / inner_updates, total)
    return Trace(trial, batch, updates, acted, judged)
