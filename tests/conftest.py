"""What all tests share."""

import os
import shutil
import tempfile
from collections.abc import Iterator

import pytest

# One cache of compiled programs for all workers and subprocesses of a session: they inherit the name of its folder.
_CACHE = "JAX_COMPILATION_CACHE_DIR"
_made_here = _CACHE not in os.environ
if _made_here:
    os.environ[_CACHE] = tempfile.mkdtemp(prefix="metaobj-tests-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.3"

import jax  # noqa: E402  reads the environment


def pytest_unconfigure(config: pytest.Config) -> None:
    if _made_here:
        shutil.rmtree(os.environ[_CACHE], ignore_errors=True)


@pytest.fixture(scope="module")
def float64() -> Iterator[None]:
    """64-bit floats until the module's tests are done."""
    with jax.enable_x64(True):
        yield
