"""Installed beside a user's own code, whose packages are called as folders of ours are: each finds its own."""

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from metaobj.common.runs.run_folder import package_version
from tests.test_docs import blocks, commands

ROOT = Path(__file__).parents[1]
THEIRS = ("common", "lpg", "experiments")
QUICK = ("list", "show", "export")
TRAIN = (
    "train lpg --preset smoke --distribution mine:corridor --run-dir run --meta-updates 2 --log-every 2 "
    "--checkpoint-every 2 --rollout-steps 5 --inner-updates 2 --figures pdf"
)
pytestmark = pytest.mark.slow


class Place:
    """A virtual environment with the package in it, and a working folder with code of the user's."""

    def __init__(self, folder: Path, how: str) -> None:
        self.bin = folder / "venv" / "bin"
        self.work = folder / "work"
        hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
        self.environment = {name: value for name, value in os.environ.items() if name not in hidden}
        self.environment["JAX_COMPILATION_CACHE_DIR"] = str(folder / "programs")
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        # What it depends on is there already; the package itself is found as it is installed, and not otherwise.
        (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
        (site / "under.pth").write_text(sysconfig.get_path("purelib") + "\n")
        if how == "wheel":
            build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "dist"]
            subprocess.run(build, cwd=ROOT, env=self.environment, check=True, capture_output=True)
            what = [str(path) for path in (folder / "dist").glob("*.whl")]
        else:
            what = ["--no-build-isolation", "-e", str(ROOT)]
        self.run("python", "-m", "pip", "install", "--quiet", "--no-deps", *what, at=folder)
        for name in THEIRS:
            (self.work / name).mkdir(parents=True)
            (self.work / name / "__init__.py").write_text("WHOSE = 'the user'\n")
        (self.work / "mine.py").write_text(f"import common\nassert common.WHOSE\n{blocks(ENVIRONMENT, 'python')[0]}")

    def run(self, program: str, *arguments: str, at: Path | None = None) -> str:
        """What a program of the environment prints, in the working folder by default."""
        line = [self.bin / program, *arguments]
        done = subprocess.run(line, cwd=at or self.work, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(map(str, line))}\n{done.stdout}{done.stderr}"
        return done.stdout


ENVIRONMENT = "docs/how-to/environment.md"


@pytest.fixture(scope="module", params=["wheel", "editable"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp(request.param), request.param)


def test_everybody_finds_their_own(place: Place) -> None:
    code = f"import {', '.join(THEIRS)}, metaobj, metaobj.lpg.plugin as ours; print(common.WHOSE, metaobj.__file__)"
    whose, _, file = place.run("python", "-c", code + "; print(ours.__file__, lpg.WHOSE)").partition(" /")
    assert whose == "the user"
    assert ROOT.as_posix() in f"/{file}" or place.bin.parent.as_posix() in f"/{file}"


def test_no_name_but_one_is_added(place: Place, tmp_path: Path) -> None:
    found = f"import importlib.util as u; print([n for n in {(*THEIRS, 'tests', 'metaobj')} if u.find_spec(n)])"
    assert place.run("python", "-c", found, at=tmp_path).strip() == "['metaobj']"


def test_the_command(place: Place) -> None:
    assert place.run("metaobj", "--version").strip() == f"metaobj {package_version()}"
    assert place.run("python", "-m", "metaobj", "--version").strip() == f"metaobj {package_version()}"
    assert re.search(r"\blpg\b", place.run("metaobj", "list"))


def test_training_on_a_world_of_the_users(place: Place) -> None:
    place.run("metaobj", *TRAIN.split())
    assert {"objective.safetensors", "training.png", "training.pdf", "run.html"} <= set(os.listdir(place.work / "run"))
    assert "mine:corridor" in place.run("metaobj", "show", "run")


def test_quick_commands_of_the_pages(place: Place) -> None:
    lines = sorted({tuple(shlex.split(param.values[0], comments=True)) for param in commands()})
    quick = [line for line in lines if line[1] in QUICK and "runs/mine" not in line]
    assert {line[1] for line in quick} == set(QUICK)
    for line in quick:
        assert place.run(*line)


def test_an_objective_in_an_agent_of_the_users(place: Place) -> None:
    (place.work / "agent.py").write_text(blocks("docs/how-to/agent.md", "python")[0])
    place.run("python", "agent.py")
