"""Evolution strategies over pairs of lifetimes: slopes that are known, pairs that stay alike, whole lives."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from metaobj.common.errors import UserError
from metaobj.common.experience.rollout import Acted, Episodes
from metaobj.common.lifetimes.population import Family
from metaobj.common.meta.adams import first_adams
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.evolution import es_gradient, perturbations
from metaobj.common.objectives.train import make_trainer
from metaobj.lpg.config import PRESETS
from metaobj.lpg.plugin import plugin
from metaobj.metagenrl import config as metagenrl
from metaobj.metagenrl.plugin import plugin as metagenrl_plugin

pytestmark = pytest.mark.usefixtures("float64")
SIGMA, CURVE = 0.01, jnp.array([1.0, 2.0, 3.0])


@struct.dataclass
class Life:
    key: jax.Array
    updates: jax.Array
    grown: jax.Array  # [] what earlier weights have come to
    scar: jax.Array  # [] what of the agent does not show in what it earns

    @property
    def own(self):
        return self.grown, self.scar


@dataclass(frozen=True)
class Bowl:
    """What is earned: minus a quadratic of the weights, plus what the last update's weights have grown to."""

    memory: float = 0.0

    def update(self, rule: Any, weights: Any, life: Life) -> Any:
        earned = -0.5 * jnp.sum(CURVE * weights["w"] ** 2) + self.memory * life.grown
        none = jnp.zeros(())
        after = life.replace(key=jax.random.split(life.key)[0], updates=life.updates + 1, grown=jnp.sum(weights["w"]))
        return after, {}, Acted(earned, Episodes(none, none))


def population(pairs: int) -> Life:
    keys = jnp.repeat(jax.random.split(jax.random.key(0), pairs), 2)
    return Life(keys, jnp.zeros(2 * pairs, jnp.int32), *jnp.zeros((2, 2 * pairs)))


def estimate(pairs: int, config: MetaTrainingConfig, program: Bowl, steps: int = 1) -> tuple[np.ndarray, ...]:
    """Mean gradients of so many steps, [steps, 3]."""
    family = Family(program, (0,), (), np.array([9]), np.zeros(2 * pairs, int))
    eta = {"w": jnp.array([0.5, -1.0, 0.25])}
    lives, met, found = population(pairs), perturbations(eta, 2 * pairs), []
    live = jax.jit(partial(es_gradient, None, family, config, eta))
    for _ in range(steps):
        total, lives, met, _, metrics = live(lives, met)
        assert metrics["finite"].all()
        found.append(np.asarray(total["w"]) / (2 * pairs))
    return np.array(found), lives, met


CONFIG = MetaTrainingConfig(
    inner_updates=1, lifetime_gradient_clip=0.0, estimator="antithetic-es", es_sigma=SIGMA, chunk=2000
)


def test_it_is_the_gradient_of_a_quadratic():
    """Within what so many pairs can tell: the estimate's noise is about the gradient's norm over their root."""
    pairs = 4000
    slope = np.asarray(CURVE) * [0.5, -1.0, 0.25]
    found = estimate(pairs, CONFIG, Bowl())[0][0]
    np.testing.assert_allclose(found, slope, atol=5 * np.linalg.norm(slope) * np.sqrt(2 / pairs))


def test_chunks_do_not_matter():
    whole = estimate(12, CONFIG, Bowl())[0]
    parts = estimate(12, replace(CONFIG, chunk=6), Bowl())[0]
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


@pytest.mark.parametrize("kind", ["antithetic-es", "persistent-es"])
def test_only_the_persistent_one_sees_what_comes_later(kind):
    """In the second step is earned what the first one's weights have grown to: all ones, times 2."""
    pairs = 6000
    slope = np.asarray(CURVE) * [0.5, -1.0, 0.25]
    later = -2.0 * np.ones(3) if kind == "persistent-es" else np.zeros(3)
    found = estimate(pairs, replace(CONFIG, estimator=kind), Bowl(memory=2.0), 2)[0]
    noise = 5 * np.linalg.norm(slope - 2.0) * np.sqrt(4 / pairs)
    np.testing.assert_allclose(found[0], slope, atol=noise)
    np.testing.assert_allclose(found[1], slope + later, atol=noise)


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["grown", "scar"])
def test_a_pair_that_is_not_finite_is_left_out_whole(lost):
    """Whether what it earns shows it or not."""
    family = Family(Bowl(memory=1.0), (0,), (), np.array([9]), np.zeros(6, int))
    lives = population(3)
    lives = lives.replace(**{lost: getattr(lives, lost).at[3].set(jnp.nan)})
    eta = {"w": jnp.ones(3)}
    total, _, _, _, metrics = es_gradient(None, family, CONFIG, eta, lives, perturbations(eta, 6))
    np.testing.assert_array_equal(metrics["finite"], [True, True, False, False, True, True])
    assert np.isfinite(total["w"]).all()


@pytest.mark.slow
def test_each_pair_may_have_an_adam_of_its_own():
    """Its first step is 1 in each weight, whatever the pair's estimate."""
    family = Family(Bowl(), (0,), (), np.array([9]), np.zeros(6, int))
    lives, eta = population(3), {"w": jnp.ones(3)}
    lives = lives.replace(scar=lives.scar.at[3].set(jnp.nan))
    given = (None, family, CONFIG, eta, lives, perturbations(eta, 6))
    total, _, _, adams, _ = es_gradient(*given, first_adams(eta, 3))
    np.testing.assert_array_equal(adams.count, [1, 0, 1])
    first = np.asarray(adams.mu["w"]) / 0.1  # the estimates
    np.testing.assert_allclose(2 * first.sum(0), es_gradient(*given)[0]["w"], rtol=1e-12)
    np.testing.assert_allclose(total["w"], 2 * np.sign(first).sum(0), atol=1e-6)


SMOKE = replace(PRESETS["smoke"], distribution="small-layouts", inner_updates=2, life=0.04, log_every=5)


@pytest.mark.slow
def test_pairs_of_lifetimes_begin_alike_and_stay_in_one_world():
    """Through ends and new beginnings; what they do differs."""
    trainer = make_trainer(plugin, replace(SMOKE, estimator="persistent-es", es_sigma=0.3), devices=1)
    state = trainer.init()
    assert trainer.steps_per_update == 32 * 2 * 20 * 16
    first = jax.tree.map(jnp.copy, state.populations[0])  # a chunk takes the state's memory
    state, metrics = trainer.run_chunk(state)
    assert metrics["ended"].sum() >= 32 and (metrics["not_finite"] == 0).all()
    for lives in (first, state.populations[0]):
        for name in ("environment_params", "hyperparameters", "length", "updates", "setting"):
            for leaf in jax.tree.leaves(getattr(lives, name)):
                np.testing.assert_array_equal(leaf[::2], leaf[1::2])
        np.testing.assert_array_equal(jax.random.key_data(lives.key)[::2], jax.random.key_data(lives.key)[1::2])
    met = jax.tree.leaves(state.met)
    aged = np.asarray(state.populations[0].updates) > 0
    for leaf in met:
        np.testing.assert_allclose(leaf[::2], -leaf[1::2], rtol=1e-6)
        assert (leaf[~aged] == 0).all() and (leaf[aged] != 0).any()


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"estimator": "guess"}, "estimator: 'guess' given; choose from backprop, antithetic-es, persistent-es"),
        ({"es_sigma": 0.0}, "es_sigma: 0.0 given; must be"),
        (
            {"estimator": "antithetic-es", "mix": 0.5},
            r"must be backprop where Mixed\(decay=0.5\) judges",
        ),
    ],
)
def test_bad_configurations_are_told(changes, says):
    with pytest.raises(UserError, match=says):
        replace(SMOKE, **changes)


@pytest.mark.slow
def test_agents_of_any_kind_are_paired():
    """Those that learn from a replay too; traced only. Their critics' warm start is not for them."""
    config = replace(metagenrl.PRESETS["smoke"], estimator="persistent-es")
    trainer = make_trainer(metagenrl_plugin, config, devices=1)
    before = jax.eval_shape(trainer.first, jax.random.key(0))
    after, metrics = jax.eval_shape(trainer.step, before)
    assert jax.tree.map(lambda leaf: leaf.shape, after) == jax.tree.map(lambda leaf: leaf.shape, before)
    assert "reward" in metrics and len(after.met) == 2
    with pytest.raises(UserError, match="meta.warm_start: 300 given; must be 0 for persistent-es"):
        replace(metagenrl.PRESETS["metagenrl-demo"], estimator="persistent-es")


def test_an_odd_population_is_told(monkeypatch):
    from metaobj.common.lifetimes import distributions

    odd = (replace(distributions.DISTRIBUTIONS["small-layouts"][0], lifetimes=3),)
    monkeypatch.setitem(distributions.DISTRIBUTIONS, "odd", odd)
    with pytest.raises(UserError, match="grid/small_layouts.lifetimes: 3 given; must be even for persistent-es"):
        make_trainer(plugin, replace(SMOKE, distribution="odd", estimator="persistent-es"))
