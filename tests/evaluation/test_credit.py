"""What is said of a rule by what its agents earn in long chains."""

import numpy as np
import pytest

from metaobj.common.evaluation.bootstrap import Interval
from metaobj.common.evaluation.credit import KINDS, Bootstrapping, Variant, all_cuts, verdict


def test_all_ways_to_cut():
    names = [variant.name for variant in all_cuts(("y", "z"))]
    assert names == ["as it is", "y cut", "z cut", "y and z cut"]


def found(elsewhere: float = 0.5, told: float = 0.7, **plain: float) -> Bootstrapping:
    """Scores on plain chains by what is cut, "none" where nothing is."""
    scores = {}
    for name, score in {**plain, "told": told}.items():
        cut = () if name in ("none", "told") else tuple(name.split("_"))
        for world in KINDS:
            point = score if world == "plain" else elsewhere
            scores[(Variant(cut, name == "told"), world)] = Interval(
                *map(np.asarray, (point, point - 0.1, point + 0.1))
            )
    return Bootstrapping(scores, 16, (24, 48))


SAID = {
    "bootstraps through y: 0.98 of optimal on chains of 24 to 48 steps, 0.31 without y; 0.50 on costly ones, 0.50 on "
    "narrow ones": found(none=0.98, y=0.31, pi=0.97, y_pi=0.02),
    "bootstraps in part through y and pi: 0.60 of optimal on chains of 24 to 48 steps, 0.29 without y, 0.10 without "
    "pi; 0.50 on costly ones, 0.50 on narrow ones": found(none=0.6, y=0.29, pi=0.1, y_pi=0.0),
    "bootstraps through y or pi: 0.80 of optimal on chains of 24 to 48 steps, -0.10 without y and pi; 0.50 on costly "
    "ones, 0.50 on narrow ones": found(none=0.8, y=0.41, pi=0.8, y_pi=-0.1),
    "does not bootstrap: 0.29 of optimal on chains of 24 to 48 steps, longer than a rollout; 0.70 if y tells the "
    "states' true values": found(none=0.29, y=0.0, pi=0.0, y_pi=0.0),
    "bootstraps through none of y, pi: 0.90 of optimal on chains of 24 to 48 steps, 0.85 without y and pi; 0.50 on "
    "costly ones, 0.50 on narrow ones": found(none=0.9, y=0.9, pi=0.9, y_pi=0.85),
    "bootstraps through V and y or pi: 1.00 of optimal on chains of 24 to 48 steps, 0.20 without V, 0.40 without y and "
    "pi; 0.50 on costly ones, 0.50 on narrow ones": found(
        none=1.0, y=0.9, pi=0.9, V=0.2, y_pi=0.4, y_V=0.1, pi_V=0.1, y_pi_V=0.0
    ),
}


@pytest.mark.parametrize("said", SAID)
def test_the_verdict(said):
    assert verdict(SAID[said]) == said


def test_a_rule_that_cannot_be_told_anything():
    nothing = found(none=0.1, y=0.0)
    scores = {key: score for key, score in nothing.scores.items() if not key[0].told and key[1] == "plain"}
    said = "does not bootstrap: 0.10 of optimal on chains of 24 to 48 steps, longer than a rollout"
    assert verdict(Bootstrapping(scores, 16, (24, 48))) == said
