from collections.abc import Iterator
from pathlib import Path

import pytest

from metaobj.common.lifetimes.distributions import DISTRIBUTIONS, Entry
from metaobj.common.objectives.train import Outcome
from tests.quick import quick_programs
from tests.runs.cases import shared_trainer, told


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two lifetimes that end and begin anew within a run."""
    DISTRIBUTIONS["tiny"] = (Entry("tests.worlds:RING", lifetimes=2, num_environments=2, updates=3),)
    with pytest.MonkeyPatch.context() as patch, quick_programs(tmp_path_factory.mktemp("programs")):
        patch.setattr("metaobj.common.objectives.train.make_trainer", shared_trainer)
        yield
    del DISTRIBUTIONS["tiny"]
    shared_trainer.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def one_day() -> Iterator[None]:
    """Runs are compared byte for byte, and midnight may come."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaobj.common.objectives.provenance.time.strftime", lambda form: "2026-01-01")
        yield


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than the runs."""
    if "pictures" not in request.node.name:
        monkeypatch.setattr("metaobj.common.objectives.train.draw", lambda trainer, run, charts: None)


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, tiny: None, one_day: None) -> Path:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaobj.common.objectives.train.draw", lambda trainer, run, charts: None)
        outcome, _ = told(folder)
    assert outcome == Outcome(True, 5, folder / "objective.safetensors")
    return folder
