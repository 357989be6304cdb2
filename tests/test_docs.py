"""What the README and the pages of docs/ show runs, as it stands there: code, files, commands, names, links."""

import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from metaobj.common.command import options
from metaobj.common.command.arguments import parse, with_configuration
from metaobj.common.command.cli import main
from metaobj.common.command.demo import DemoArguments
from metaobj.common.lifetimes.distributions import make_distribution
from metaobj.common.lifetimes.population import make_families
from metaobj.common.objectives.plugin import get_plugin, plugins
from metaobj.common.objectives.train import meta_train
from metaobj.lpg.plugin import plugin
from tests.quick import quick_programs

TOP = Path(__file__).parents[1]
PAGES = {path.relative_to(TOP).as_posix(): path.read_text() for path in (TOP / "docs").rglob("*.md")}
PAGES = {name: text for name, text in PAGES.items() if not name.startswith("docs/results/")}
PAGES["README.md"] = (TOP / "README.md").read_text()
COMMANDED = sorted(PAGES.keys() - {"docs/cluster.md"})
"""Pages whose commands are tried here; those of many hosts are `test_processes.py`'s."""
RUN = {
    "docs/how-to/agent.md": 2,
    "docs/how-to/disco.md": 1,
    "docs/how-to/environment.md": 1,
    "docs/how-to/export.md": 1,
    "docs/how-to/objective.md": 1,
    "docs/how-to/python.md": 1,
}
"""How many blocks of Python a page has, all of which are run: below, in `disco/test_loop.py`, `test_export.py` and
`test_example.py`.
"""


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGES[page], re.DOTALL)


def commands() -> list[Any]:
    """Every line of a page that begins with the command, and follows its prompt."""
    lines = []
    for page in COMMANDED:
        for block in blocks(page, ""):
            joined = block.replace("\\\n", " ")
            shown = [line for line in joined.splitlines() if line.startswith("metaobj ")]
            # A kind that is not installed here is `test_example.py`'s.
            lines += [pytest.param(line, id=line[:60]) for line in shown if "weighted" not in line]
    return lines


def test_every_block_of_code_is_run() -> None:
    found = {page: len(blocks(page, "python")) for page in PAGES}
    assert {page: count for page, count in found.items() if count} == RUN


def test_the_loaded_objective_updates_an_agent_of_ones_own() -> None:
    scope: dict[str, Any] = {}
    exec(blocks("docs/how-to/agent.md", "python")[0], scope)
    moved = jax.tree.leaves(scope["agent"])
    assert all(np.isfinite(leaf).all() for leaf in moved)
    assert any(np.abs(leaf).max() > 0 for leaf in moved)


def test_an_agent_of_ones_own_lives_in_gymnasium(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    code = blocks("docs/how-to/agent.md", "python")[1]
    short = code.replace("UPDATES = 1000", "UPDATES = 10").replace("T, B = 20, 16", "T, B = 20, 4")
    assert short.count("UPDATES = 10\n") == 1
    scope: dict[str, Any] = {}
    with quick_programs(tmp_path_factory.mktemp("programs")):
        exec(short, scope)
    out = capsys.readouterr().out.splitlines()
    assert len(out) == 10 and out[-1].startswith("800 steps: episodes of ")
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(scope["params"]))


@pytest.mark.slow
def test_training_and_evaluation_from_python(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("docs/how-to/python.md", "python")
    scope: dict[str, Any] = {}
    exec(code, scope)
    assert scope["run"].finished
    out = capsys.readouterr().out
    assert re.search(r"^A2C \d\.\d\d \[", out, re.MULTILINE) and re.search(r"^LPG -?\d\.\d\d \[", out, re.MULTILINE)


def test_the_worlds_of_a_file_can_be_lived_in(tmp_path: Path) -> None:
    (block,) = blocks("docs/how-to/worlds.md", "toml")
    (tmp_path / "mine.toml").write_text(block)
    (entry,) = make_distribution(str(tmp_path / "mine.toml"))
    assert entry.agent.hidden == (64, 64)
    config = plugin.presets["smoke"]
    make_families([entry], plugin.programs(config, plugin.build(config)))


@pytest.mark.slow
def test_an_environment_of_ones_own_is_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = blocks("docs/how-to/environment.md", "python")
    (tmp_path / "mine.py").write_text(block)
    monkeypatch.syspath_prepend(tmp_path)
    config = replace(
        plugin.presets["smoke"],
        distribution="mine:corridor",
        meta_updates=2,
        log_every=2,
        checkpoint_every=2,
        rollout_steps=5,
        inner_updates=2,
    )
    outcome = meta_train(plugin, config, tmp_path / "run")
    assert outcome.finished
    assert outcome.objective.exists()


@pytest.mark.parametrize("line", commands())
def test_the_commands_have_the_flags_that_are_shown(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.toml").write_text("seed = 1\n")
    _, command, *rest = shlex.split(line.partition(" > ")[0], comments=True)
    rest = [word for word in rest if word != "..."]
    if command in ("train", "--version"):
        told = ["--print-config"] if command == "train" and "--print-config" not in rest else []
        with pytest.raises(SystemExit) as ended:
            main([command, *rest, *told])
        assert ended.value.code == 0, capsys.readouterr().err
    elif command == "matrix":
        kind = get_plugin(rest[0])
        with_configuration(options.MatrixArguments(), kind.presets[kind.default_preset], rest[1:], command)
    elif command == "distil":
        kind = get_plugin("lpo" if "drift" in rest[0] else "lpg")
        assert kind.distil is not None
        with_configuration(options.DistilArguments(), kind.distil.options, rest[1:], command)
    elif command == "demo":
        parse(DemoArguments, rest, command)
    elif command != "COMMAND":
        parse(getattr(options, f"{command.capitalize()}Arguments"), rest, command)


@pytest.mark.parametrize("name", re.findall(r"^\| `([a-z-]+)` \|", PAGES["docs/commands.md"], re.MULTILINE))
def test_the_presets_it_lists_exist(name: str) -> None:
    assert any(name in plugin.presets for plugin in plugins().values())


def _flags() -> list[str]:
    rows = re.search(r"\| flag \| what it changes \|\n\|---\|---\|\n((?:\|.*\n)+)", PAGES["docs/concepts.md"])
    assert rows is not None
    return sorted(set(re.findall(r"--([a-z.-]+)", rows.group(1))))


@pytest.mark.parametrize("flag", _flags())
def test_the_flags_it_lists_are_settings(flag: str) -> None:
    level = plugin.presets["lpg-demo"]
    for name in flag.replace("-", "_").split("."):
        assert hasattr(level, name), f"--{flag}"
        level = getattr(level, name)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_links_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)\s#]+)[^)\s]*\)", PAGES[page])
    lost = [to for to in targets if "://" not in to and not (TOP / page).parent.joinpath(to).exists()]
    assert not lost
