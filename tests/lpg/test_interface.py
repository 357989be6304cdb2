"""A learned objective for agents of one's own: what `load` refuses, and that every way of loading gives the same."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import metaobj
from metaobj import lpg, metagenrl
from metaobj.common.errors import UserError
from metaobj.common.objectives import file
from metaobj.lpg.objective import LPG, LPGConfig
from metaobj.lpg.plugin import plugin

pytestmark = pytest.mark.usefixtures("quick_compilation")


@pytest.fixture
def parts() -> tuple[dict, dict]:
    arrays, metadata = file.load("pretrained:lpg-tabular")
    return file.unflatten(arrays), metadata


def test_a_bare_file_is_refused_in_one_line(parts: tuple[dict, dict], tmp_path: Path) -> None:
    file.save(tmp_path / "bare.safetensors", parts[0], {"kind": "lpg"})
    for load in (lpg.load, metaobj.load):
        with pytest.raises(UserError, match="bare.safetensors: its metadata lacks configuration, entries"):
            load(tmp_path / "bare.safetensors")


def test_arrays_of_other_shapes_are_refused_in_one_line(parts: tuple[dict, dict], tmp_path: Path) -> None:
    eta, metadata = parts
    file.save(tmp_path / "odd.safetensors", {**eta, "policy": jax.tree.map(lambda x: x[:1], eta["policy"])}, metadata)
    with pytest.raises(UserError, match="the shape of its array policy/kernel is"):
        lpg.load(tmp_path / "odd.safetensors")


def test_another_kind_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match="is an objective of kind metagenrl; one of kind lpg is needed"):
        lpg.load("pretrained:metagenrl-demo")
    with pytest.raises(UserError, match="is an objective of kind lpg; one of kind metagenrl is needed"):
        metagenrl.load("pretrained:lpg-tabular")


def test_an_objective_that_reads_values_is_given_them() -> None:
    """Before meta-training its policy targets are the advantages under those values."""
    objective = LPG(LPGConfig(units=4, prediction_size=3, value_inputs=True))
    loaded = lpg.LoadedLPG(objective, objective.init(jax.random.key(0)), 0.5, 0.0, {})
    T, B = 3, 2
    none, index = jnp.zeros((T, B), bool), jnp.zeros((T, B), int)
    rollout = metaobj.Rollout(index, index, jnp.ones((T, B)), none.at[1, 0].set(True), none, index)
    heads = {"policy": jnp.zeros((T, B, 2)), "prediction": jnp.zeros((T, B, 3))}
    values = jnp.full((T, B), 2.0), jnp.full((T, B), 4.0)
    pi_hat, _ = loaded.targets(heads, heads, rollout, values=values)
    expected = np.full((T, B), 1 + 0.5 * 4 - 2)
    expected[1, 0] = 1 - 2  # nothing follows a termination
    np.testing.assert_allclose(pi_hat, expected, rtol=1e-6)
    with pytest.raises(UserError, match="values: none given; this objective reads"):
        loaded.targets(heads, heads, rollout)


def test_variants_have_names_of_their_own() -> None:
    names = [plugin.name_of(plugin.build(plugin.presets[preset])) for preset in ("lpg-grids", "lpg-value")]
    assert names == ["LPG", "LPG+V"]


def test_the_front_loads_any_kind() -> None:
    assert isinstance(metaobj.load("pretrained:lpg-tabular"), lpg.LoadedLPG)
    assert isinstance(metaobj.load("pretrained:metagenrl-demo"), metagenrl.LoadedMetaGenRL)


@pytest.mark.slow
def test_a_loaded_loss_sends_a_policy_towards_rewarded_actions() -> None:
    """In windows in which the actions above the policy's were followed by high rewards."""
    objective = metaobj.load("pretrained:metagenrl-demo")
    T, W = 20, 32
    keys = jax.random.split(jax.random.key(0), 2)
    observation = jax.random.normal(keys[0], (T, W, 3))
    taken = jnp.clip(0.4 * jax.random.normal(keys[1], (T, W, 1)), -1.0, 1.0)
    none = jnp.zeros((T, W), bool)
    rollout = metaobj.Rollout(observation, taken, taken[..., 0], none, none, observation)
    params = {"kernel": jnp.zeros((3, 1)), "bias": jnp.zeros(1)}

    def apply(params, x):
        return jnp.tanh(x @ params["kernel"] + params["bias"])

    zeros = jnp.zeros((T, W))
    gradient = jax.jit(lambda p: objective.gradient(apply, p, rollout, zeros, zeros))(params)
    assert jax.tree.structure(gradient) == jax.tree.structure(params)
    assert gradient["bias"][0] < 0, "descending goes up"
    # What follows the first end of an episode does not count.
    ended = rollout._replace(terminated=none.at[9].set(True))
    garbage = ended._replace(reward=ended.reward.at[10:].set(1e3), action=ended.action.at[10:].set(-1.0))
    one, other = (objective.loss(apply(params, observation), r, zeros, zeros) for r in (ended, garbage))
    np.testing.assert_allclose(one, other, rtol=1e-6)
