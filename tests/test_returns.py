import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.experience.returns import lambda_returns, running_square
from metaobj.common.types import Rollout

GAMMA, LAMBDA = 0.5, 0.25
REWARD = [1.0, 2.0, 4.0, 8.0]
VALUE = [10.0, 20.0, 30.0, 40.0]  # of the true successors


def returns(terminated=(), truncated=(), lambda_=LAMBDA):
    """Of one environment's four steps."""
    flags = [jnp.zeros((4, 1), bool).at[jnp.array(at, int)].set(True) for at in (terminated, truncated)]
    nothing = jnp.zeros((4, 1), int)
    rollout = Rollout(nothing, nothing, jnp.array(REWARD)[:, None], *flags, nothing)
    return lambda_returns(rollout, jnp.array(VALUE)[:, None], GAMMA, lambda_)[:, 0]


def test_one_episode_bootstraps_at_the_rollouts_end():
    g3 = 8 + 0.5 * 40
    g2 = 4 + 0.5 * (0.75 * 30 + 0.25 * g3)
    g1 = 2 + 0.5 * (0.75 * 20 + 0.25 * g2)
    g0 = 1 + 0.5 * (0.75 * 10 + 0.25 * g1)
    np.testing.assert_allclose(returns(), [g0, g1, g2, g3], rtol=1e-6)


def test_nothing_follows_a_termination():
    g0 = 1 + 0.5 * (0.75 * 10 + 0.25 * 2)
    np.testing.assert_allclose(returns(terminated=[1])[:2], [g0, 2.0], rtol=1e-6)
    np.testing.assert_array_equal(returns(terminated=[1])[2:], returns()[2:])
    assert returns(terminated=[3])[3] == 8


def test_a_truncation_bootstraps_from_the_true_last_observation():
    g1 = 2 + 0.5 * 20  # its own successor's value, and nothing of the steps that follow
    g0 = 1 + 0.5 * (0.75 * 10 + 0.25 * g1)
    np.testing.assert_allclose(returns(truncated=[1])[:2], [g0, g1], rtol=1e-6)
    np.testing.assert_array_equal(returns(truncated=[1])[2:], returns()[2:])
    np.testing.assert_array_equal(returns(truncated=[3]), returns())


@pytest.mark.parametrize(
    ("lambda_", "expected"),
    [
        (0.0, [1 + 5, 2 + 10, 4 + 15, 8 + 20]),
        (1.0, [1 + 1 + 1 + 1 + 2.5, 2 + 2 + 2 + 5, 4 + 4 + 10, 8 + 20]),
    ],
)
def test_one_step_and_monte_carlo(lambda_, expected):
    np.testing.assert_allclose(returns(lambda_=lambda_), expected, rtol=1e-6)


def test_environments_do_not_mix():
    terminated = jnp.array([[False, True], [False, False], [True, False]])
    reward = jnp.arange(6.0).reshape(3, 2)
    nothing = jnp.zeros((3, 2), int)
    rollout = Rollout(nothing, nothing, reward, terminated, jnp.zeros((3, 2), bool), nothing)
    both = lambda_returns(rollout, reward + 10, GAMMA, LAMBDA)
    for b in range(2):
        alone = Rollout(*(leaf[:, b : b + 1] for leaf in rollout))
        np.testing.assert_allclose(lambda_returns(alone, reward[:, b : b + 1] + 10, GAMMA, LAMBDA)[:, 0], both[:, b])


def test_a_running_square_rises_at_once_and_falls_slowly():
    square = jnp.zeros(())
    for values, expected in (([3.0, -4.0], 12.5), ([0.0, 0.0], 0.9 * 12.5), ([10.0, 0.0], 50.0), ([1.0, 1.0], 45.1)):
        square = running_square(square, jnp.array(values), 0.1)
        np.testing.assert_allclose(square, expected, rtol=1e-6)
