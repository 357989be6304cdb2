"""Run folders: who may use one, with which configuration, and what a crash leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from metaobj.common.errors import UserError
from metaobj.common.files import atomic_write
from metaobj.common.runs import run_folder
from metaobj.common.runs.run_folder import RunFolder, read_config

CONFIG: dict[str, Any] = {"seed": 0, "agent": {"hidden": (32, 16), "rate": 0.1, "name": None}, "updates": 100}


def refused(path: Path, match: str, config: dict[str, Any] = CONFIG, **options: Any) -> None:
    with pytest.raises(UserError, match=match) as caught:
        RunFolder.open(path, config, **options)
    assert "\n" not in str(caught.value)


def changed(**fields: Any) -> dict[str, Any]:
    return {**CONFIG, **fields}


def test_a_new_run_has_its_configuration(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "one"
    with RunFolder.open(path, CONFIG) as run:
        assert run.config["agent"]["hidden"] == [32, 16] and not run.resumed
        assert run.checkpoints.parent == run.metrics.parent == run.objective.parent == path
    record = json.loads((path / "config.json").read_text())
    assert set(record) == {"format_version", "package_version", "run_id", "place", "provenance", "config"}
    assert record["run_id"] == run.run_id
    assert read_config(path) == run.config
    assert sorted(os.listdir(path)) == ["config.json", "run.lock"]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, CONFIG).close()
    assert read_config(tmp_path)["seed"] == 0


def test_a_start_killed_before_its_configuration_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / "run.lock").touch()
    (tmp_path / ".config.json.123.tmp").write_text("{")
    RunFolder.open(tmp_path, CONFIG).close()
    assert sorted(os.listdir(tmp_path)) == ["config.json", "run.lock"]


def test_refuses_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    refused(tmp_path, "not empty")
    assert os.listdir(tmp_path) == ["thesis.tex"]
    refused(tmp_path / "thesis.tex", "is a file")
    refused(tmp_path / "thesis.tex" / "run", "cannot be made|is a file|Not a directory")
    refused(tmp_path, "holds no run to resume", resume=True)


def test_refuses_a_second_run(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, CONFIG).close()
    refused(tmp_path, "already holds a run; pass --resume .* or another --run-dir")


def test_refuses_to_resume_what_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "typo", "holds no run to resume", resume=True)
    assert not (tmp_path / "typo").exists()


def test_resumes_with_the_same_configuration(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, CONFIG).close()
    with RunFolder.open(tmp_path, CONFIG, resume=True) as run:
        assert run.resumed


@pytest.mark.parametrize(
    ("config", "match"),
    [
        (changed(agent={**CONFIG["agent"], "rate": 0.2}), r"another agent\.rate: the run has 0\.1, given 0\.2"),
        (changed(agent={**CONFIG["agent"], "hidden": (32,)}), r"another agent\.hidden: .*\[32, 16\], given \[32\]"),
        (changed(seed=1, updates=5), "another seed: the run has 0, given 1"),
        (changed(seed="0"), 'another seed: the run has 0, given "0"'),
        (changed(extra=1), "another extra: the run has absent, given 1"),
        ({"seed": 0, "agent": CONFIG["agent"]}, "another updates: the run has 100, given absent"),
    ],
)
def test_refuses_another_configuration(tmp_path: Path, config: dict[str, Any], match: str) -> None:
    RunFolder.open(tmp_path, CONFIG).close()
    before = (tmp_path / "config.json").read_bytes()
    refused(tmp_path, match, config, resume=True)
    assert (tmp_path / "config.json").read_bytes() == before


def test_named_fields_may_differ(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, CONFIG).close()
    RunFolder.open(tmp_path, changed(updates=200), resume=True, may_differ={"updates"}).close()
    assert read_config(tmp_path)["updates"] == 200
    refused(tmp_path, "another seed", changed(seed=3, updates=7), resume=True, may_differ={"updates"})


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "is not the configuration of a run"),
        ("[]", "is not the configuration of a run"),
        ('{"format_version": 1, "config": {}, "provenance": 3}', "is not the configuration of a run"),
        ('{"format_version": 99, "config": {}}', "format version is 99; this version of metaobj reads 1"),
    ],
)
def test_refuses_a_configuration_it_cannot_read(tmp_path: Path, content: str, match: str) -> None:
    (tmp_path / "config.json").write_text(content)
    refused(tmp_path, match, resume=True)


def test_in_use_by_another_process_until_it_dies(tmp_path: Path) -> None:
    script = (
        "import sys, time; from metaobj.common.runs.run_folder import RunFolder; "
        "run = RunFolder.open(sys.argv[1], {'seed': 0}); print('held', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        refused(tmp_path, "in use", {"seed": 0}, resume=True)
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    RunFolder.open(tmp_path, {"seed": 0}, resume=True).close()


def test_a_refused_resume_lets_go_of_the_lock(tmp_path: Path) -> None:
    RunFolder.open(tmp_path, CONFIG).close()
    refused(tmp_path, "another seed", changed(seed=1), resume=True)
    RunFolder.open(tmp_path, CONFIG, resume=True).close()


def test_atomic_write_replaces_or_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    atomic_write(path, "old")
    atomic_write(path, b"new")
    assert path.read_bytes() == b"new"

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match="cannot write: No space left on device"):
        atomic_write(path, "lost")
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["file"]


def test_every_run_has_a_name_of_its_own_and_keeps_it(tmp_path: Path) -> None:
    """Two folders called `run` are two runs; that of an older version went by its folder's name."""
    names = []
    for place in ("one", "other"):
        with RunFolder.open(tmp_path / place / "run", CONFIG) as run:
            names.append(run.run_id)
        with RunFolder.open(tmp_path / place / "run", CONFIG, resume=True) as run:
            assert run.run_id == names[-1]
    assert names[0] != names[1]
    file = tmp_path / "one" / "run" / "config.json"
    record = json.loads(file.read_text())
    del record["run_id"], record["place"]
    file.write_text(json.dumps(record))
    odd = file.parent.rename(tmp_path / "a run: #1")
    with RunFolder.open(odd, CONFIG, resume=True) as run:
        assert run.run_id == "a run- -1"


def test_a_moved_run_keeps_its_name_and_a_copied_one_has_another(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        name = run.run_id
    (tmp_path / "run").rename(tmp_path / "moved")
    with RunFolder.open(tmp_path / "moved", CONFIG, resume=True) as run:
        assert run.run_id == name
    shutil.copytree(tmp_path / "moved", tmp_path / "copied")
    with RunFolder.open(tmp_path / "copied", CONFIG, resume=True) as run:
        assert run.run_id != name
        other = run.run_id
    for place, kept in (("moved", name), ("copied", other)):
        with RunFolder.open(tmp_path / place, CONFIG, resume=True) as run:
            assert run.run_id == kept


def test_the_lock_of_a_start_that_was_taken_back_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock = run_folder.fcntl.flock

    def late(lock: int, how: int) -> None:
        (tmp_path / "run.lock").unlink()  # by the one that held it until now
        flock(lock, how)

    monkeypatch.setattr(run_folder.fcntl, "flock", late)
    refused(tmp_path, "in use by another process")


def test_what_was_written_down_at_the_start_stays(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path, CONFIG, provenance=lambda before: {**before, "date": ("then",)}) as run:
        assert run.provenance == {"date": ["then"]}
    with RunFolder.open(tmp_path, CONFIG, resume=True) as run:
        assert run.provenance == {"date": ["then"]}
    with RunFolder.open(tmp_path, CONFIG, resume=True, provenance=lambda before: {**before, "more": 1}) as run:
        assert run.provenance == {"date": ["then"], "more": 1}


def test_a_run_that_is_abandoned_leaves_room_for_another(tmp_path: Path) -> None:
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        (run.path / "wandb").mkdir()
        (run.path / "wandb" / "log").write_text("refused")
        run.metrics.touch()
        run.abandon()
    assert os.listdir(tmp_path) == []
    with RunFolder.open(tmp_path / "new" / "run", CONFIG) as run:
        (tmp_path / "new" / "mine").touch()
        run.abandon()
    assert os.listdir(tmp_path) == ["new"] and os.listdir(tmp_path / "new") == ["mine"]
    (tmp_path / "run").mkdir()
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        run.abandon()
    assert os.listdir(tmp_path / "run") == []
    with RunFolder.open(tmp_path / "run", CONFIG) as run:
        run.metrics.touch()
    with RunFolder.open(tmp_path / "run", CONFIG, resume=True) as run:
        run.abandon()  # what was there before stays
    assert sorted(os.listdir(tmp_path / "run")) == ["config.json", "metrics.jsonl", "run.lock"]
