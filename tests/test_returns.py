import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.experience.returns import lambda_returns, leaky_vtrace, running_square
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


def vtrace(log_ratio, leak, terminated=(), truncated=(), lambda_=LAMBDA):
    """Of one environment's four steps: targets and advantages."""
    flags = [jnp.zeros((4, 1), bool).at[jnp.array(at, int)].set(True) for at in (terminated, truncated)]
    nothing = jnp.zeros((4, 1), int)
    rollout = Rollout(nothing, nothing, jnp.array(REWARD)[:, None], *flags, nothing)
    given = (jnp.array(HERE)[:, None], jnp.array(VALUE)[:, None], jnp.asarray(log_ratio, jnp.float32)[:, None])
    found = leaky_vtrace(rollout, *given, GAMMA, lambda_, leak)
    return found.values[:, 0], found.advantages[:, 0]


HERE = [5.0, 10.0, 20.0, 30.0]  # of the states themselves: each but the first is its predecessor's successor


@pytest.mark.parametrize("ends", [{}, {"terminated": [1]}, {"truncated": [2]}, {"terminated": [3]}])
@pytest.mark.parametrize("leak", [0.0, 0.4, 1.0])
def test_on_policy_vtrace_is_the_lambda_return(ends, leak):
    values, advantages = vtrace(np.zeros(4), leak, **ends)
    np.testing.assert_allclose(values, returns(**ends), rtol=1e-6)
    np.testing.assert_allclose(advantages, returns(**ends) - np.array(HERE), rtol=1e-6)


@pytest.mark.parametrize("leak", [0.0, 0.3, 1.0])
def test_leaky_vtrace_by_hand(leak):
    """w = 3, 1/2, 1, 2; an episode ends after the second step."""
    w = np.array([3.0, 0.5, 1.0, 2.0])
    rho = leak * np.minimum(1, w) + (1 - leak) * w
    error = rho * (np.array(REWARD) + GAMMA * np.array([VALUE[0], 0, VALUE[2], VALUE[3]]) - HERE)
    beyond = np.array([error[0] + GAMMA * LAMBDA * rho[0] * error[1], error[1], 0.0, error[3]])
    beyond[2] = error[2] + GAMMA * LAMBDA * rho[2] * error[3]
    values, advantages = vtrace(np.log(w), leak, terminated=[1])
    np.testing.assert_allclose(values, HERE + beyond, rtol=1e-6)
    mixed = [GAMMA * LAMBDA * beyond[1], 0.0, GAMMA * LAMBDA * beyond[3], 0.0]
    np.testing.assert_allclose(advantages, error + rho * mixed, rtol=1e-6)


STATES, ACTIONS = 5, 2


def chain_of_states():
    """An MDP of five states, a behaviour and a target policy."""
    rng = np.random.default_rng(0)
    goes = rng.dirichlet(np.ones(STATES), (STATES, ACTIONS))  # [S, A, S]
    reward = rng.normal(size=(STATES, ACTIONS))
    mu, pi = rng.dirichlet(np.ones(ACTIONS), (2, STATES))
    return goes, reward, mu, pi


@pytest.mark.slow
@pytest.mark.parametrize("leak", [0.5, *(pytest.param(end, marks=pytest.mark.slow) for end in (0.0, 1.0))])
def test_leaky_vtrace_contracts_to_its_fixed_point(leak):
    """The value of a policy between the truncated one and the target, at the rate that is stated (Zahavy et al. 2020):
    expected one-step targets, v + sum_a mu rho (r + gamma v' - v), are iterated.
    """
    goes, reward, mu, pi = chain_of_states()
    gamma, ratio = 0.9, pi / mu
    state, action, after = (axis.ravel() for axis in np.meshgrid(*map(range, (STATES, ACTIONS, STATES)), indexing="ij"))
    none = jnp.zeros((1, state.size), bool)
    index = jnp.asarray(state)[None]
    rollout = Rollout(index, index, jnp.asarray(reward[state, action])[None], none, none, index)
    log_ratio = jnp.asarray(np.log(ratio[state, action]))[None]
    weight = mu[state, action] * goes[state, action, after]

    def operator(v):
        here, there = jnp.asarray(v[state])[None], jnp.asarray(v[after])[None]
        target = np.asarray(leaky_vtrace(rollout, here, there, log_ratio, gamma, 1.0, leak).values[0], float)
        return np.bincount(state, weight * target, STATES)

    rho = leak * np.minimum(1, ratio) + (1 - leak) * ratio
    towards = mu * rho / (mu * rho).sum(1, keepdims=True)
    moves = np.einsum("sa,sat->st", towards, goes)
    fixed = np.linalg.solve(np.eye(STATES) - gamma * moves, (towards * reward).sum(1))
    rate = 1 - (1 - gamma) * (mu * rho).sum(1).min()
    v, errors = np.zeros(STATES), []
    for _ in range(60):
        errors.append(np.abs(v - fixed).max())
        v = operator(v)
    assert all(after <= rate * before + 1e-4 for before, after in zip(errors, errors[1:], strict=False))
    assert errors[-1] < 0.05 * errors[0]
    if leak == 0:
        np.testing.assert_allclose(towards, pi)
