"""LPO meta-trained by evolution strategies, kept, evaluated and looked at; and what cannot be."""

import csv
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metaobj
from metaobj.common.command.cli import main
from metaobj.common.errors import UserError
from metaobj.common.evaluation.checks import check_steps
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, Entry
from metaobj.common.lifetimes.population import make_families
from metaobj.common.lifetimes.ppo import ppo_agents
from metaobj.common.meta.evolution import es_gradient, perturbations
from metaobj.common.objectives import file
from metaobj.common.objectives.contestants import find_contestants
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.train import make_trainer, meta_train
from metaobj.common.rules.handwritten import clipped_surrogate
from metaobj.common.rules.surrogate import Written
from metaobj.lpo.config import PRESETS
from metaobj.lpo.interface import load
from metaobj.lpo.objective import LPO, LPOConfig
from metaobj.lpo.plugin import plugin
from tests.cluster import end, start
from tests.lpo.cases import ENTRY, TINY, random_weights, saved

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    monkeypatch.setitem(plugin.distributions, "tiny-lpo", (ENTRY,))


@pytest.mark.slow
def test_meta_updates_change_the_drift():
    """As soon as agents that learn by other weights have come to act differently."""
    trainer = make_trainer(plugin, TINY, 1)
    (family,) = trainer.families
    setting = {"learning_rate": jnp.float32(0.02), "entropy_weight": jnp.float32(0.01)}
    keys = jnp.repeat(jax.random.split(jax.random.key(0), 2), 2)
    lives = jax.jit(jax.vmap(lambda key: family.start(key, key, setting, 12)))(keys)
    fresh = TINY.rule.init(jax.random.key(1))
    live = jax.jit(lambda lives, met: es_gradient(TINY.rule, family, TINY, fresh, lives, met))
    met = perturbations(fresh, 4)
    for _ in range(2):
        gradient, lives, met, _, metrics = live(lives, met)
    assert metrics["finite"].all() and (lives.updates == 2 * TINY.inner_updates).all()
    eta, _ = trainer._learn((gradient,), jnp.array([4]), fresh, trainer._first_optimiser(fresh))
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), eta, fresh)
    assert all(0 < change < 1 for change in jax.tree.leaves(moved)), moved


def test_it_is_kept(tmp_path):
    loaded = saved(tmp_path)
    assert loaded.objective == TINY.rule and loaded.config == TINY
    jax.tree.map(np.testing.assert_array_equal, loaded.eta, random_weights(TINY.rule))


def test_agents_of_ones_own_may_use_it(tmp_path):
    name = saved(tmp_path).source
    mine = metaobj.load(name)
    assert mine.objective == load(name).objective
    log_ratio, advantage = jnp.array([0.0, 0.3]), jnp.array([1.0, -1.0])
    drift = mine.drift(log_ratio, advantage)
    assert drift[0] == 0 and (drift >= 0).all()
    np.testing.assert_allclose(mine.loss(log_ratio, advantage), drift - jnp.exp(log_ratio) * advantage)


@pytest.mark.slow
def test_its_preset_is_compiled_as_the_command_does(tmp_path):
    """With less care, LLVM ended the process on processors with AVX-512."""
    lengths = [word for name in ("meta-updates", "log-every", "checkpoint-every") for word in (f"--{name}", "2")]
    command = ["-m", "metaobj", "train", "lpo", "--preset", "lpo-demo", *lengths, "--run-dir", str(tmp_path / "run")]
    ended = end(start(command, JAX_DISABLE_MOST_OPTIMIZATIONS="0", JAX_ENABLE_COMPILATION_CACHE="0"))
    assert ended.status == 0 and "done: " in ended.out, ended.err


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["persistent-es", "antithetic-es"])
def test_equal_seeds_give_equal_objectives_however_often_it_stops(estimator, tmp_path):
    config = replace(TINY, estimator=estimator)
    for name in ("whole", "again"):
        meta_train(plugin, config, tmp_path / name)
    whole = (tmp_path / "whole" / "objective.safetensors").read_bytes()
    assert whole == (tmp_path / "again" / "objective.safetensors").read_bytes()
    assert set(load_objective(tmp_path / "whole").settings[0]) == {"learning_rate", "entropy_weight"}
    newest = max((tmp_path / "whole" / "checkpoints").iterdir(), key=lambda path: path.name)
    for path in newest.rglob("*"):
        if path.is_file():
            path.write_bytes(b"")  # what a full disk leaves
    meta_train(plugin, config, tmp_path / "whole", resume=True)
    assert (tmp_path / "whole" / "objective.safetensors").read_bytes() == whole


def test_lives_are_as_long_as_others():
    """In training: an entry's updates are of so many steps, whatever PPO's are of."""
    config = replace(TINY, ppo=replace(TINY.ppo, horizon=60))
    (family,) = make_trainer(plugin, config, 1).families
    assert family.program.horizon == 60 and family.updates.tolist() == [12 * config.rollout_steps // 60]


def test_rivals_differ_in_the_drift_alone(tmp_path):
    """And have all else of its configuration, usual or not."""
    ppo = replace(PRESETS["lpo-demo"].ppo, horizon=100, epochs=2, lambda_=0.9)
    loaded = saved(tmp_path, replace(TINY, ppo=ppo, discount=0.9))
    suite = make_suite("CartPole-v1")
    field = find_contestants([loaded.source, "PPO", "DPO"], suite)
    methods = [one.methods[0] for one in field.contestants]
    check_steps(methods, suite)
    programs = [make_families(suite, method.programs)[0].program for method in methods]
    assert programs[0] == programs[1] == programs[2] and programs[0].discount == 0.9
    few = [method.few_settings(suite[0].agent) for method in methods[1:]]
    assert few[0] == few[1] and all(setting["entropy_weight"] == 0.01 for setting in few[0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["discrete", pytest.param("continuous", marks=pytest.mark.slow)])
def test_a_fresh_one_around_the_clip_is_ppo(kind):
    """An update by it changes an agent as PPO does, but for what lies within the margin; and other weights do not."""
    entry = ENTRY
    if kind == "continuous":
        entry = Entry("tests.worlds_continuous:LINE", 2, 4, 12, (1e-3,), ACTOR_CRITIC)
    (family,) = make_families([entry], ppo_agents(rollout_steps=20, discount=0.99, settings=TINY.ppo))
    setting = {"learning_rate": jnp.float32(3e-3), "entropy_weight": jnp.float32(0.01)}
    lifetime = jax.jit(family.start)(jax.random.key(0), jax.random.key(1), setting, 12)
    around = LPO(LPOConfig(units=8, around="clip"))
    fresh, other = around.init(jax.random.key(0)), random_weights(around)
    written = Written(clipped_surrogate)
    update = jax.jit(lambda rule, weights: family.program.update(rule, weights, lifetime)[0].params, static_argnums=0)
    ppo, lpo, odd = update(written, ()), update(around, fresh), update(around, other)
    near = max(jax.tree.leaves(jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), ppo, lpo)))
    far = max(jax.tree.leaves(jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), ppo, odd)))
    assert near < 1e-3 < 3e-3 < far


def test_it_is_looked_at(tmp_path):
    loaded = saved(tmp_path)
    found = plugin.inspect(loaded, tmp_path / "out")
    assert [path.name for path in found.files] == ["slopes.png", "slopes.csv"]
    assert (tmp_path / "out" / "slopes.png").stat().st_size > 10_000
    with found.files[1].open(newline="") as file:
        rows = list(csv.DictReader(file))
    here = [row for row in rows if abs(float(row["ratio"]) - 1) < 1e-6]
    assert len(here) == 40
    for row in here:  # the policy gradient's, at r = 1
        for name in ("LPO", "PPO", "DPO"):
            np.testing.assert_allclose(float(row[name]), float(row["advantage"]), atol=1e-4)
    assert "PPO 1.21" in found.verdict[0] and "PPO 0.79" in found.verdict[1]
    assert "DPO nowhere up to 1.50" in found.verdict[0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"estimator": "backprop"}, "estimator: 'backprop' given; choose from antithetic-es, persistent-es"),
        ({"estimator": "antithetic-es", "inner_updates": 1}, "inner_updates: 1 given; must be at least 2 for antithet"),
        ({"entropy_weights": ()}, "entropy_weights: nothing given"),
        ({"entropy_weights": (0.1, -1.0)}, "entropy_weights: 0.1 -1.0 given; must be one or more finite"),
    ],
)
def test_bad_configurations_are_told(changes, says):
    with pytest.raises(UserError, match=says):
        replace(TINY, **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"units": 0}, "network.units: 0 given; must be at least 1"),
        ({"clip": 0.0}, "network.clip: 0.0 given; must be greater than 0"),
        ({"around": "DPO"}, "network.around: 'DPO' given; choose from nothing, clip"),
    ],
)
def test_bad_networks_are_told(changes, says):
    with pytest.raises(UserError, match=says):
        LPOConfig(**changes)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train lpo --preset smoke --estimator backprop", "--estimator: 'backprop' given; choose from"),
        ("train lpo --preset smoke --distribution small-layouts", "agent.torso: tabular given; PPO's agents are dense"),
        ("train lpo --ppo.epochs 0", "ppo.epochs: 0 given; must be at least 1"),
        ("train lpo --ppo.discount 0.9", "--ppo.discount: is unknown; did you mean --discount"),
        ("distil", "OBJECTIVE: missing; give it first"),
        ("distil --units 3", "OBJECTIVE: missing; give it first"),
        ("distil nowhere", "nowhere: no such file"),
        ("distil pretrained:metagenrl-demo", "is of kind metagenrl; what can be distilled is of kind lpg, lpo"),
        ("distil random.safetensors --samples 3", "samples: 3 given; must be at least 10"),
        ("distil random.safetensors --units 3", "--units: is unknown"),
        ("distil random.safetensors --out random.safetensors", "is a file; give a folder"),
        ("distil pretrained:lpg-tabular --updates 7", "updates: 7 given; must be at least 10"),
        ("distil pretrained:lpg-tabular --updates 17", "updates: 17 given; must be a multiple of 10"),
        ("distil pretrained:lpg-tabular --distribution moon", "distribution: 'moon' is unknown"),
    ],
)
def test_the_command_tells_in_one_line(line, says, tmp_path, monkeypatch, capfd):
    saved(tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    assert ended.value.code == 2
    error = capfd.readouterr().err
    assert error.startswith("metaobj: ") and says in error and error.count("\n") == 1, error
    assert [path.name for path in tmp_path.iterdir()] == ["random.safetensors"]


@pytest.mark.slow
def test_the_command_distils(tmp_path, monkeypatch, capfd):
    saved(tmp_path)
    monkeypatch.chdir(tmp_path)
    load, read = file.load, []
    monkeypatch.setattr(file, "load", lambda *which: read.append(which) or load(*which))
    with pytest.raises(SystemExit) as ended:
        main(["distil", "random.safetensors", "--samples", "4000"])
    assert ended.value.code == 0
    told = capfd.readouterr().out
    assert "distilled/formula.json" in told and "DPO's form" in told and "\nf = " in told
    assert len(read) == 1
