"""A kind of objective that comes from elsewhere: the example's package, made known by its entry point alone."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.experience.batches import Batch
from metaobj.common.lifetimes.distributions import DISTRIBUTIONS, Entry
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Loaded, Plugin, get_plugin, kinds
from metaobj.common.types import Rollout
from tests.quick import quick_programs
from tests.test_cli import run

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "simple_objective"
KIND = "weighted-returns"
pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plugin[Any, Any]:
    """What pip would write of the example's `pyproject.toml`."""
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    folder = tmp_path / f"site/{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    ((group, entries),) = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (folder / "entry_points.txt").write_text("\n".join(lines) + "\n")
    assert KIND not in kinds()
    monkeypatch.syspath_prepend(folder.parent)
    monkeypatch.syspath_prepend(EXAMPLE)
    return get_plugin(KIND)


def test_its_entry_point_makes_it_known(installed: Plugin[Any, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert installed.kind == KIND in kinds()
    assert run("list", "objectives") == 0
    assert installed.summary.partition(":")[0] in capsys.readouterr().out


def test_its_targets(installed: Plugin[Any, Any]) -> None:
    """At first the mean of the advantages; then what its weights say of each step."""
    rule = installed.build(installed.presets["smoke"])
    T, B, number = 4, 2, len(rule.lambdas)
    none = jnp.zeros((T, B), bool)
    reward = jnp.arange(8.0).reshape(T, B)
    rollout = Rollout(none, jnp.zeros((T, B), int), reward, none.at[1, 0].set(True), none, none)
    batch = Batch.of(rollout, discount=jnp.asarray(0.9), hyperparameters={"learning_rate": jnp.asarray(1.0)})
    heads = {"policy": jnp.zeros((T, B, 4))}
    weights = rule.init(jax.random.key(0))
    targets = jax.jit(lambda weights: rule.targets(weights, heads, heads, batch)[0])
    pi_hat = targets(weights)
    np.testing.assert_allclose(pi_hat[-1], reward[-1], rtol=1e-6)  # nothing follows, whatever lambda is
    np.testing.assert_allclose(pi_hat[1, 0], reward[1, 0], rtol=1e-6)
    later = reward[3, 1] * 0.9
    expected = np.mean([reward[2, 1] + value * later for value in rule.lambdas])
    np.testing.assert_allclose(pi_hat[2, 1], expected, rtol=1e-6)
    by_probability = {"w": jnp.zeros_like(weights["w"]).at[1, number - 1].set(2.0)}
    np.testing.assert_allclose(targets(by_probability)[2, 1], 0.5 * (reward[2, 1] + later), rtol=1e-6)


def test_what_is_left_out_is_told(
    installed: Plugin[Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("demo", KIND, "--run-dir", str(tmp_path / "demo")) == 2
    assert f"{KIND}: is of kind {KIND}; what can be demonstrated is of kind" in capsys.readouterr().err
    assert run("train", KIND, "--rule.lambdas", "2") == 2
    assert "rule.lambdas: 2.0 given; must be one or more numbers from 0 to 1" in capsys.readouterr().err


def test_the_pages_plugin_is_one(installed: Plugin[Any, Any]) -> None:
    page = (ROOT / "docs" / "how-to" / "objective.md").read_text()
    scope: dict[str, Any] = {}
    exec(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], scope)
    config = scope["plugin"].presets["small"]
    assert scope["plugin"].rebuild(scope["plugin"].describe(config) | {"lambdas": [0.5]}).lambdas == (0.5,)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[None]:
    DISTRIBUTIONS["tiny-example"] = (Entry("grid/small_layouts", 1, 2, 4, (40.0,)),)
    with quick_programs(tmp_path / "programs"):
        yield
    del DISTRIBUTIONS["tiny-example"]


@pytest.mark.slow
def test_it_is_trained_and_evaluated(
    installed: Plugin[Any, Any], tiny: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    sizes = "--distribution tiny-example --meta-updates 4 --log-every 2 --checkpoint-every 4 --rollout-steps 5"
    assert run("train", KIND, "--preset", "smoke", "--run-dir", str(folder), *sizes.split()) == 0
    loaded = load_objective(folder)
    assert np.abs(loaded.eta["w"] - loaded.objective.init(jax.random.key(0))["w"]).max() > 1e-4
    assert isinstance(loaded.plugin.interface(loaded), Loaded)
    line = "--seeds 2 --tuning-seeds 1 --steps 2000 --suite grid/small_layouts --no-baselines --no-report"
    assert run("evaluate", str(folder), *line.split()) == 0
    assert "WeightedReturns" in capsys.readouterr().out
    for command in ("inspect", "export"):
        arguments = ["--to", "numpy"] if command == "export" else []
        assert run(command, str(folder), *arguments) == 2
        assert f"is of kind {KIND}; what can be {command}ed is of kind" in capsys.readouterr().err
