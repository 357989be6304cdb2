"""Comparisons end to end, on worlds of three states."""

import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.errors import UserError
from metaobj.common.evaluation import protocol as evaluation_protocol
from metaobj.common.evaluation.suites import SUITES, Suite
from metaobj.common.evaluation.training import Record
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives import compare as module
from metaobj.common.objectives.compare import Comparison, compare, prepare
from tests.quick import quick_programs

TASKS = ("tests.worlds:LESSON", "tests.worlds:PAIR")
COMPARISON = Comparison(("pretrained:lpg-tabular", "A2C"), "+".join(TASKS), 2, 2, tuning="suite", steps=5 * 20 * 16 * 5)
TABLES = ("summary.csv", "curves.csv")


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory: pytest.TempPathFactory, quick_compilation: None) -> Iterator[None]:
    with quick_programs(tmp_path_factory.mktemp("programs")):
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, programs: None) -> tuple[Path, str]:
    """The folder of a comparison that nothing disturbed, and what the terminal said."""
    folder = tmp_path_factory.mktemp("whole")
    console = Console(width=100, record=True, file=io.StringIO())
    compare(COMPARISON, folder, console)
    return folder, console.export_text()


@pytest.mark.slow
def test_what_is_left_and_told(whole: tuple[Path, str]) -> None:
    folder, told = whole
    record = json.loads((folder / "evaluation.json").read_text())
    assert record["inputs"]["suite"] == COMPARISON.suite and list(record["inputs"]["methods"]) == ["LPG", "A2C"]
    assert record["inputs"]["steps"] == [COMPARISON.steps] * 2
    assert {choice["method"] for choice in record["tuning"]} == {"LPG", "A2C"}
    rates = [{setting["learning_rate"] for setting, _ in choice["tried"]} for choice in record["tuning"]]
    assert all(len(tried) >= 5 for tried in rates), "as many for each, and what lies beyond an edge"
    with open(folder / "curves.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["method"], row["task"]) for row in rows} == {(m, t) for m in ("LPG", "A2C") for t in TASKS}
    assert {float(row["env_steps"]) for row in rows if row["bin"] == "24"} == {COMPARISON.steps}
    assert "one learning rate per suite and kind of agent" in " ".join(told.split())
    assert re.search(r"A2C, tabular agents: .*learning_rate [0-9.]+.*; the best of [0-9]+", told)
    log = (folder / "evaluation.log").read_text().splitlines()
    assert len(log) >= 8 and all(re.match(r"[0-9-]{10} [0-9:]{8}  (tuning )?(LPG|A2C) on ", line) for line in log)
    assert len(list((folder / "cells").iterdir())) == len(log)


@pytest.mark.slow
def test_rules_whose_updates_span_different_steps_on_two_suites(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All live the same steps, and tasks are told by suite."""
    dense = AgentConfig("dense", (8,), (), "adam")
    for name, version, world, updates in (("first", 1, "LESSON", 200), ("second", 2, "RING", 250)):
        entry = Entry(f"tests.worlds:OBSERVED_{world}", 1, 4, updates, agent=dense)
        monkeypatch.setitem(SUITES, name, Suite(name, version, (entry,)))
    names = ("pretrained:lpg-tabular", "A2C", "PPO")
    evaluation = compare(Comparison(names, "first+second@2", 2, 2, tuning="suite"), tmp_path)
    assert [entry.method for entry in evaluation.curves] == ["LPG", "A2C", "PPO"]
    for entry in evaluation.curves:
        np.testing.assert_array_equal(np.asarray(entry.env_steps)[:, -1], [200 * 20 * 4, 250 * 20 * 4])
    assert evaluation.suite == "first@1+second@2" and evaluation.baseline == "A2C"
    assert {row.task for row in evaluation.rows if row.kind == "task"} == set(evaluation.curves[0].tasks)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("cells", [pytest.param(n, marks=pytest.mark.slow) for n in (0, 1, 4)])
def test_a_killed_comparison_goes_on_and_ends_with_the_same_bytes(
    cells: int, whole: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[str] = []
    train = evaluation_protocol.train_agents

    def counted(*arguments: Any) -> Record:
        if len(computed) == cells and not (tmp_path / "again").exists():
            raise Killed
        computed.append("")
        return train(*arguments)

    monkeypatch.setattr(evaluation_protocol, "train_agents", counted)
    with pytest.raises(Killed):
        compare(COMPARISON, tmp_path / "out")
    (tmp_path / "again").touch()
    compare(COMPARISON, tmp_path / "out")
    for name in TABLES:
        assert (tmp_path / "out" / name).read_bytes() == (whole[0] / name).read_bytes(), name
    total = len(list((whole[0] / "cells").iterdir()))
    assert len(computed) == total, "nothing twice"
    compare(COMPARISON, tmp_path / "out")
    assert len(computed) == total
    if cells == 0:  # other agents of both methods, whose tuning is there
        compare(replace(COMPARISON, seeds=3, overwrite=True), tmp_path / "out")
        assert len(computed) == total + 4


@pytest.mark.slow
def test_a_folder_that_holds_another_evaluation_is_left_alone(whole: tuple[Path, str]) -> None:
    folder, _ = whole
    before = {name: (folder / name).read_bytes() for name in TABLES}
    for other, differs in (
        (replace(COMPARISON, seed=1), "protocol"),
        (replace(COMPARISON, suite=TASKS[0]), "suite and steps"),
        (replace(COMPARISON, names=("A2C",)), "baseline and methods"),
        (replace(COMPARISON, baseline="LPG"), "baseline"),
    ):
        with pytest.raises(UserError, match=rf"holds another evaluation \({differs} differ\); give another --out"):
            compare(other, folder)
    assert {name: (folder / name).read_bytes() for name in TABLES} == before


@pytest.mark.slow
def test_all_diverged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table, and no score of 0 that would look like one."""
    train = evaluation_protocol.train_agents

    def lost(*arguments: Any) -> Record:
        record = train(*arguments)
        return record._replace(returns=record.returns * np.nan, diverged=np.ones_like(record.diverged))

    monkeypatch.setattr(evaluation_protocol, "train_agents", lost)
    evaluation = compare(COMPARISON, tmp_path)
    rows = [row for row in evaluation.rows if row.kind == "task"]
    assert rows and all(row.diverged == 2 and row.measure == "return" for row in rows)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"baseline": "TD3"}, "baseline: 'TD3' given; choose from LPG, A2C"),
        ({"steps": 10}, "steps: 10 given; one update on tests.worlds:LESSON takes 320"),
        (
            {"steps": 320 * 24},
            "steps: 7680 given; bins: 25 given; an agent of LPG has 24 updates on tests.worlds:LESSON",
        ),
        ({"steps": 10**30}, "steps: 1000000000000000000000000000000 given; must be at least 1 and at most 2147483647"),
        ({"seeds": 0}, "seeds: 0 given; must be at least 1"),
        ({"names": ("pretrained:lpg-tabular", "pretrained:metagenrl-demo")}, "tests.worlds:LESSON: "),
    ],
)
def test_what_cannot_be_compared(changes: dict[str, object], says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"^{says}"):
        compare(replace(COMPARISON, **changes), tmp_path / "out")  # type: ignore[arg-type]  # of any field
    assert not (tmp_path / "out").exists()


def test_the_command_that_is_told_makes_the_same_comparison() -> None:
    assert COMPARISON.command == (
        f"metaobj compare pretrained:lpg-tabular A2C --suite {COMPARISON.suite} --seeds 2 --tuning-seeds 2 "
        "--steps 8000 --tuning suite"
    )
    odd = Comparison(("a b", "A2C"), "control", seed=3, baseline="A2C", trust=True)
    assert odd.command == "metaobj compare 'a b' A2C --suite control --baseline A2C --seed 3 --trust"


@pytest.mark.slow
def test_a_suite_of_tasks_that_are_in_no_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is told by these tasks, page and all; beside others they choose no setting."""
    monkeypatch.setattr("metaobj.common.evaluation.protocol.APART", dict.fromkeys(TASKS, "exploration"))
    monkeypatch.setattr(module, "APART", {TASKS[0]: "exploration"})
    # As if it held no more than one setting's agents: all are then trained one after the other, by one program.
    monkeypatch.setattr("metaobj.common.evaluation.protocol.memory", lambda: 1.0)
    assert [entry.environment for entry in prepare(COMPARISON).tuned_on[AgentConfig()]] == [TASKS[1]]
    evaluation = compare(replace(COMPARISON, suite=TASKS[0]), tmp_path)
    assert {row.task for row in evaluation.rows if row.kind == "task"} == {TASKS[0]}
    assert "LPG" in (tmp_path / "report.html").read_text()


def test_methods_that_would_not_live_as_long_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SUITES, "odd", Suite("odd", 1, (Entry(TASKS[0], updates=50, split="held_out"),)))
    monkeypatch.setattr(module, "check_steps", lambda methods, suite: (_ for _ in ()).throw(UserError("not the same")))
    with pytest.raises(UserError, match="not the same"):
        compare(replace(COMPARISON, suite="odd", steps=None), tmp_path / "out")
    assert not (tmp_path / "out").exists()
