"""Where compiled programs are kept."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metaobj.common.command.programs import cache_folder

SCRIPT = """
import jax
from metaobj.common.command.programs import keep_programs
keep_programs()
print(jax.config.jax_compilation_cache_dir)
jax.jit(lambda x: x @ x + 1)(jax.numpy.ones((3, 3)))
"""


def run(**environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    clean |= {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    done = subprocess.run([sys.executable, "-c", SCRIPT], env=clean, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_programs_are_kept_in_the_users_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_folder()
    assert folder.is_relative_to(tmp_path / "metaobj")
    assert run(XDG_CACHE_HOME=str(tmp_path)) == str(folder)
    kept = {path.name for path in folder.glob("*-cache")}
    assert kept
    run(XDG_CACHE_HOME=str(tmp_path))
    assert {path.name for path in folder.glob("*-cache")} == kept  # found, and not compiled again


def test_they_are_kept_where_the_user_says(tmp_path: Path) -> None:
    where = str(tmp_path / "own")
    assert run(XDG_CACHE_HOME=str(tmp_path), JAX_COMPILATION_CACHE_DIR=where) == where
    assert not (tmp_path / "metaobj").exists()


def test_a_cache_that_cannot_be_written_stands_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / "metaobj").write_text("a file")
    assert run(XDG_CACHE_HOME=str(tmp_path)) == "None"


def test_another_machine_or_version_has_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = cache_folder()
    monkeypatch.setattr("platform.machine", lambda: "another")
    assert cache_folder() != here
