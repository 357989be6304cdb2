"""Surrogates that clip or drift: the conditions under which they improve (Kuba et al. 2022, Lu et al. 2022)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.rules.handwritten import clipped_surrogate, dpo_surrogate
from metaobj.lpo.objective import LPO, MARGIN, LPOConfig
from tests.lpo.cases import random_weights

pytestmark = pytest.mark.usefixtures("float64")


def learned(around, seed):
    """With random weights, made where the test runs: in 64 bits."""
    objective = LPO(LPOConfig(units=16, around=around))
    return lambda log_ratio, advantage: objective.surrogate(random_weights(objective, seed, 0.3), log_ratio, advantage)


RULES = {
    "PPO": clipped_surrogate,
    "DPO": dpo_surrogate,
    **{f"LPO around {around} {seed}": learned(around, seed) for around in ("nothing", "clip") for seed in (0, 1)},
}
LOG_RATIO, ADVANTAGE = (grid.ravel() for grid in np.meshgrid(np.linspace(-2, 2, 81), np.linspace(-3, 3, 61)))


def drift(rule, log_ratio, advantage):
    """f in -(r A - f)."""
    return rule(log_ratio, advantage) + jnp.exp(log_ratio) * advantage


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_a_drift_is_nowhere_negative_and_flat_where_policies_agree(rule):
    assert (drift(rule, jnp.asarray(LOG_RATIO), jnp.asarray(ADVANTAGE)) >= -1e-12).all()
    here = jnp.zeros(61)
    advantage = jnp.linspace(-3, 3, 61)
    np.testing.assert_allclose(drift(rule, here, advantage), 0.0, atol=1e-12)
    slope = jax.vmap(jax.grad(lambda x, a: drift(rule, x, a)))(here, advantage)
    np.testing.assert_allclose(slope, 0.0, atol=1e-12)


def test_dpo_by_hand():
    """r = e, A = 1.5: f = 1.5 (e - 1) - 2 tanh(1.5 (e - 1) / 2); r = 1 / e, A = -1: f = 1 - 0.6 tanh(1 / 0.6)."""
    good, bad = 1.5 * (np.e - 1), 1.0
    wanted = [good - 2 * np.tanh(good / 2) - 1.5 * np.e, bad - 0.6 * np.tanh(bad / 0.6) + np.exp(-1)]
    found = dpo_surrogate(jnp.array([1.0, -1.0]), jnp.array([1.5, -1.0]))
    np.testing.assert_allclose(found, wanted, rtol=1e-10)


def test_dpo_is_cautiously_optimistic_and_rolls_back():
    """The two features that its authors name. Good actions are made likelier ever more slowly, and never less likely;
    bad ones that have become too unlikely are made likelier again.
    """
    slope = jax.vmap(jax.grad(lambda x, a: -dpo_surrogate(x, a)))
    ratios = jnp.linspace(0.0, 2.0, 41)
    good = slope(ratios, jnp.ones(41))
    assert (good > 0).all() and (np.diff(good / jnp.exp(ratios)) < 0).all()
    bad = slope(-ratios, -jnp.ones(41))
    np.testing.assert_allclose(bad[0], -1.0)
    assert bad[-1] > 0 > bad[10]


def test_lpo_by_hand():
    """One unit that reads (1 - r) A with weight 2 and log r with weight -1, at r = 0.5 and 2 with A = 3."""
    objective = LPO(LPOConfig(units=1))
    weights = {"hidden": jnp.zeros((8, 1)).at[4, 0].set(2.0).at[2, 0].set(-1.0), "output": jnp.array([0.7])}
    log_ratio = jnp.log(jnp.array([0.5, 2.0]))
    wanted = [0.7 * np.tanh(2 * 0.5 * 3 + np.log(2)) - MARGIN, 0.0]
    np.testing.assert_allclose(objective.drift(weights, log_ratio, jnp.array([3.0, 3.0])), wanted, rtol=1e-10)


def test_a_fresh_lpo_is_the_policy_gradient_or_ppo():
    log_ratio, advantage = jnp.asarray(LOG_RATIO), jnp.asarray(ADVANTAGE)
    for around, rule in (("nothing", lambda x, a: -jnp.exp(x) * a), ("clip", clipped_surrogate)):
        objective = LPO(LPOConfig(units=4, around=around))
        found = objective.surrogate(objective.init(jax.random.key(0)), log_ratio, advantage)
        np.testing.assert_allclose(found, rule(log_ratio, advantage), atol=1.01 * MARGIN)


def test_a_random_lpo_drifts_somewhere():
    """What holds at r = 1 holds not because there is no drift at all."""
    for name, rule in RULES.items():
        assert (drift(rule, jnp.asarray(LOG_RATIO), jnp.asarray(ADVANTAGE)) > 0.01).mean() > 0.2, name
