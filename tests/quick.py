"""Programs that are compiled once and fast."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache import compilation_cache


@jax.jit
def first(tree: Any) -> Any:
    """The first of all leaves [L, ...]: one program, and not one for each shape."""
    return jax.tree.map(lambda leaf: leaf[0], tree)


def _settings(folder: Path) -> Mapping[str, object]:
    return {
        "jax_compilation_cache_dir": str(folder),
        "jax_persistent_cache_min_compile_time_secs": 0,
        "jax_disable_most_optimizations": True,
    }


@contextmanager
def quick_programs(folder: Path) -> Iterator[None]:
    """In this process: what is compiled is kept in `folder` and found there by the next run."""
    before = {name: jax.config.values[name] for name in _settings(folder)}
    for name, value in _settings(folder).items():
        jax.config.update(name, value)
    compilation_cache.reset_cache()
    try:
        yield
    finally:
        for name, value in before.items():
            jax.config.update(name, value)
        compilation_cache.reset_cache()


def quick_environment(folder: Path) -> dict[str, str]:
    """The same for a subprocess."""
    return {**os.environ, **{name.upper(): str(value) for name, value in _settings(folder).items()}}
