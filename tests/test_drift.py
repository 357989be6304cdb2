"""Surrogates of rules that clip or drift: the conditions under which they improve (Kuba et al. 2022, Lu et al. 2022)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.rules.handwritten import clipped_surrogate, dpo_surrogate

pytestmark = pytest.mark.usefixtures("float64")
RULES = {"PPO": clipped_surrogate, "DPO": dpo_surrogate}
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


def test_dpo_never_pushes_back_good_actions_and_lets_bad_ones_fall_less_and_less():
    """The two features that its authors name: optimism that grows cautious, and no rollback but a slower pull."""
    slope = jax.vmap(jax.grad(lambda x, a: -dpo_surrogate(x, a)), (0, None))
    ratios = jnp.linspace(0.0, 2.0, 41)
    good = slope(ratios, 1.0)
    assert (good > 0).all() and (np.diff(good / jnp.exp(ratios)) < 0).all()
    bad = slope(-ratios, -1.0)
    assert bad[0] == -1 and (bad < bad[0] + 1.5).all()
