"""What the command says of itself."""

import os
import subprocess
import sys

import pytest

from metaobj.common.command.cli import main
from tests.test_cli import run


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("metaobj.common.command.cli.list_all", broken)
    with pytest.raises(ZeroDivisionError):
        main(["list"])


@pytest.mark.parametrize("line", ["", "--help", "-h", "help", "train", "train --help"])
def test_usage(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*line.split()) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: metaobj") and not err


@pytest.mark.parametrize("command", ["train lpg", "evaluate", "inspect", "demo"])
@pytest.mark.parametrize("columns", [80, 120])
def test_help_screens(
    command: str, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(*command.split(), "--help") == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"usage: metaobj {command}") and not err
    assert max(map(len, out.splitlines())) <= columns
    assert "None" not in out
    if command == "train lpg":
        assert "--network.units INT" in out and "--preset NAME" in out and "--0." not in out


def test_help_tells_the_presets_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "lpg", "--preset", "smoke", "--help") == 0
    assert "(default: small-mix)" in " ".join(capsys.readouterr().out.split())


def test_the_command_spreads_lifetimes_over_all_cores() -> None:
    """So nothing that it imports may have used JAX before it asks for them."""
    program = (
        "import os, metaobj.common.command.cli; from metaobj.common.devices import use_all_cores; use_all_cores(); "
        "import jax; assert len(jax.devices()) == len(os.sched_getaffinity(0)), jax.devices()"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX", "XLA"))}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
