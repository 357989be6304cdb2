import gc
import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

if version("jaxlib").startswith("0.10."):  # an option that a version does not know ends the process
    # A third of the time that compiling takes goes to what makes large programs faster; these are small.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_use_fusion_emitters=false"

# Nothing is kept in the user's cache folder; tests that keep programs say where.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", "")

import jax

# To trace is to make many objects, of which next to none are in cycles: to look for those took a tenth of the time.
gc.set_threshold(100_000, 20, 100)

HEAVY = (
    "runs/test_going_on",
    "metagenrl/test_training",
    "metagenrl/test_meta_gradient",
    "test_meta_step",
    "lpg/test_meta_gradient",
    "evaluation/test_protocol",
    "evaluation/test_compare",
    "test_cli",
    "test_docs",
    "test_checkpoint",
    "environments/test_reference",
    "lpg/test_inspection",
    "metagenrl/test_inspection",
    "metagenrl/test_objective",
    "test_strangers_files",
    "environments/test_every_name",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long come first, so that several workers end together."""
    rank = {name: number for number, name in enumerate(HEAVY)}
    root = Path(__file__).parent
    items.sort(key=lambda item: rank.get(item.path.relative_to(root).with_suffix("").as_posix(), len(rank)))


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
