"""What a newcomer reads first: `metaobj --version`, `metaobj list`."""

import re

import pytest

from metaobj.common.command.cli import main
from metaobj.common.command.listing import joined
from metaobj.common.evaluation.suites import SUITES
from metaobj.common.lifetimes.distributions import ABOUT, DISTRIBUTIONS
from metaobj.common.objectives.plugin import plugins


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    out, err = capsys.readouterr()
    assert left.value.code == 0 and not err
    return out


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert re.fullmatch(r"metaobj [0-9]+\.[0-9]+\.[0-9]+\n", told(capsys, "--version"))


def test_everything_that_ships_has_a_line() -> None:
    others = ("tiny", "disco-study")  # of tests, of a study
    assert set(ABOUT) == {name for name in DISTRIBUTIONS if not name.startswith(others)}
    assert all(suite.about for suite in SUITES.values())
    for plugin in plugins().values():
        assert set(plugin.about) == {*plugin.presets, *plugin.distributions}


def test_a_list_of_all_ends_with_environments(capsys: pytest.CaptureFixture[str]) -> None:
    out = told(capsys, "list")
    heads = [line.partition(":")[0] for line in out.splitlines() if not line.startswith(" ")]
    kinds = dict.fromkeys(heads)
    assert list(kinds) == ["objectives", "presets", "pretrained objectives", "distributions", "suites", "environments"]
    assert out.index("CartPole-v1") < out.index("brax/ant,") < out.index("module:object")
    line = next(line for line in out.splitlines() if line.startswith("  control@1 "))
    assert line.split() == ["control@1", *SUITES["control"].about.split()]


def test_one_kind_is_told_more_closely(capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(told(capsys, "list", "suites").split())
    assert "CartPole-v1, Acrobot-v1, MountainCar-v0 (in no mean: asks for exploration) " in out
    assert "needs the extra craftax craftax/Craftax-Classic-Symbolic-v1 " in out
    assert "against A2C, PPO, DPO: 64 agents, 64 in tuning" in " ".join(told(capsys, "list", "objectives").split())


@pytest.mark.parametrize(
    ("what", "discrete", "continuous"),
    [
        ("environments", "CartPole-v1", "Pendulum-v1"),
        ("environments", "jumanji/Snake-v1", "brax/ant"),
        ("suites", "minatar@1", "held-out-physics@1"),
        ("distributions", "random-grids", "point-masses"),
        ("presets", "lpg-demo", "metagenrl-demo"),
        ("pretrained", "lpg-tabular", "metagenrl-demo"),
        ("objectives", "lpo ", "metagenrl "),
    ],
)
def test_filters(what: str, discrete: str, continuous: str, capsys: pytest.CaptureFixture[str]) -> None:
    for flag, there, gone in (("--discrete", discrete, continuous), ("--continuous", continuous, discrete)):
        out = told(capsys, "list", what, flag)
        assert there in out and gone not in out
    out = told(capsys, "list", what)
    assert discrete in out and continuous in out


def test_names_that_add_to_others_are_joined() -> None:
    assert joined(["a", "a/x", "a/y", "b", "c/d"]) == ["a (/x /y)", "b", "c/d"]
    assert joined(["a", "a/x", "b", "b/x"]) == ["a", "b", "each also with /x behind"]


@pytest.mark.parametrize("columns", [40, 80])
def test_lines_fit_and_no_word_is_broken(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = set(told(capsys, "list", "suites").split())
    monkeypatch.setenv("COLUMNS", str(columns))
    out = told(capsys, "list", "suites")
    head, *lines = out.splitlines()
    assert max(map(len, lines)) <= columns and words == set(out.split())
    assert not any(line != line.rstrip() for line in lines)
