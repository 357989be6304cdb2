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
from metaobj.common.evaluation.summary import SummaryRow, summary_table


def _told(curves, baseline=None, width=80) -> str:
    """The tables."""
    stream = io.StringIO()
    rows = summary_table(curves, baseline, repetitions=100)
    report.print_tables(Console(file=stream, width=width), rows)
    return stream.getvalue()


def _line(text: str, *parts: str) -> str:
    """The first line that has all the parts, with single spaces."""
    lines = [re.sub(r"\s+", " ", line).strip() for line in text.splitlines()]
    return next(line for line in lines if all(part in line for part in parts))


def test_files_hold_the_rows_and_the_curves(methods, tmp_path):
    rows = report.write(tmp_path / "report", methods, baseline="A2C", repetitions=100)
    with open(tmp_path / "report" / "summary.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == list(SummaryRow._fields)
    assert [float(line["final"]) for line in lines] == [row.final for row in rows]
    assert [curves.method for curves in load_curves(tmp_path / "report" / "curves.csv")] == ["LPG", "A2C"]
    for name in ("learning_curves.png", "intervals.png", "profiles.png"):
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_files_are_named_and_restarts_are_told(methods, tmp_path):
    for reference, profiles, restarts in ((methods[0].reference, ", profiles.png", 0), (None, "", 3)):
        stream = io.StringIO()
        one = dataclasses.replace(methods[0], reference=reference, restarts=restarts)
        report.write(tmp_path, [one], console=Console(file=stream, width=80), repetitions=20)
        assert f"summary.csv, curves.csv, learning_curves.png, intervals.png{profiles}\n" in stream.getvalue()
        told = " ".join(stream.getvalue().split())
        assert ("learning began anew where a number was not finite: LPG 3." in told) == (restarts > 0)


def test_tables_tell_the_numbers_of_the_rows(methods):
    text = _told(methods, baseline="A2C")
    rows = summary_table(methods, baseline="A2C", repetitions=100)
    grids = next(row for row in rows if row.kind == "group" and row.group == "held-out grids")
    lines = text.splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("held-out grids"))
    numbers = [f"{number:.3f}" for number in (grids.final, grids.area, grids.best)]
    assert lines[at].split() == ["held-out", "grids", "LPG", *numbers]
    below = lines[at + 1]
    assert below.startswith("2 tasks, score") and " 4 seeds " in below
    for measure in ("final", "area", "best"):
        _, low, high = grids.interval(measure)
        assert f"[{low:.3f}, {high:.3f}]" in below
    assert "1 task, return" in text
    difference = next(row for row in rows if row.kind == "comparison" and row.group == "CartPole")
    shown = _line(text, "CartPole", "LPG", "final")
    assert f"{difference.final:+.1f} [{difference.final_low:+.1f}, {difference.final_high:+.1f}] *" in shown
    assert shown.endswith("1 of 1 100 [100, 100]")
    assert "left out of 'all normalised': CartPole" in re.sub(r"\s+", " ", text)


def test_other_statistics_are_of_all_scores(methods):
    text = _told(methods)
    rows = {
        (row.statistic, row.method): row
        for row in summary_table(methods, repetitions=100)
        if row.kind == "group" and row.group == "all"
    }
    numbers = [f"{rows[name, 'A2C'].final:.3f}" for name in ("median", "mean", "optimality gap")]
    table = text[text.index("Other statistics") :]
    assert _line(table, "A2C") == " ".join(["A2C", *numbers])
    gap = rows["optimality gap", "A2C"]
    assert f"[{gap.final_low:.3f}, {gap.final_high:.3f}]" in table


def test_returns_stand_beside_scores(methods):
    text = _told(methods)
    rows = {(row.task, row.measure, row.method): row for row in summary_table(methods, repetitions=100)}
    table = text[text.index("Single tasks") :]
    both = [rows["dense", unit, "LPG"] for unit in ("score", "return")]
    cells = [f"{number:.3f}" for row in both for number in (row.final, row.area, row.best)]
    assert _line(table, "dense") == " ".join(["dense", "LPG", *cells])
    after = [line.split() for line in table[table.index("dense") :].splitlines()[2:4]]
    assert after == [["random", "1.000"], ["score", "1", "5.000"]]
    raw = rows["CartPole-v1", "return", "LPG"]
    assert _line(table, "CartPole-v1") == f"CartPole-v1 LPG {raw.final:.1f} {raw.area:.1f} {raw.best:.1f}"
    assert "No agent diverged." in text


def test_every_method_has_a_line_per_task(make_curves):
    names = ["LPG", "A2C", "PPO", "TD3", "DDPG"]
    text = _told([make_curves(name, 0.5 + 0.1 * at, seed=at) for at, name in enumerate(names)], baseline="A2C")
    table = text[text.index("Single tasks") :]
    assert all(table.count(f" {name} ") == 4 for name in names)
    assert max(map(len, text.splitlines())) <= 80


def test_meta_seeds_are_told(make_curves):
    curves = [dataclasses.replace(make_curves(seeds=12), meta_seeds=3), make_curves("A2C", 0.6, seeds=12, seed=1)]
    text = _told(curves, baseline="A2C")
    assert "3 meta-seeds x 4" in text and " 12 seeds " in text
    words = re.sub(r"\s+", " ", text)
    assert "3 meta-seeds only: 95 % intervals hold the truth in 94 to 97 % of cases" in words
    assert "seeds a task only" not in words and max(map(len, text.splitlines())) <= 80
    assert "meta-seeds" not in _told(curves[1:])


def test_tasks_that_are_not_in_the_means_are_told(methods):
    curves = [dataclasses.replace(entry, headline=[True, True, False, False]) for entry in methods]
    text = re.sub(r"\s+", " ", _told(curves, baseline="A2C"))
    assert "Left out of the means over tasks: chain 10, CartPole-v1; they ask for exploration" in text
    assert "all normalised" not in text and text.count("chain 10") == 2  # there, and among the single tasks
    none = [dataclasses.replace(entry, headline=[False] * 4) for entry in methods]
    text = _told(none, baseline="A2C")
    assert "Interquartile" not in text and "Difference" not in text and "CartPole-v1  " in text


def test_tables_fit_eighty_columns(methods):
    long = [dataclasses.replace(entry, method=f"a rather long name of a method {entry.method}") for entry in methods]
    for curves in (methods, long):
        text = _told(curves, baseline=curves[1].method)
        assert max(len(line) for line in text.splitlines()) <= 80
        assert "…" not in text


def test_intervals_around_zero_are_not_marked(make_curves):
    text = _told([make_curves("LPG"), make_curves("A2C", seed=1)], baseline="A2C")
    assert "] *" not in _line(text, "held-out", "final")


def test_no_comparison_table_without_a_baseline(methods):
    assert "Difference" not in _told(methods)


def test_names_are_never_markup(methods):
    named = [dataclasses.replace(entry, tasks=["[red]a", "$x$ $", "[/]", "d"]) for entry in methods]
    text = _told(named, baseline="A2C")
    assert "[red]a" in text and "[/]" in text and "$x$ $" in text


def test_one_seed_is_said(make_curves):
    assert "One seed only" in _told([make_curves(seeds=1)])
    assert "One seed only" not in _told([make_curves(seeds=2)])


def test_many_tasks_are_left_to_the_file(make_curves):
    few = make_curves(bins=5)
    many = dataclasses.replace(
        few,
        tasks=[f"t{i}" for i in range(60)],
        returns=np.tile(few.returns[:1], (60, 1, 1)),
        diverged=np.tile(np.arange(5) == 4, (60, 4, 1)),
        reference=None,
        groups=None,
        headline=None,
    )
    text = re.sub(r"\s+", " ", _told([many]))
    assert "The 60 single tasks are in summary.csv." in text and "(240 of LPG in all)" in text


def test_nothing_is_written_for_methods_that_cannot_be_compared(methods, tmp_path):
    with pytest.raises(UserError, match="baseline"):
        report.write(tmp_path / "report", methods, baseline="PPO")
    assert not (tmp_path / "report").exists()


def test_diverged_agents_are_counted_in_the_table(methods):
    lost = np.zeros(methods[0].returns.shape, bool)
    lost[1, :3, 5:] = lost[3, 2, -1:] = True
    counted = [dataclasses.replace(methods[0], diverged=lost), methods[1]]
    text = _told(counted, baseline="A2C")
    table = text[text.index("Single tasks") :]
    assert _line(table, "sparse", "LPG").endswith(" 3 of 4")
    assert _line(table, "CartPole-v1", "LPG").endswith(" 1 of 4")
    assert _line(table, "dense", "LPG").endswith(" 0") and _line(table, "A2C").endswith(" 0")
    assert "(4 of LPG in all)" in re.sub(r"\s+", " ", text)
    rows = summary_table(counted, baseline="A2C", repetitions=100)
    told = {(row.kind, row.task or row.group, row.method): row.diverged for row in rows}
    assert told["task", "sparse", "LPG"] == told["group", "held-out grids", "LPG"] == 3
    assert told["task", "dense", "LPG"] == told["group", "all", "A2C"] == 0
    assert "Diverged" not in _told(methods)


@pytest.mark.parametrize(
    ("seeds", "says"), [(1, "One seed only"), (3, "in 77 to 95 % of cases"), (8, "84 to 97 %"), (10, "")]
)
def test_few_seeds_are_told_for_what_they_are(make_curves, seeds, says):
    text = re.sub(r"\s+", " ", _told([make_curves("LPG", seeds=seeds)]))
    assert says in text and ("seeds a task only" in text) == (1 < seeds < 10)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_numbers_are_whole_in_a_narrow_terminal(methods, encoding):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, errors="replace")
    console = Console(file=stream, width=40)
    rows = summary_table(methods, baseline="A2C", repetitions=100)
    report.print_tables(console, rows)
    stream.flush()
    text = raw.getvalue().decode(encoding)
    grids = next(row for row in rows if row.kind == "group" and row.group == "held-out grids")
    difference = next(row for row in rows if row.kind == "comparison" and row.group == "held-out grids")
    for whole in (
        f" {grids.final:.3f} ",
        f"[{grids.best_low:.3f}, {grids.best_high:.3f}]",
        f"{difference.final:+.3f} [{difference.final_low:+.3f}, {difference.final_high:+.3f}]",
    ):
        assert whole in text
    assert console.width == 40 and (encoding == "utf-8" or text.isascii())


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
