"""Keeping what takes long to make."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import jax

T = TypeVar("T")


def kept(make: Callable[..., T]) -> Callable[..., T]:
    """Decorator: what was made stays, one for each width of numbers that JAX may be configured to use. It is made
    outside of any trace that is under way.
    """

    @functools.cache
    def made(wide: bool, *names: Any) -> T:
        with jax.ensure_compile_time_eval():
            return make(*names)

    @functools.wraps(make)
    def get(*names: Any) -> T:
        return made(jax.config.values["jax_enable_x64"], *names)

    return get
