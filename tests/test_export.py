"""An exported module says what the objective says, in NumPy and, where it is installed, in PyTorch.

All in float64, so that nothing but the formulas can differ.
"""

import ast
import importlib.util
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metaobj
from metaobj.common.agents.agent import AgentConfig
from metaobj.common.command.cli import main
from metaobj.common.command.exporting import module_name, write_module
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives import file
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Loaded, Plugin
from metaobj.lpg.objective import LPGConfig
from metaobj.lpg.plugin import plugin as LPG
from metaobj.lpo.objective import LPOConfig
from metaobj.lpo.plugin import plugin as LPO
from metaobj.metagenrl.objective import MetaGenRLConfig
from metaobj.metagenrl.plugin import plugin as METAGENRL

pytestmark = pytest.mark.usefixtures("float64")
T, B, A = 7, 5, 3
CLOSE = {"rtol": 1e-6, "atol": 1e-9}
LIBRARIES = ("numpy", "torch")


def random(plugin: Plugin[Any, Any], network: Any, preset: str = "smoke") -> Loaded[Any, Any]:
    """An objective with weights far from those of a fresh one."""
    config = replace(plugin.presets[preset], network=network)
    rule = plugin.build(config)
    leaves, structure = jax.tree.flatten(jax.eval_shape(rule.init, jax.random.key(0)))
    draw = np.random.default_rng(0).normal
    eta = jax.tree.unflatten(structure, [jnp.asarray(draw(0, 0.5, leaf.shape)) for leaf in leaves])
    entries = (Entry("chain/short", agent=AgentConfig("dense")), Entry("chain/long", agent=AgentConfig("conv")))
    return Loaded(plugin, rule, eta, config, entries, {}, (), {"digest": "0" * 64}, "random")


LPGS: dict[str, Callable[[], Loaded[Any, Any]]] = {
    **{name: partial(load_objective, f"pretrained:{name}") for name in file.pretrained_names() if "lpg" in name},
    "no bootstrap": lambda: random(LPG, LPGConfig(8, 4, 3, bootstrap=False)),
    "lifetime inputs": lambda: random(LPG, LPGConfig(8, 4, 3, lifetime_inputs=True)),
    "all inputs": lambda: random(LPG, LPGConfig(8, 4, 3, lifetime_inputs=True, value_inputs=True)),
}
LOSSES: dict[str, Callable[[], Loaded[Any, Any]]] = {
    "metagenrl-demo": partial(load_objective, "pretrained:metagenrl-demo"),
    "plain": lambda: random(METAGENRL, MetaGenRLConfig(units=6)),
    "no values": lambda: random(METAGENRL, MetaGenRLConfig(units=6, layers=2, use_values=False, product=True)),
    "no recurrence": lambda: random(METAGENRL, MetaGenRLConfig(units=6, layers=1, recurrent=False, td_error=True)),
}


class Module:
    """An exported module that is called with NumPy's arrays, whatever its library."""

    def __init__(self, loaded: Loaded[Any, Any], library: str, folder: Path):
        self.torch = pytest.importorskip("torch") if library == "torch" else None
        path, _ = write_module(loaded, library, folder / "exported.py")  # type: ignore[arg-type]
        self.text = path.read_text()
        self.module = imported(path)

    def given(self, value: Any) -> Any:
        return value if self.torch is None or not isinstance(value, np.ndarray) else self.torch.from_numpy(value.copy())

    def __call__(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        told = getattr(self.module, name)(*map(self.given, arguments), **keywords)
        return tuple(map(np.asarray, told)) if isinstance(told, tuple) else np.asarray(told)

    def gradient(self, name: str, arguments: tuple[Any, ...], of: tuple[int, ...], **keywords: Any) -> list[np.ndarray]:
        """By automatic differentiation of the mean."""
        given = [self.given(one) for one in arguments]
        for at in of:
            given[at].requires_grad_()
        getattr(self.module, name)(*given, **keywords).mean().backward()
        return [given[at].grad.numpy() for at in of]


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("exported", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def ends(draw: np.random.Generator, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Episodes that end and are cut inside, at the rollout's last step too."""
    terminated, truncated = draw.random((2, T, width)) < 0.2
    terminated[-1, 0], truncated[-1, 1], terminated[2, 2], truncated[3, 3] = True, True, True, True
    terminated[:, 4] = truncated[:, 4] = False
    return terminated, truncated & ~terminated


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", LPGS)
def test_lpg_says_the_same(name: str, library: str, tmp_path: Path) -> None:
    loaded = LPGS[name]()
    module = Module(loaded, library, tmp_path)
    config, interface = loaded.objective.config, loaded.plugin.interface(loaded)
    draw = np.random.default_rng(1)
    policy, next_policy = 2 * draw.normal(size=(2, T, B, A))
    prediction, next_prediction = 2 * draw.normal(size=(2, T, B, config.prediction_size))
    action, reward = draw.integers(0, A, (T, B)), 3 * draw.normal(size=(T, B))
    values, next_values = 2 * draw.normal(size=(2, T, B))
    terminated, truncated = ends(draw, B)
    # An observation is whether the step is the agent's own or follows it.
    steps = map(jnp.asarray, (action, reward, terminated, truncated))
    rollout = metaobj.Rollout(jnp.ones((T, B), bool), *steps, jnp.zeros((T, B), bool))
    heads = {"policy": jnp.asarray(policy), "prediction": jnp.asarray(prediction)}
    next_heads = {"policy": jnp.asarray(next_policy), "prediction": jnp.asarray(next_prediction)}
    told: dict[str, Any] = {"progress": 0.3, "lifetime_updates": 500.0} if config.lifetime_inputs else {}
    given = [policy, prediction, next_prediction, action, reward, terminated, truncated]
    known = dict(told)
    if config.value_inputs:
        given += [values, next_values]
        known["values"] = (jnp.asarray(values), jnp.asarray(next_values))

    @jax.jit
    def theirs(heads: Any, known: dict[str, Any]) -> tuple[Any, ...]:
        """Targets, and what an agent descends whose parameters are its logits."""

        def apply(params: Any, own: jax.Array) -> Any:
            return jax.tree.map(lambda here, there: jnp.where(own[..., None], here, there), params, next_heads)

        targets = interface.targets(heads, next_heads, rollout, **known)
        return targets, interface.gradient(apply, heads, rollout, kl_weight=0.3, **known)

    ours = module("targets", *given, **told)
    wanted, descent = theirs(heads, known)
    for one, other in zip(ours, wanted, strict=True):
        np.testing.assert_allclose(one, other, **CLOSE)
    if config.value_inputs:
        size = {"advantage_size": 0.7}
        again = module("targets", *given, **told, **size)
        assert np.abs(again[1] - ours[1]).max() > 1e-3
        for one, other in zip(again, theirs(heads, {**known, **size})[0], strict=True):
            np.testing.assert_allclose(one, other, **CLOSE)

    arguments = (policy, prediction, action, tuple(module.given(one) for one in ours))
    if library == "numpy":
        gradient = module("gradient", *arguments, kl_weight=0.3)
    else:
        gradient = module.gradient("loss", arguments, (0, 1), kl_weight=0.3)
    np.testing.assert_allclose(gradient[0], descent["policy"], **CLOSE)
    np.testing.assert_allclose(gradient[1], descent["prediction"], **CLOSE)
    # The loss itself: a step along an entry of its gradient changes it by as much.
    moved = policy.copy()
    moved[0, 0, 0] += 1e-5
    after, before = (module("loss", one, *arguments[1:], kl_weight=0.3) for one in (moved, policy))
    np.testing.assert_allclose((after - before) / 1e-5, gradient[0][0, 0, 0], rtol=1e-3, atol=1e-8)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_says_the_same(name: str, library: str, tmp_path: Path) -> None:
    loaded = LOSSES[name]()
    module = Module(loaded, library, tmp_path)
    interface = loaded.plugin.interface(loaded)
    draw = np.random.default_rng(2)
    actions, taken = np.tanh(draw.normal(size=(2, T, B, 2)))
    reward, (values, next_values) = 3 * draw.normal(size=(T, B)), 2 * draw.normal(size=(2, T, B))
    terminated, truncated = ends(draw, B)
    zeros = jnp.zeros((T, B))
    rollout = metaobj.Rollout(zeros, *map(jnp.asarray, (taken, reward, terminated, truncated)), zeros)
    wanted, descent = jax.jit(jax.value_and_grad(interface.loss))(
        jnp.asarray(actions), rollout, jnp.asarray(values), jnp.asarray(next_values)
    )
    arguments = (actions, taken, reward, terminated, truncated, values, next_values)
    if library == "numpy":
        ours, gradient = module("loss_and_gradient", *arguments)
    else:
        ours, (gradient,) = module("loss", *arguments), module.gradient("loss", arguments, (0,))
    assert np.abs(descent).max() > 0
    np.testing.assert_allclose(ours, wanted, **CLOSE)
    np.testing.assert_allclose(gradient, descent, rtol=1e-6, atol=1e-6 * float(np.abs(descent).max()))


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("around", ["nothing", "clip"])
def test_a_drift_says_the_same(around: str, library: str, tmp_path: Path) -> None:
    loaded = random(LPO, LPOConfig(units=8, around=around))  # type: ignore[arg-type]
    module = Module(loaded, library, tmp_path)
    interface = loaded.plugin.interface(loaded)
    log_ratio, advantage = 0.5 * np.random.default_rng(3).normal(size=(2, 4, 50))
    log_ratio[0, 0] = 0.0
    given = jnp.asarray(log_ratio), jnp.asarray(advantage)
    theirs = jax.jit(lambda x, a: (interface.drift(x, a), interface.loss(x, a)))
    slopes = jax.jit(jax.grad(lambda x, a: interface.loss(x, a).sum()))
    drift, loss = theirs(*given)
    assert (drift > 0).any() and (drift == 0).any()
    np.testing.assert_allclose(module("drift", log_ratio, advantage), drift, **CLOSE)
    np.testing.assert_allclose(module("loss", log_ratio, advantage), loss, **CLOSE)
    if library == "numpy":
        ours = module("slope", log_ratio, advantage)
    else:
        ours = module.gradient("loss", (log_ratio, advantage), (0,))[0] * log_ratio.size
    np.testing.assert_allclose(ours, slopes(*given), **CLOSE)


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("name", [n for n in file.pretrained_names() if n != "disco103"])
def test_a_module_stands_by_itself(name: str, library: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is read here and not run, so PyTorch need not be there."""
    path = tmp_path / "rule.py"
    with pytest.raises(SystemExit) as left:
        main(["export", f"pretrained:{name}", "--to", library, "--out", str(path)])
    assert left.value.code == 0 and capsys.readouterr().out.split() == [str(path), str(tmp_path / "rule.npz")]
    text = path.read_text()
    tree = ast.parse(text)
    used = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    used |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert used <= {"math", "pathlib", "numpy", library}
    assert all(f"# {word}" in text for word in (f"from:            pretrained:{name}", "licence:         Apache-2.0"))
    assert "import rule as objective" in text
    assert max(map(len, text.splitlines())) <= 120 and len(text.splitlines()) <= 160
    assert not any(mark in text for mark in ("#[", "xp.", "$"))
    with np.load(tmp_path / "rule.npz") as weights:
        kept = dict(weights)
    arrays, _ = file.load(f"pretrained:{name}")
    assert kept.keys() == arrays.keys()
    for array in arrays:
        np.testing.assert_array_equal(kept[array], arrays[array])


def test_no_word_of_a_file_is_run(tmp_path: Path) -> None:
    """A card may be a stranger's."""
    loaded = random(LPO, LPOConfig(units=2))
    evil = '"""\nimport os\n\r\nraise SystemExit\x0craise SystemExit\x00\u2028raise SystemExit'
    told = replace(
        loaded, metadata={"digest": evil, "card": {"title": evil, "licence": evil, "paper": evil}}, source=evil
    )
    path, _ = write_module(told, "numpy", tmp_path / "evil.py")
    head = path.read_bytes().decode().partition("\nfrom pathlib")[0]
    assert all(line.startswith("#") for line in head.rstrip("\n").split("\n"))
    imported(path)


def test_the_modules_name() -> None:
    names = {
        "pretrained:lpg-cpu": "lpg_cpu",
        "runs/mine": "mine",
        "runs/mine@200": "mine_200",
        "a/objective.safetensors": "objective",
        "runs/3": "objective_3",
        "class.safetensors": "objective_class",
        ".": "objective",
    }
    assert {name: module_name(name) for name in names} == names


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent in PyTorch that the how-to shows, as it stands there."""
    torch = pytest.importorskip("torch")
    page = (Path(__file__).parents[1] / "docs" / "how-to" / "export.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    write_module(load_objective("pretrained:lpg-value-cpu"), "torch", tmp_path / "lpg_value_cpu.py")
    monkeypatch.syspath_prepend(tmp_path)
    scope: dict[str, Any] = {}
    exec(block, scope)
    assert all(torch.isfinite(part).all() and part.grad.abs().max() > 0 for part in scope["agent"].parameters())
    assert all(part.grad is None for part in scope["critic"].parameters())
