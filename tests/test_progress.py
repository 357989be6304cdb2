"""What a run shows of itself while it goes on."""

import io
from typing import Any

import pytest
from rich.console import Console

from metaobj.common.runs import progress as module
from metaobj.common.runs.progress import Progress

ROW: dict[str, Any] = {"steps_per_second": 5e5, "reward": 0.25}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    found = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: found[0])
    return found


def chunks(progress: Progress, now: list[float], seconds: list[float], each: int) -> None:
    for number, took in enumerate(seconds, 1):
        now[0] += took
        progress.update(number * each, ROW)


def test_compiling_does_not_count_as_time_per_chunk(now: list[float]) -> None:
    console = Console(file=io.StringIO(), width=200)
    with Progress(console, 100, every_seconds=0.0) as progress:
        progress.note("compiling for 2 device(s)")
        chunks(progress, now, [90.0, 2.0, 4.0] + [3.0] * 7, 10)
    first, *lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert first == "compiling for 2 device(s)"
    assert lines[0] == "10/100  500k steps/s  reward 0.250"
    assert lines[1] == "20/100  16 s left  500k steps/s  reward 0.250"
    assert lines[2].startswith("30/100  21 s left") and lines[-1].startswith("100/100  500k")


def test_so_it_is_in_a_terminal(now: list[float]) -> None:
    console = Console(file=io.StringIO(), width=200, force_terminal=True, color_system=None)
    with Progress(console, 40) as progress:
        progress.note("compiling")
        progress._bar.refresh()  # type: ignore[union-attr]
        assert "compiling" in console.file.getvalue()  # type: ignore[attr-defined]
        chunks(progress, now, [90.0], 10)
        progress._bar.refresh()  # type: ignore[union-attr]
        assert "left" not in console.file.getvalue()  # type: ignore[attr-defined]
        now[0] += 5.0
        progress.update(20, ROW)
    assert "10 s left" in console.file.getvalue()  # type: ignore[attr-defined]


def test_a_run_that_goes_on_counts_what_it_does_itself(now: list[float]) -> None:
    console = Console(file=io.StringIO(), width=200)
    with Progress(console, 100, done=50, every_seconds=0.0) as progress:
        now[0] += 60.0
        progress.update(60, ROW)
        now[0] += 1.0
        progress.update(70, ROW)
    assert "70/100  3 s left" in console.file.getvalue()  # type: ignore[attr-defined]
