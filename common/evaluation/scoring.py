"""Scores that need the other methods: where agents have diverged, and where no optimal return is known."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from metaobj.common.evaluation.bootstrap import stratified_bootstrap
from metaobj.common.evaluation.curves import Curves, Reference, final_score, reference_array


def score_diverged(curves: Sequence[Curves]) -> list[Curves]:
    """Where an agent has diverged it gets the worst return of its task: the smallest that any agent of any method had
    there, or that of uniform actions where this is known and smaller.
    """
    worst = np.full(len(curves[0].tasks), np.inf)
    for entry in curves:
        floors = [floor for floor in (entry.floor, entry.reference and entry.reference.random) if floor is not None]
        for values in (entry.returns.reshape(len(worst), -1), *floors):
            worst = np.fmin(worst, np.where(np.isfinite(values), values, np.inf).min(axis=1))
    worst = np.where(np.isfinite(worst), worst, 0.0)  # a task on which nobody has a number
    return [
        dataclasses.replace(entry, returns=np.where(np.isnan(entry.returns), worst[:, None, None], entry.returns))
        for entry in curves
    ]


def relative_to(curves: Sequence[Curves], baseline: str) -> list[Curves]:
    """Tasks without a reference are scored by what the baseline gains there: 0 is the return of uniform actions, 1 the
    baseline's interquartile-mean final return. They stay as they are where no floor was measured, and where the
    baseline gains nothing that could be told from chance, or next to nothing of what another method gains: no score
    would mean anything there.
    """
    (base,) = (entry for entry in curves if entry.method == baseline)
    if base.floor is None:
        return list(curves)
    floor = base.floor.mean(axis=1)
    finals = final_score(base.returns)  # [tasks, seeds]
    top, low, _ = stratified_bootstrap(finals[:, None], meta_seeds=base.meta_seeds)
    everyone = np.concatenate([final_score(entry.returns) for entry in curves], axis=1)
    span = np.maximum(everyone.max(axis=1), floor) - np.minimum(everyone.min(axis=1), floor)
    noise = 1e-6 * np.maximum(np.abs(top), np.abs(floor))  # of returns that were summed in 32 bits
    usable = np.isfinite(floor) & (low > floor) & (top - floor > np.maximum(1e-3 * span, noise))

    def referred(entry: Curves) -> Curves:
        random, optimal = reference_array(entry)
        measured = (usable & ~np.isfinite(optimal).all(axis=1))[:, None]
        return dataclasses.replace(
            entry,
            reference=Reference(np.where(measured, floor[:, None], random), np.where(measured, top[:, None], optimal)),
        )

    return [referred(entry) for entry in curves]
