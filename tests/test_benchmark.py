"""`metaobj benchmark`."""

import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from metaobj.common.command.benchmark import alone, short, tables
from metaobj.common.command.cli import main
from metaobj.common.errors import UserError
from metaobj.common.meta.cost import Work
from metaobj.common.meta.machine import Rates
from metaobj.common.objectives.benchmark import Cost, find_preset, measure

COST = Cost(
    preset="selftuning/selftuning-demo",
    scale=1000,
    lifetimes=960_000,
    devices=2,
    environment_steps=96_000_000,
    trace_seconds=12.34,
    compile_seconds=123.4,
    seconds=0.5,
    cpu_seconds=0.9,
    state_megabytes=1234.5,
    temporary_megabytes=12345.6,
    peak_megabytes=123456.7,
    work=Work(products=1e9, stacked=1e6),
)


def test_presets_are_found_by_either_name() -> None:
    assert (find_preset("lpg-demo")[0].kind, find_preset("lpg-demo")[1]) == ("lpg", "lpg-demo")
    assert (find_preset("lpo/smoke")[0].kind, find_preset("lpo/smoke")[1]) == ("lpo", "smoke")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["smoke"], "presets: 'smoke' is of several kinds; choose from disco/smoke, lpg/smoke, "),
        (["lpg-dmo"], "presets: 'lpg-dmo' is unknown; choose from "),
        (["lpg/other"], "presets: 'lpg/other' is unknown; choose from lpg/smoke, lpg/lpg-demo, "),
        (["other/smoke"], "objective: 'other' is unknown; choose from "),
        (["lpg-demo", "--scale", "0"], "scale: 0 given; must be at least 1"),
        (["lpg-demo", "--meta-updates", "0"], "meta_updates: 0 given; must be at least 1"),
        (["lpg-demo", "--devices", "-1"], "devices: -1 given; must be at least 1"),
        (["lpg-demo", "--scale", "big"], "--scale: 'big' given; must be a whole number"),
        (["lpg-demo", "--out", "."], "out: . is a folder; give a file"),
        (["lpg-demo", "--out", "/dev/null/here.json"], "out: /dev/null is a file; give a folder"),
    ],
)
def test_wrong_input_is_told_in_a_line(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", *arguments])
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and not out
    assert err.startswith("metaobj: " + told) and err.count("\n") == 1


def test_a_process_that_is_ended_is_told_of() -> None:
    with pytest.raises(UserError, match="lpg/lpg-demo: its process was ended; a smaller scale needs less memory"):
        alone("lpg/lpg-demo", os._exit, (9,))


def test_the_figures_of_a_preset() -> None:
    told = COST.told(Rates(products=1e10, bytes=1e10))
    assert told["steps_per_second"] == 192e6 and told["meta_updates_per_second"] == 2.0
    assert told["products_seconds"] == 0.1
    assert told["traffic_seconds"] == pytest.approx((2 * 1234.5e6 / 2 + 1e6) / 1e10)
    assert json.loads(json.dumps(told))["work"]["products"] == 1e9


def test_the_tables_fit_a_terminal() -> None:
    console = Console(width=80, record=True, file=io.StringIO())
    rows: list[dict[str, Any]] = [COST.told(Rates(1e8, 1e8))] * 2
    names = ["selftuning/selftuning-demo", "lpg-demo"]
    for table in tables(names, rows, "2 cores of AMD EPYC 9654 96-Core Processor"):
        console.print(table)
    lines = [line.split() for line in console.export_text().splitlines()]
    assert ["selftuning/selftuning-demo", "123", "0.5", "10", "12.4", "2", "192M"] in lines
    assert ["lpg-demo", "960k", "2", "1234", "12.3k", "123k"] in lines


@pytest.mark.parametrize(
    ("value", "text"), [(0.01234, "0.012"), (1.2345, "1.23"), (1234.5, "1234"), (12345.0, "12.3k"), (1.5e6, "1.5M")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert short(value) == text


@pytest.mark.usefixtures("quick_compilation")
@pytest.mark.slow
def test_a_preset_is_measured() -> None:
    cost = measure("selftuning", "smoke", 1, 2, 1)
    assert cost.preset == "selftuning/smoke" and cost.devices == 1
    assert 0 < cost.trace_seconds < cost.compile_seconds
    assert cost.seconds > 0 and cost.cpu_seconds > 0
    assert cost.peak_megabytes > cost.state_megabytes + cost.temporary_megabytes > 0
    assert cost.work.products == 0  # tables of agents that tune themselves: there is no network
    assert cost.work.dear > 0 and cost.work.bytes > cost.work.stacked > 0


@pytest.mark.slow
def test_the_command_leaves_its_figures(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "made" / "figures.json"
    monkeypatch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
    with pytest.raises(SystemExit) as ended:
        main(["benchmark", "selftuning/smoke", "--meta-updates", "1", "--devices", "1", "--out", str(out)])
    shown = capsys.readouterr().out
    assert ended.value.code == 0
    found = json.loads(out.read_text())
    (row,) = found["rows"]
    assert row["preset"] == "selftuning/smoke" and found["rates"]["1"]["products"] > 0
    traffic = 2e6 * row["state_megabytes"] + row["work"]["stacked"]
    assert row["traffic_seconds"] == pytest.approx(traffic / found["rates"]["1"]["bytes"])
    assert row["seconds"] > row["traffic_seconds"] > 0
    assert "selftuning/smoke" in " ".join(shown.split())
