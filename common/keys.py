"""Where random numbers come from: streams of keys by purpose, no two of which have a key in common.

`fold_in(key, i)` is `split(key, n)[i]`: of two parts of a program that derive keys from one seed by small numbers, one
may well use the keys of the other. A stream's number is larger than anything is ever split into.
"""

from typing import Literal, TypeAlias, get_args

import jax

from metaobj.common.types import PRNGKey

Purpose: TypeAlias = Literal[
    "training",
    "tuning",
    "evaluation",
    "inspection",
    "test",
    "selection",
    "start",
    "worlds",
    "ahead",
    "perturbation",
    "watch",
]

_FIRST = 2**31


def stream(source: int | PRNGKey, purpose: Purpose) -> PRNGKey:
    """The key that all keys for a purpose are split from.

    Args:
        source: a seed, at least 0 and below 2**32; or the key of a part whose own keys are split from it.
        purpose: what for; "test" is an agent's test within its lifetime, "ahead" what a meta-loss looks ahead to,
            "perturbation" what an evolution strategy adds to weights, "watch" episodes that
            are drawn.
    """
    key = jax.random.key(source) if isinstance(source, int) else source
    return jax.random.fold_in(key, _FIRST + get_args(Purpose).index(purpose))
