from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """64-bit floats until the module's tests are done."""
    with jax.enable_x64(True):
        yield
