"""How the command begins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from metaobj.common.command.start import HUGE_PAGES, OFFERED, TUNABLES, wants_huge_pages


@pytest.mark.parametrize(
    ("offered", "environment", "wanted"),
    [
        ("always [madvise] never\n", {}, True),
        ("[always] madvise never\n", {}, False),
        ("always madvise [never]\n", {}, False),
        ("always [madvise] never\n", {TUNABLES: ""}, False),
        (None, {}, False),
    ],
)
def test_huge_pages_are_asked_for_where_that_makes_a_difference(
    offered: str | None, environment: dict[str, str], wanted: bool, tmp_path: Path
) -> None:
    path = tmp_path / "enabled"
    if offered is not None:
        path.write_text(offered)
    assert wants_huge_pages(environment, path) == wanted


@pytest.mark.parametrize("given", [None, "", "glibc.malloc.check=0"])
def test_the_command_begins_once_more_with_the_same_arguments_and_flags(given: str | None) -> None:
    program = (
        "import os, sys; from metaobj.common.command import start\n"
        "assert 'jax' not in sys.modules\n"
        "from types import SimpleNamespace\n"
        f"told = lambda: print(os.getpid(), os.environ.get('{TUNABLES}'), sys.argv[1:], sys.warnoptions)\n"
        "sys.modules['metaobj.common.command.cli'] = SimpleNamespace(main=told)\n"
        "start.main()"
    )
    environment = {name: value for name, value in os.environ.items() if name != TUNABLES}
    if given is not None:
        environment[TUNABLES] = given
    command = [sys.executable, "-W", "error", "-c", program, "a b", "--c=*"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    out, _ = process.communicate(timeout=60)
    asks = given is None and wants_huge_pages({}, OFFERED)
    assert process.returncode == 0
    assert out.strip() == f"{process.pid} {HUGE_PAGES if asks else given} {['a b', '--c=*']} {['error']}"
