"""Evaluation, inspection and demonstration that are killed at any moment, or run on a disk that is full: every file
that they leave is whole, what was there before stays, and a full disk is told in one line.
"""

import csv
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaobj.common.objectives.loading import load_objective
from metaobj.common.runs.metrics import read_metrics
from tests.disks import small_disk
from tests.quick import quick_environment

pytestmark = pytest.mark.slow

KILLS = 20
ENVIRONMENT: dict[str, str] = {}
SMALL = """
import sys
from dataclasses import replace
from metaobj.common.command.cli import main
from metaobj.common.evaluation.protocol import EvaluationProtocol
from metaobj.lpg.inspection_data import Size
from metaobj.lpg.plugin import plugin
from metaobj.lpg import inspection
change = lambda name, value: object.__setattr__(plugin, name, value)
change("default_preset", "smoke")
change("elsewhere", None)
change("protocol", EvaluationProtocol(seeds=3, tuning_seeds=1, bins=5, longest_tuning_life=10))
main(sys.argv[1:])
"""
"""The command itself, with sizes at which it ends in seconds."""
COMMANDS = {
    "train": "train lpg --preset smoke --run-dir {out}/run",
    "evaluate": "evaluate pretrained:lpg-tabular --out {out}/evaluation",
    "inspect": "inspect pretrained:lpg-tabular --out {out}/inspection",
    "demo": "demo lpg --run-dir {out}/demo",
}


@pytest.fixture(scope="module", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All processes share what they compile."""
    ENVIRONMENT.update(quick_environment(tmp_path_factory.mktemp("programs")))


def start(name: str, out: Path) -> subprocess.Popen[str]:
    words = COMMANDS[name].format(out=out).split()
    return subprocess.Popen(
        [sys.executable, "-c", SMALL, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    )


def check_whole(folder: Path) -> int:
    """Read every file that has its final name; how many there are."""
    number = 0
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith(".") or "checkpoints" in path.parts or path.name == "run.lock":
            continue
        number += 1
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".csv":
            with open(path, newline="") as file:
                widths = {len(row) for row in csv.reader(file)}
            assert len(widths) == 1 and path.read_bytes().endswith(b"\n"), path
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            load_objective(path)
        elif path.suffix == ".cell":
            digest, content = path.read_bytes().split(b"\n", 1)
            assert hashlib.sha256(content).hexdigest().encode() == digest, path
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>"), path
        elif path.suffix == ".log":
            assert path.name == "evaluation.log", path
        else:
            assert path.name == "metrics.jsonl", path
            read_metrics(path)
    return number


@pytest.fixture(scope="module")
def seconds() -> dict[str, float]:
    return {}


@pytest.fixture(params=list(COMMANDS))
def name(request: pytest.FixtureRequest, tmp_path: Path, seconds: dict[str, float]) -> str:
    """A command, which has been run to its end once."""
    name: str = request.param
    if name not in seconds:
        for number in range(2):  # the second time everything is compiled
            begun = time.monotonic()
            process = start(name, tmp_path / f"whole{number}")
            _, err = process.communicate()
            assert process.returncode == 0, err
            seconds[name] = time.monotonic() - begun
        assert check_whole(tmp_path / "whole1") >= 3
    return name


def test_killed_at_random_moments(name: str, seconds: dict[str, float], tmp_path: Path) -> None:
    """Over and over into the same folder, where a command takes one that is there."""
    generator = np.random.default_rng(0)
    out = tmp_path / "out"
    found: list[int] = []
    kept: dict[Path, bytes] = {}
    for kill in range(KILLS):
        if name in ("train", "demo"):
            out = tmp_path / f"out{kill}"
        process = start(name, out)
        # Most kills come late, where files are written.
        time.sleep(seconds[name] * (1.05 - 0.6 * generator.random() ** 2))
        process.kill()
        process.communicate()
        if out.exists():
            found.append(check_whole(out))
            assert all(path.exists() for path in kept), "what was there is still there"
            kept = {path: b"" for path in out.rglob("*.csv")} if name in ("evaluate", "inspect") else {}
    if name == "evaluate":  # what all those kills have left is gone on with, and ends as if nothing had been
        process = start(name, out)
        _, err = process.communicate()
        assert process.returncode == 0, err
        for table in ("summary.csv", "curves.csv"):
            paths = [folder / "evaluation" / table for folder in (out, tmp_path / "whole1")]
            assert paths[0].read_bytes() == paths[1].read_bytes(), table
    print(f"{name}: {KILLS} kills, {seconds[name]:.0f} s undisturbed, files found {found}")
    assert found and max(found) > 0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", "2m") as folder:
        yield folder


@pytest.mark.parametrize("free", [0, 4096, 20_000, 100_000])
def test_a_full_disk(name: str, free: int, disk: Path) -> None:
    ballast = disk / "ballast"
    size = os.statvfs(disk)
    ballast.write_bytes(random.Random(0).randbytes(size.f_bavail * size.f_frsize - free))
    process = start(name, disk / "out")
    out, err = process.communicate()
    assert process.returncode == 2, (out, err)
    assert err.count("\n") == 1 and "No space left" in err and "Traceback" not in out + err, err
    if name == "evaluate":
        early = "cannot be made" in err or "evaluation.json: cannot write" in err
        assert early or "Interquartile mean" in out, "what was computed is told"
    check_whole(disk / "out")
    assert ballast.stat().st_size > 1_000_000
