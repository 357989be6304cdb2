from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="module")
def quick_compilation() -> Iterator[None]:
    """For modules whose programs are many and tiny: compiling them takes longer than running them."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def float64(quick_compilation: None) -> Iterator[None]:
    """64-bit floats until the module's tests are done."""
    with jax.enable_x64(True):
        yield
