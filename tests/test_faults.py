"""Runs that are killed at any moment, and runs on a disk that fills up, end with the bytes of an undisturbed one."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from metaobj.common.runs.checkpoint import TEMPORARY
from tests.disks import small_disk
from tests.quick import quick_environment

pytestmark = pytest.mark.slow

ENVIRONMENT: dict[str, str] = {}

KILLS = 20
UPDATES = 60
SHORT = (
    f"--meta-updates {UPDATES} --log-every 1 --checkpoint-every 1 --inner-updates 1 --rollout-steps 2 --network.units 4"
)
FLAGS = {
    "lpg": f"{SHORT} --distribution small-layouts --network.prediction-size 2 --network.embedding-units 2".split(),
    "metagenrl": (
        f"{SHORT} --preset smoke --distribution control/point_mass --agent.hidden 8 --agent.replay-steps 320 "
        "--agent.random-steps 160 --agent.windows 2 --agent.window-steps 5"
    ).split(),
}


class Straight(NamedTuple):
    """A run that nothing disturbed, with everything compiled."""

    kind: str
    objective: bytes
    first: float  # seconds to the first step's checkpoint
    total: float  # seconds in all


def start(kind: str, folder: Path, resume: bool) -> subprocess.Popen[str]:
    arguments = ["--resume"] if resume else FLAGS[kind]
    return subprocess.Popen(
        [sys.executable, "-m", "metaobj", "train", kind, "--run-dir", str(folder), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def holds_run(folder: Path) -> bool:
    return (folder / "config.json").exists()


def objective(folder: Path) -> bytes:
    return (folder / "objective.safetensors").read_bytes()


def steps(folder: Path) -> list[int]:
    kept = folder / "checkpoints"
    return sorted(int(entry.name) for entry in kept.iterdir() if entry.name.isdigit()) if kept.exists() else []


def in_a_write(folder: Path) -> bool:
    """Whether a kill has left something half written."""
    kept = folder / "checkpoints"
    if not kept.exists():
        return False
    half = any(TEMPORARY in entry.name for entry in kept.iterdir())
    return half or any(not (kept / str(step) / "files.json").exists() for step in steps(folder))


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All processes share what they compile, so that a new start is quick."""
    ENVIRONMENT.update(quick_environment(tmp_path_factory.mktemp("programs")))


@pytest.fixture(scope="module", params=list(FLAGS))
def straight(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Straight:
    kind: str = request.param
    for number in range(2):
        folder = tmp_path_factory.mktemp(f"straight{number}") / "run"
        begun = time.monotonic()
        process = start(kind, folder, False)
        wait_for_step(process, folder, 1)
        first = time.monotonic() - begun
        _, err = process.communicate()
        assert process.returncode == 0, err
    return Straight(kind, objective(folder), first, time.monotonic() - begun)


def wait_for_step(process: subprocess.Popen[str], folder: Path, step: int) -> None:
    """Until the checkpoint of a step is there, or the process has ended."""
    while process.poll() is None and (not steps(folder) or steps(folder)[-1] < step):
        time.sleep(0.01)


def test_killed_at_random_moments(straight: Straight, tmp_path: Path) -> None:
    """Half of the kills come at any moment from the start on, half while steps and checkpoints follow each other."""
    kind, wanted, first, total = straight
    generator = random.Random(0)
    kills = writes = early = number = 0
    folder = tmp_path / "run0"
    begun = time.monotonic()
    while kills < KILLS:
        stood_at = steps(folder)[-1] if steps(folder) else 0
        process = start(kind, folder, holds_run(folder))  # what a user does who looks into the folder
        if kills % 2:
            wait_for_step(process, folder, stood_at + 1)
            time.sleep(generator.uniform(0.0, 2 * (total - first) / UPDATES))
        else:
            time.sleep(generator.uniform(0.0, 1.2 * first))
        if process.poll() is not None:  # came to its end between two kills: the rest go to another run
            _, err = process.communicate()
            assert process.returncode == 0 and objective(folder) == wanted, err
            number += 1
            folder = tmp_path / f"run{number}"
            continue
        process.kill()
        process.communicate()
        kills += 1
        writes += in_a_write(folder)
        early += not holds_run(folder)
    process = start(kind, folder, holds_run(folder))
    _, err = process.communicate()
    assert process.returncode == 0, err
    assert objective(folder) == wanted
    print(
        f"{kills} kills, {writes} within the write of a checkpoint, {early} before the folder was a run, "
        f"{number + 1} runs, {time.monotonic() - begun:.0f} s"
    )
    assert writes > 0


def test_killed_before_the_folder_is_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.lock").touch()
    process = start("lpg", folder, True)
    _, err = process.communicate()
    assert process.returncode == 2 and "leave out --resume" in err and err.count("\n") == 1
    process = start("lpg", folder, False)
    wait_for_step(process, folder, 0)
    process.kill()
    process.communicate()
    assert steps(folder)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "16m") as folder:
        yield folder


def test_a_full_disk(straight: Straight, disk: Path) -> None:
    kind, wanted, _, _ = straight
    folder, ballast = disk / "run", disk / "ballast"
    process = start(kind, folder, False)
    wait_for_step(process, folder, 5)
    room = os.statvfs(disk)
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(room.f_frsize))
        except OSError:
            pass
    _, err = process.communicate()
    assert process.returncode == 2 and err.count("\n") == 1, err
    assert "No space left" in err and "Traceback" not in err
    stopped_at = steps(folder)[-1]
    assert 5 <= stopped_at < UPDATES
    ballast.unlink()
    process = start(kind, folder, True)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert f"resumed from step {stopped_at}" in out and "unreadable" not in out
    assert objective(folder) == wanted


def test_a_file_that_may_not_grow(straight: Straight, tmp_path: Path) -> None:
    """The same without a mount: metrics.jsonl meets a limit on the size of files."""
    kind, wanted, _, _ = straight
    folder = tmp_path / "run"
    limited = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)); "
        "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    )
    command = [
        sys.executable,
        "-c",
        limited,
        "-m",
        "metaobj.common.command.cli",
        "train",
        kind,
        "--run-dir",
        str(folder),
        *FLAGS[kind],
    ]
    process = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert process.returncode == 2 and process.stderr.count("\n") == 1, process.stderr
    assert "File too large" in process.stderr
    resumed = start(kind, folder, True)
    out, err = resumed.communicate()
    assert resumed.returncode == 0, err
    assert objective(folder) == wanted
