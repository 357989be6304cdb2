import csv
import dataclasses
import io
import re

import numpy as np
import pytest
from rich.console import Console

from metaobj.common.errors import UserError
from metaobj.common.evaluation import report
from metaobj.common.evaluation.curves_file import load_curves
from metaobj.common.evaluation.summary import SummaryRow


def _written(directory, curves, **options) -> str:
    stream = io.StringIO()
    report.write(directory, curves, console=Console(file=stream, width=80), repetitions=100, **options)
    return stream.getvalue()


def _line(text: str, *parts: str) -> str:
    """The first line that has all the parts, with single spaces."""
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    return next(line for line in lines if all(part in line for part in parts))


@pytest.fixture
def methods(make_curves):
    return [make_curves("LPG", 0.9), make_curves("A2C", 0.6, seed=1)]


def test_files_hold_the_rows_and_the_curves(methods, tmp_path):
    rows = report.write(tmp_path / "report", methods, baseline="A2C", repetitions=100)
    with open(tmp_path / "report" / "summary.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == list(SummaryRow._fields)
    assert [float(line["final"]) for line in lines] == [row.final for row in rows]
    assert [curves.method for curves in load_curves(tmp_path / "report" / "curves.csv")] == ["LPG", "A2C"]
    for name in ("learning_curves.png", "intervals.png"):
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")


def test_tables_tell_the_numbers_of_the_rows(methods, tmp_path):
    text = _written(tmp_path, methods, baseline="A2C")
    rows = report.write(tmp_path, methods, baseline="A2C", repetitions=100)
    grids = next(row for row in rows if row.kind == "group" and row.group == "held-out grids")
    shown = _line(text, "held-out grids", "LPG")
    assert f"{grids.final:.3f} [{grids.final_low:.3f}, {grids.final_high:.3f}]" in shown
    assert f"{grids.area:.3f} [{grids.area_low:.3f}, {grids.area_high:.3f}]" in shown
    difference = next(row for row in rows if row.kind == "comparison" and row.group == "CartPole")
    shown = _line(text, "CartPole", "LPG", "final")
    assert f"{difference.final:+.1f} [{difference.final_low:+.1f}, {difference.final_high:+.1f}] *" in shown
    assert shown.endswith("1 of 1 100 %")
    assert _line(text, "CartPole-v1", "return").count(" / ") == 2
    assert "(2 x 4, score)" in text and "(1 x 4, return)" in text
    assert "left out of 'all normalised': CartPole" in re.sub(r"\s+", " ", text)


def test_tables_fit_eighty_columns(methods, tmp_path):
    long = [dataclasses.replace(entry, method=f"a rather long name of a method {entry.method}") for entry in methods]
    for curves in (methods, long):
        text = _written(tmp_path, curves, baseline=curves[1].method)
        tables = text.split("Files in")[0]
        assert max(len(line) for line in tables.splitlines()) <= 80
        assert "…" not in tables


def test_intervals_around_zero_are_not_marked(make_curves, tmp_path):
    text = _written(tmp_path, [make_curves("LPG"), make_curves("A2C", seed=1)], baseline="A2C")
    assert "] *" not in _line(text, "held-out", "final")


def test_no_comparison_table_without_a_baseline(methods, tmp_path):
    assert "Difference" not in _written(tmp_path, methods)


def test_names_are_never_markup(methods, tmp_path):
    named = [dataclasses.replace(entry, tasks=["[red]a", "$x$ $", "[/]", "d"]) for entry in methods]
    text = _written(tmp_path, named, baseline="A2C")
    assert "[red]a" in text and "[/]" in text and "$x$ $" in text


def test_one_seed_is_said(make_curves, tmp_path):
    assert "One seed only" in _written(tmp_path, [make_curves(seeds=1)])
    assert "One seed only" not in _written(tmp_path, [make_curves(seeds=2)])


def test_many_tasks_are_left_to_the_file(make_curves, tmp_path):
    few = make_curves(bins=5)
    many = dataclasses.replace(
        few,
        tasks=[f"t{i}" for i in range(60)],
        returns=np.tile(few.returns[:1], (60, 1, 1)),
        reference=None,
        groups=None,
    )
    assert "The 60 single tasks are in summary.csv." in _written(tmp_path, [many])


def test_nothing_is_written_for_methods_that_cannot_be_compared(methods, tmp_path):
    with pytest.raises(UserError, match="baseline"):
        report.write(tmp_path / "report", methods, baseline="PPO")
    assert not (tmp_path / "report").exists()


def test_diverged_agents_are_told_by_name(methods, tmp_path):
    lost = np.zeros(methods[0].returns.shape, bool)
    lost[1, :3, 5:] = lost[3, 2, -1:] = True
    counted = [dataclasses.replace(methods[0], diverged=lost), methods[1]]
    text = re.sub(r"\s+", " ", _written(tmp_path, counted, baseline="A2C"))
    assert (
        "DIVERGED: 3 of 4 agents of LPG on sparse" in text and "DIVERGED: 1 of 4 agents of LPG on CartPole-v1" in text
    )
    assert text.count("DIVERGED") == 2
    with open(tmp_path / "summary.csv", newline="") as file:
        lines = [line for line in csv.DictReader(file) if line["method"] == "LPG"]
    told = {(line["kind"], line["task"] or line["group"]): line["diverged"] for line in lines}
    assert told["task", "sparse"] == told["group", "held-out grids"] == "3" and told["task", "dense"] == "0"
    assert "DIVERGED" not in _written(tmp_path, methods)


@pytest.mark.parametrize(
    ("seeds", "says"), [(1, "One seed only"), (3, "in about 73 % of cases"), (8, "92 %"), (10, "")]
)
def test_few_seeds_are_told_for_what_they_are(make_curves, seeds, says, tmp_path):
    text = re.sub(r"\s+", " ", _written(tmp_path, [make_curves("LPG", seeds=seeds)]))
    assert says in text and ("seeds a task only" in text) == (1 < seeds < 10)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_numbers_are_whole_in_a_narrow_terminal(methods, tmp_path, encoding):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="replace")
    console = Console(file=stream, width=40)
    rows = report.write(tmp_path, methods, baseline="A2C", console=console, repetitions=100)
    stream.flush()
    text = raw.getvalue().decode(encoding)
    grids = next(row for row in rows if row.kind == "group" and row.group == "held-out grids")
    assert f"{grids.final:.3f} [{grids.final_low:.3f}, {grids.final_high:.3f}]" in text and console.width == 40


def test_what_was_computed_is_told_where_it_cannot_be_written(methods, tmp_path, monkeypatch):
    (tmp_path / "curves.csv").write_text("precious")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    stream = io.StringIO()
    with pytest.raises(UserError, match="summary.csv: cannot write: No space left"):
        report.write(tmp_path, methods, console=Console(file=stream, width=80), repetitions=100)
    assert "held-out grids" in stream.getvalue()
    assert [path.name for path in tmp_path.iterdir()] == ["curves.csv"]
    assert (tmp_path / "curves.csv").read_text() == "precious"
