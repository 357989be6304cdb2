"""Meta-training and evaluation from Python, as data."""

import json
from pathlib import Path

import numpy as np
import pytest

import metaobj
from metaobj.common.errors import UserError
from metaobj.common.objectives import calls
from tests.quick import quick_programs

TINY = {
    "distribution": "tests.worlds:LESSON",
    "meta_updates": 4,
    "checkpoint_every": 2,
    "log_every": 2,
    "inner_updates": 1,
    "rollout_steps": 2,
    "network": {"units": 4, "prediction_size": 2, "embedding_units": 2},
}


@pytest.fixture(scope="module", autouse=True)
def quickly(tmp_path_factory: pytest.TempPathFactory):
    with quick_programs(tmp_path_factory.mktemp("programs")):
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> calls.Trained:
    told: list[int] = []
    run = metaobj.train(
        "lpg",
        tmp_path_factory.mktemp("runs") / "one",
        preset="smoke",
        on_progress=lambda step, row: told.append(step) or None,
        **TINY,
    )
    assert told == [2, 4]
    return run


@pytest.mark.slow
def test_a_run_is_data(run: calls.Trained) -> None:
    assert run.finished and run.step == 4
    assert [row["step"] for row in run.metrics] == [2, 4]
    assert run.load().heads(3) == {"policy": 3, "prediction": 2}
    config = json.loads((run.folder / "config.json").read_text())["config"]
    assert config["network"]["units"] == 4 and config["inner_updates"] == 1


@pytest.mark.slow
def test_it_goes_on_as_its_folder_says_and_only_with_modules_that_are_named(run: calls.Trained) -> None:
    with pytest.raises(UserError, match=r"names the Python module of 'tests.worlds:LESSON'.*pass distribution="):
        metaobj.train("lpg", run.folder, resume=True, meta_updates=6)
    longer = metaobj.train("lpg", run.folder, resume=True, meta_updates=6, distribution="tests.worlds:LESSON")
    assert longer.finished and longer.step == 6
    assert [row["step"] for row in longer.metrics] == [2, 4, 6]


@pytest.mark.slow
def test_an_evaluation_is_data_and_leaves_nothing(
    run: calls.Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lines: list[str] = []
    found = metaobj.evaluate(
        run, "A2C", suite="tests.worlds:LESSON", tuning="suite", seeds=2, tuning_seeds=2, steps=25 * 64 * 2,
        on_progress=lines.append,
    )  # fmt: skip
    assert [curves.method for curves in found.curves] == ["LPG", "A2C"]
    assert np.isfinite(found.curves[0].returns).all()
    assert {row.method for row in found.rows} >= {"LPG", "A2C"}
    assert lines and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (lambda: metaobj.train("lgp"), "objective: 'lgp' is unknown"),
        (lambda: metaobj.train("lpg", preset="large"), "preset: 'large' is unknown"),
        (lambda: metaobj.train("lpg", lerning_rate=0.1), "lerning_rate: is unknown; did you mean learning_rate"),
        (lambda: metaobj.train("lpg", network={"units": "many"}), "network.units: 'many' found; must be int"),
        (lambda: metaobj.train("lpg", meta_updates=4, log_every=3), "log_every: 3 given; must divide"),
        (lambda: metaobj.evaluate(), "names: none given"),
        (lambda: metaobj.evaluate("A2C"), "suite: missing"),
        (lambda: metaobj.evaluate("A2C", suite="nowhere"), "suite: 'nowhere' is unknown"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_told_in_a_line(call, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        call()
    assert line in str(error.value) and "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_there_is_no_other_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'fit'"):
        _ = metaobj.fit
