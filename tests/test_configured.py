"""Settings, worlds and tasks from files: read as flags are, and told in one line where they do not fit."""

import json
from pathlib import Path
from typing import Any

import pytest

from metaobj.common.command.cli import main
from metaobj.common.configuration import overlaid
from metaobj.common.errors import UserError
from metaobj.common.evaluation.suites import groups_of, make_suite, versioned
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, CONTROL_DENSE, DENSE, Entry, make_distribution
from metaobj.common.objectives.plugin import get_plugin, plugins
from metaobj.common.objectives.train import Outcome


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The configurations that would have been trained, in a folder of one's own."""
    seen: list[Any] = []

    def train(plugin: Any, config: Any, *_: Any, **__: Any) -> Outcome:
        seen.append(config)
        return Outcome(True, 0, Path("x"))

    monkeypatch.setattr("metaobj.common.objectives.train.meta_train", train)
    monkeypatch.chdir(tmp_path)
    return seen


@pytest.mark.parametrize("kind", plugins())
def test_what_is_printed_is_read_back(
    kind: str, trained: list[Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, config in get_plugin(kind).presets.items():
        capsys.readouterr()
        assert run("train", kind, "--preset", name, "--print-config", "--seed", "7") == 0 and not trained
        Path("mine.toml").write_text(capsys.readouterr().out)
        assert run("train", kind, "--config", "mine.toml", "--seed", str(config.seed)) == 0
        assert trained.pop() == config


def test_a_file_changes_a_preset_and_flags_change_a_file(trained: list[Any]) -> None:
    lines = ('preset = "smoke"', "meta-updates = 30", "discount = 1", "kl_weights = [0.5]", "network.units = 7")
    text = "\n".join([*lines, "[value]", "scale_rewards = true"])
    Path("mine.toml").write_text(text)
    assert run("train", "lpg", "--config", "mine.toml", "--network.units", "9") == 0
    config = trained.pop()
    assert (config.meta_updates, config.log_every, config.distribution) == (30, 5, "small-mix")
    assert (config.network.units, config.network.prediction_size) == (9, 8)
    assert config.value.scale_rewards and config.kl_weights == (0.5,) and type(config.discount) is float
    assert run("train", "lpg", "--config", "mine.toml", "--preset", "lpg-demo", "--seed", "2") == 0
    config = trained.pop()
    assert (config.distribution, config.seed, config.network.units) == ("small-layouts", 2, 7)


def test_lengths_in_a_file_have_an_interval_that_suits(trained: list[Any]) -> None:
    Path("mine.toml").write_text("meta_updates = 7")
    assert run("train", "lpg", "--config", "mine.toml") == 0
    assert trained[-1].log_every == trained[-1].checkpoint_every == 7
    assert run("train", "lpg", "--config", "mine.toml", "--meta-updates", "40") == 0
    assert trained[-1].meta_updates == 40


def test_the_length_of_a_start_has_an_interval_that_suits_too(trained: list[Any]) -> None:
    """5000 updates of eta are no multiple of 3, 6 or 12; a start that is not asked for has no length."""
    assert run("train", "disco", "--preset", "disco-cpu", "--meta-updates", "12", "--run-dir", "x") == 0
    assert run("train", "disco", "--preset", "disco-demo", "--meta-updates", "12", "--run-dir", "x") == 0
    asked = ("--start", "muesli", "--start-updates", "30")
    assert run("train", "disco", "--preset", "disco-demo", "--meta-updates", "12", *asked, "--run-dir", "x") == 0
    assert run("train", "disco", "--preset", "disco-demo", *asked[:-1], "15", "--run-dir", "x") == 0  # of 200
    assert [config.log_every for config in trained] == [4, 6, 6, 5]


def test_the_configuration_of_a_run_is_a_file_too(trained: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    record = {"format_version": 1, "config": {"distribution": "tabular", "network": {"units": 5}}}
    Path("config.json").write_text(json.dumps(record))
    assert run("train", "lpg", "--config", "config.json") == 0
    assert trained[-1].distribution == "tabular" and trained[-1].network.units == 5
    Path("config.json").write_text("{")
    assert run("train", "lpg", "--config", "config.json") == 2
    assert "config.json: is not the configuration of a run" in capsys.readouterr().err


def test_a_module_is_imported_only_where_it_is_named(trained: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.toml").write_text('distribution = "small-mix+mine:world"')
    assert run("train", "lpg", "--config", "mine.toml") == 2 and not trained
    assert "mine.toml: names the Python module of 'small-mix+mine:world'" in capsys.readouterr().err
    assert run("train", "lpg", "--config", "mine.toml", "--distribution", "small-mix+mine:world") == 0
    assert run("train", "lpg", "--config", "mine.toml", "--distribution", "tabular") == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("seed = ", "mine.toml: is no TOML file (Invalid value (at end of document))"),
        ("sede = 3", "mine.toml: sede: is unknown; did you mean seed or schedule?"),
        ("network.unit = 3", "mine.toml: network.unit: is unknown; did you mean network.units?"),
        ("qqqq = 3", "mine.toml: qqqq: is unknown; choose from distribution, scale"),
        ("seed = true", "mine.toml: seed: True found; must be int"),
        ("network = 3", "mine.toml: network: 3 found; must be fields of LPGConfig"),
        ('schedule = "linear"', "mine.toml: schedule: 'linear' found; choose from 'constant', 'cosine'"),
        ("kl_weights = 0.5", "mine.toml: kl_weights: 0.5 found; must be a list"),
        ("learning_rate = nan", "mine.toml: learning_rate: nan given; must be a finite number"),
        ("log_every = 7", "mine.toml: log_every: 7 given; must divide meta_updates (400)"),
        ('preset = "huge"', "mine.toml: preset: 'huge' is unknown; choose from smoke"),
        ('distribution = "none.toml"', "none.toml: cannot be read: No such file"),
    ],
)
def test_what_does_not_fit_is_told(text: str, says: str, tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text(text)
    assert run("train", "lpg", "--config", "mine.toml", "--run-dir", "run") == 2
    err = capsys.readouterr().err
    assert says in err and err.count("\n") == 1 and not Path("run").exists()


WORLDS = """
[[entries]]
environment = "CartPole-v1"
lifetimes = 3
learning-rates = [1, 0.5]
agent.hidden = [8]

[[entries]]
environment = "Pendulum-v1/varied"
"""


def test_worlds_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "worlds.toml"
    path.write_text(WORLDS)
    first, second = make_distribution(str(path))
    agent = overlaid(DENSE, {"hidden": [8]})
    assert first == Entry("CartPole-v1", 3, 16, 250, (1.0, 0.5), agent)
    assert second.agent == ACTOR_CRITIC and second.lifetimes == 16
    assert [entry.lifetimes for entry in make_distribution(f"small-layouts+{path}", 2)] == [64, 6, 32]


def test_tasks_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "tasks.toml"
    path.write_text('[[entries]]\nenvironment = "CartPole-v1"\nupdates = 5\n[[entries]]\nenvironment = "chain/short"')
    first, second = make_suite(str(path))
    assert (first.updates, first.agent, first.split) == (5, CONTROL_DENSE, "held_out")
    assert second.split == "held_out" and second.updates == 1000
    assert groups_of(f"{path}+Acrobot-v1") == ["tasks", "tasks", "Acrobot-v1"]
    before = versioned(str(path))
    assert before.startswith("tasks@") and versioned(str(path)) == before
    path.write_text(path.read_text().replace("5", "6"))
    assert versioned(str(path)) != before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "entries: none found; must be one or more tables"),
        ("entries = 3", "entries: none found"),
        ("entries = [3]", "entry 1: environment: None found; must be an environment's name"),
        ("name = 3", "name: is unknown; a file of entries holds"),
        ("[[entries]]\nupdates = 3", "entry 1: environment: None found"),
        (
            '[[entries]]\nenvironment = "grid/dense"\nupdates = 0',
            "entry 1: grid/dense.updates: 0 given; must be",
        ),
        ('[[entries]]\nenvironment = "grid/dense"\nupdate = 3', "entry 1: update: is unknown; did you mean updates?"),
        (
            '[[entries]]\nenvironment = "grid/dense"\nagent.torso = "x"',
            "entry 1: agent.torso: 'x' found; choose from",
        ),
        ('[[entries]]\nenvironment = "grid/dens"', "is unknown; did you mean grid/dense"),
        (
            '[[entries]]\nenvironment = "mine:world"',
            "join an environment of your own with +, as in FILE.toml+",
        ),
    ],
)
def test_entries_that_do_not_fit_are_told(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "worlds.toml"
    path.write_text(text)
    for make in (make_distribution, make_suite):
        with pytest.raises(UserError) as caught:
            make(str(path))
        assert str(caught.value).startswith(f"{path}: ") and says in str(caught.value) and "\n" not in str(caught.value)


def test_a_distribution_is_of_the_training_part(tmp_path: Path) -> None:
    path = tmp_path / "worlds.toml"
    path.write_text('[[entries]]\nenvironment = "grid/dense"\nsplit = "held_out"')
    with pytest.raises(UserError, match="entry 1: split: 'held_out' found; must be training in a distribution"):
        make_distribution(str(path))
    assert make_suite(str(path))[0].split == "held_out"
