"""What the README shows runs, as it stands there."""

import re
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest

from metaobj.common.lifetimes.distributions import make_distribution
from metaobj.common.lifetimes.population import make_families
from metaobj.common.objectives.plugin import plugins
from metaobj.common.objectives.train import meta_train
from metaobj.lpg.plugin import plugin

README = Path(__file__).parents[1] / "README.md"


def block_with(word: str, page: Path = README) -> str:
    found = [block for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL) if word in block]
    assert len(found) == 1
    return found[0]


def test_the_loaded_objective_updates_an_agent_of_ones_own():
    scope: dict = {}
    exec(block_with("metaobj.load"), scope)
    moved = jax.tree.leaves(scope["agent"])
    assert all(np.isfinite(leaf).all() for leaf in moved)
    assert any(np.abs(leaf).max() > 0 for leaf in moved)


def test_the_worlds_of_a_file_can_be_lived_in(tmp_path):
    (block,) = re.findall(r"```toml\n(.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "mine.toml").write_text(block)
    (entry,) = make_distribution(str(tmp_path / "mine.toml"))
    assert entry.agent.hidden == (64, 64)
    config = plugin.presets["smoke"]
    make_families([entry], plugin.programs(config, plugin.build(config)))


@pytest.mark.slow
def test_an_environment_of_ones_own_is_trained_on(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(block_with("class Corridor"))
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


@pytest.mark.parametrize("name", re.findall(r"^\| `([a-z-]+)` \|", README.read_text(), re.MULTILINE))
def test_the_presets_it_lists_exist(name):
    assert any(name in plugin.presets for plugin in plugins().values())


def _flags() -> list[str]:
    rows = re.search(r"\| flag \| what it changes \|\n\|---\|---\|\n((?:\|.*\n)+)", README.read_text())
    assert rows is not None
    return sorted(set(re.findall(r"--([a-z.-]+)", rows.group(1))))


@pytest.mark.parametrize("flag", _flags())
def test_the_flags_it_lists_are_settings(flag):
    level = plugin.presets["lpg-demo"]
    for name in flag.replace("-", "_").split("."):
        assert hasattr(level, name), f"--{flag}"
        level = getattr(level, name)
