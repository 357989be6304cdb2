"""What a run leaves, and what a damaged run folder does to one that goes on."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from metaobj.common.errors import UserError
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.objectives.loading import load_objective
from metaobj.common.runs.run_folder import RunFolder
from tests.runs.cases import TINY, At, checkpoints, rows, same, shared_trainer, told


def test_a_run_leaves_its_parts(straight: Path) -> None:
    names = "checkpoints config.json metrics.jsonl objective.safetensors objectives run.html run.lock"
    assert sorted(os.listdir(straight)) == names.split()
    kept = sorted((straight / "objectives").iterdir(), key=lambda path: int(path.stem))
    assert [int(path.stem) for path in kept][-1] == TINY.meta_updates
    assert kept[-1].read_bytes() == (straight / "objective.safetensors").read_bytes()
    assert kept[0].read_bytes() != kept[-1].read_bytes()
    assert checkpoints(straight) == [3, 4, 5]
    loaded = load_objective(straight)
    assert loaded.objective.config.units == 4 and loaded.metadata["meta_updates"] == 5
    assert sum(row["ended"] for row in rows(straight)) > 2


@pytest.mark.slow
def test_a_run_that_starts_from_another_says_so(straight: Path, tmp_path: Path) -> None:
    """And so does one that starts from that."""
    names = [str(straight)]
    for name in ("second", "third"):
        told(tmp_path / name, replace(TINY, init=names[-1]))
        names.append(str(tmp_path / name))
    digests = [load_objective(name).metadata["digest"] for name in names]
    found = load_objective(names[2]).metadata["provenance"]
    assert found == json.loads((tmp_path / "third" / "config.json").read_text())["provenance"]
    first = {"name": names[0], "digest": digests[0], "meta_updates": 5}
    assert found["init"] == {"name": names[1], "digest": digests[1], "meta_updates": 5, "init": first}


@pytest.mark.slow
def test_another_seed_gives_another_objective(straight: Path, tmp_path: Path) -> None:
    told(tmp_path, replace(TINY, seed=1))
    assert (tmp_path / "objective.safetensors").read_bytes() != (straight / "objective.safetensors").read_bytes()


def test_a_run_of_an_older_version_goes_on(straight: Path, tmp_path: Path) -> None:
    """Its configuration lacks a field that has come since; what it does not lack must still agree."""
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    record = json.loads((folder / "config.json").read_text())
    del record["config"]["keep_checkpoints"], record["config"]["network"]["lifetime_inputs"]
    (folder / "config.json").write_text(json.dumps(record))
    assert told(folder, resume=True)[0].finished
    assert json.loads((folder / "config.json").read_text())["config"]["network"]["lifetime_inputs"] is False
    with pytest.raises(UserError, match="cannot resume with another seed"):
        told(folder, replace(TINY, seed=1), resume=True)


def truncate(folder: Path) -> None:
    largest = max((f for f in (folder / "checkpoints" / "5").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def delete(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoints" / "5")


@pytest.mark.parametrize(("damage", "says"), [pytest.param(truncate, "step 5", marks=pytest.mark.slow), (delete, "")])
def test_goes_on_from_the_checkpoint_before(
    damage: Callable[[Path], None], says: str, straight: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    damage(folder)
    shared_trainer.cache_clear()  # as in a process of its own
    outcome, text = told(folder, resume=True)
    assert outcome.finished and "resumed from step 4" in text
    assert not says or (says in text and "unreadable" in text)
    assert same(folder, straight) and checkpoints(folder) == [3, 4, 5]


def test_all_checkpoints_gone_is_refused(straight: Path, tmp_path: Path) -> None:
    """To start again would write over what was learned."""
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    shutil.rmtree(folder / "checkpoints")
    kept = {name: (folder / name).read_bytes() for name in ("objective.safetensors", "metrics.jsonl")}
    with pytest.raises(UserError, match="checkpoints: holds no checkpoint, and the run had come to step 5; put its"):
        told(folder, resume=True)
    (folder / "metrics.jsonl").unlink()  # the objective alone tells it too
    with pytest.raises(UserError, match="had come to step 5"):
        told(folder, resume=True)
    (folder / "metrics.jsonl").write_bytes(kept["metrics.jsonl"])
    assert kept == {name: (folder / name).read_bytes() for name in kept}


@pytest.mark.slow
def test_a_run_that_falls_back_keeps_what_it_had_learned(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    for step in ("4", "5"):
        shutil.rmtree(folder / "checkpoints" / step)

    def stop() -> None:
        assert load_objective(folder).metadata["meta_updates"] == 5
        signal.raise_signal(signal.SIGTERM)

    outcome, _ = told(folder, resume=True, sinks=lambda run, step: [At(4, stop)])
    assert outcome.step == 4 and checkpoints(folder)[-1] == 4
    assert load_objective(folder).metadata["meta_updates"] == 5, "written by a run that was further"
    assert told(folder, resume=True)[0].finished and same(folder, straight)


def test_a_configuration_that_was_changed_in_its_file_is_refused(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    text = (folder / "config.json").read_text()
    assert '"learning_rate": 0.001,' in text
    text = text.replace('"learning_rate": 0.001,', '"learning_rate": 0.002,', 1)  # the value function has one too
    (folder / "config.json").write_text(text)
    changed = replace(TINY, learning_rate=0.002)
    with pytest.raises(UserError, match="learning_rate is 0.002; the run's checkpoint of step 5 was made with 0.001"):
        told(folder, config=changed, resume=True)


@pytest.mark.slow
def test_odd_names_among_the_checkpoints(straight: Path, tmp_path: Path) -> None:
    """A superscript is a digit to Python; a checkpoint that was renamed is not that of another step."""
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    for name in ("\u00b2", "1e3", "-1", "9" * 20):
        (folder / "checkpoints" / name).mkdir()
    (folder / "checkpoints" / "5").rename(folder / "checkpoints" / "999")
    outcome, text = told(folder, resume=True)
    assert "step 999" in text and "is the checkpoint of step 5" in text
    assert outcome.finished and "resumed from step 4" in text and same(folder, straight)


def test_odd_lines_among_the_metrics(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    lines = ['{"step": 1e400}', '{"step": NaN}', '{"step": "3"}', "[" * 100_000, "[]", "7", '{"step": true}', "\x00"]
    with open(folder / "metrics.jsonl", "a") as file:
        file.write("\n".join(lines) + "\n")
    assert told(folder, resume=True)[0].finished
    assert same(folder, straight)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format_version": 1, "config": [1]}', "1e400", "\udcff", "", "null"])
def test_odd_configurations(text: str, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(MetaTrainer, "init")  # they are told before anything is compiled
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    (folder / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"config.json: is not the configuration of a run") as caught:
        told(folder, resume=True)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.slow
def test_a_start_that_fails_leaves_nothing_in_the_way(straight: Path, tmp_path: Path) -> None:
    """Such as a service that does not take the run."""

    def refuse(run: RunFolder, step: int) -> list[Any]:
        (run.path / "wandb").mkdir()
        raise UserError("--wandb: Weights & Biases did not start")

    with pytest.raises(UserError, match="did not start"):
        told(tmp_path / "run", sinks=refuse)
    assert not (tmp_path / "run").exists()
    assert told(tmp_path / "run")[0].finished and same(tmp_path / "run", straight)


def test_a_kill_before_the_objective_was_written_is_mended(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    (folder / "objective.safetensors").unlink()
    outcome, text = told(folder, resume=True)
    assert outcome.finished and "compiling" not in text
    assert same(folder, straight)


@pytest.mark.slow
def test_worlds_that_were_changed_in_their_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "worlds.toml"
    one = '[[entries]]\nenvironment = "grid/small_layouts"\nlifetimes = 2\nnum_environments = 2\nupdates = 3\n'
    path.write_text(one)
    config = replace(TINY, distribution=str(path))
    told(tmp_path / "run", config, sinks=lambda run, step: [At(2, lambda: signal.raise_signal(signal.SIGTERM))])
    path.write_text(one.replace("updates = 3", "updates = 4"))
    shared_trainer.cache_clear()
    with pytest.raises(UserError, match="worlds.toml: grid/small_layouts is not as it was when the run's check"):
        told(tmp_path / "run", config, resume=True)
    path.write_text(one)
    shared_trainer.cache_clear()
    assert told(tmp_path / "run", config, resume=True)[0].finished
