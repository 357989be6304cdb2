"""The gradient through adaptation in float64: against finite differences, and against closed forms."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from experiments.few_shot.maml import Experience, Learner, NormalPolicy, adapt, linear_baseline, meta_loss, surrogate
from experiments.few_shot.plane import Plane

pytestmark = pytest.mark.usefixtures("float64")
RATE = 0.7


class Bandit:
    """A softmax over arms."""

    def log_probability(self, params, observation, action):
        return jax.nn.log_softmax(params)[action]


class Tree:
    """Two steps with two actions each; the second step's state is the first action."""

    def log_probability(self, params, observation, action):
        return jax.nn.log_softmax(params)[observation, action]


def expected(probabilities, rewards):
    """Steps of one episode each that hold every arm as often as it is drawn on average."""
    counts = np.rint(8 * probabilities).astype(int)
    np.testing.assert_allclose(counts / 8, probabilities)
    action = np.repeat(np.arange(4), counts)[None]
    return Experience(np.zeros((1, 8)), action, np.log(probabilities)[action], rewards[action], np.ones((1, 8), bool))


BANDIT = np.array([4.0, 2.0, 1.0, 1.0]) / 8
PAYS = np.array([0.3, 1.0, -0.5, 2.0])
PAYS_AFTER = np.array([1.0, -1.0, 0.5, 0.2])


def exact_meta_gradient(theta):
    """d J'(theta + RATE dJ/dtheta) / d theta, with J and J' in closed form."""

    def mean(params, pays):
        return jax.nn.softmax(params) @ pays

    return jax.jit(jax.grad(lambda t: mean(t + RATE * jax.grad(mean)(t, PAYS), PAYS_AFTER)))(theta)


@pytest.mark.parametrize("baseline", [0.0, 0.6])
@pytest.mark.parametrize("trace", [0.0, 0.5, 1.0])
def test_a_bandits_meta_gradient_is_that_in_closed_form(trace, baseline):
    theta = np.log(BANDIT)
    inner = expected(BANDIT, PAYS - baseline)

    def outer(theta):
        return jax.nn.softmax(adapt(Bandit(), theta, inner, RATE, trace)) @ PAYS_AFTER

    np.testing.assert_allclose(jax.jit(jax.grad(outer))(theta), exact_meta_gradient(theta), rtol=1e-10)


def test_the_naive_surrogates_is_not():
    theta = np.log(BANDIT)
    inner = expected(BANDIT, PAYS)

    def naive(theta):
        def loss(t):
            return -jnp.mean(Bandit().log_probability(t, None, inner.action) * inner.advantage)

        return jax.nn.softmax(theta - RATE * jax.grad(loss)(theta)) @ PAYS_AFTER

    # Its first step is right, what it says of that step's dependence is not.
    exact = exact_meta_gradient(theta)
    assert np.abs(jax.jit(jax.grad(naive))(theta) - exact).max() > 0.1 * np.abs(exact).max()


def test_the_meta_loss_has_the_gradient_in_closed_form():
    theta = np.log(BANDIT)
    inner = expected(BANDIT, PAYS)
    adapted = jax.nn.softmax(jax.jit(lambda t: adapt(Bandit(), t, inner, RATE, 0.0))(theta))
    # All arms equally often, and weighed by how likely they are.
    adapted = np.asarray(adapted)[None]
    after = Experience(
        np.zeros((1, 4)), np.arange(4)[None], np.log(adapted), 4 * adapted * PAYS_AFTER, np.ones((1, 4), bool)
    )
    found = jax.jit(jax.grad(lambda t: meta_loss(Bandit(), t, (inner,), after, RATE, 0.0)))(theta)
    np.testing.assert_allclose(-found, exact_meta_gradient(theta), rtol=1e-10)


def tree_experience(params, pays, later):
    """Every way through the tree, as often as it is gone on average."""
    pi = np.exp(params)
    columns = []
    for a, b in product(range(2), repeat=2):
        times = round(16 * pi[0, a] * pi[1 + a, b])
        assert times == pytest.approx(16 * pi[0, a] * pi[1 + a, b])
        columns += [((0, a + 1), (a, b), (pays[a] + later[a, b], later[a, b]))] * times
    observation, action, to_go = (np.array([c[i] for c in columns]).T for i in range(3))
    return Experience(observation, action, params[observation, action], to_go, np.ones(action.shape, bool))


@pytest.mark.parametrize(("trace", "right"), [(1.0, True), (0.0, False)])
def test_over_several_steps_the_whole_trace_is_exact(trace, right):
    params = np.log([[0.25, 0.75], [0.5, 0.5], [0.25, 0.75]])
    pays, later = np.array([0.2, -0.3]), np.array([[1.0, -0.5], [0.4, 0.8]])

    def mean(params):
        pi = jax.nn.softmax(params)
        return pi[0] @ (pays + jnp.sum(pi[1:] * later, -1)) / 2  # per step

    seen = tree_experience(params, pays, later)

    @jax.jit
    def both(params):
        functions = (lambda p: adapt(Tree(), p, seen, RATE, trace)), (lambda p: p + RATE * jax.grad(mean)(p))
        return [(f(params), jax.jacrev(f)(params)) for f in functions]

    (after, derivative), (exact, exact_derivative) = both(params)
    np.testing.assert_allclose(after, exact, rtol=1e-10)
    assert np.allclose(derivative, exact_derivative, rtol=1e-9, atol=1e-12) == right


LEARNER = Learner(Plane(near=0.1), NormalPolicy((5,)), inner_steps=2, episodes=4, horizon=7, inner_rate=0.3)
GOAL = jnp.array([0.15, -0.1])
"""So near that some episodes end."""


@pytest.fixture(scope="module")
def lived(float64):
    params = jax.tree.map(lambda p: p.astype(float), jax.jit(LEARNER.init)(jax.random.key(0)))
    return params, jax.jit(LEARNER.live)(params, jax.random.key(1), GOAL, [0.3, 0.3])[0]


@pytest.mark.parametrize("trace", [0.0, 0.9])
def test_adapting_has_the_derivative_of_finite_differences(lived, trace):
    """The trajectories are fixed, and the whole map from parameters to adapted ones is differentiated."""
    params, (first, *_) = lived
    flat, back = ravel_pytree(params)
    direction = jax.random.normal(jax.random.key(2), flat.shape)
    cotangent = jax.random.normal(jax.random.key(3), flat.shape)

    @jax.jit
    def adapted(x):
        return ravel_pytree(adapt(LEARNER.policy, back(x), first, 0.3, trace))[0] @ cotangent

    step = 1e-5
    differences = (adapted(flat + step * direction) - adapted(flat - step * direction)) / (2 * step)
    np.testing.assert_allclose(jax.grad(adapted)(flat) @ direction, differences, rtol=1e-7)
    # The derivative of adapting differs from the identity: the second order is there.
    assert abs(differences - cotangent @ direction) > 1e-3


def test_the_meta_gradient_is_that_of_finite_differences(lived):
    params, (*inner, after) = lived
    flat, back = ravel_pytree(params)
    direction = jax.random.normal(jax.random.key(4), flat.shape)

    @jax.jit
    def loss(x):
        return meta_loss(LEARNER.policy, back(x), tuple(inner), after, 0.3, 0.5)

    step = 1e-5
    differences = (loss(flat + step * direction) - loss(flat - step * direction)) / (2 * step)
    np.testing.assert_allclose(jax.grad(loss)(flat) @ direction, differences, rtol=1e-6)


def test_the_first_derivative_is_the_policy_gradient(lived):
    params, (seen, *_) = lived
    policy = LEARNER.policy

    def plain(p):
        log_p = policy.log_probability(p, seen.observation, seen.action)
        return -jnp.sum(jnp.where(seen.valid, log_p * seen.advantage, 0.0)) / jnp.sum(seen.valid)

    def ours(p):
        return surrogate(policy.log_probability(p, seen.observation, seen.action), seen, 0.8)

    flat, expected_flat = (ravel_pytree(jax.jit(jax.grad(f))(params))[0] for f in (ours, plain))
    np.testing.assert_allclose(flat, expected_flat, rtol=1e-9, atol=1e-12)


def test_the_plane_by_hand():
    plane, goal = Plane(), jnp.array([0.2, -0.05])
    _, state = plane.reset(jax.random.key(0), goal)
    seen = []
    for action in ((3.0, -0.25), (0.5, -0.25), (0.495, 0.0)):
        state, _, reward, terminated, truncated, _ = plane.step(jax.random.key(0), state, jnp.array(action), goal)
        seen.append((*np.asarray(state).tolist(), float(reward), bool(terminated)))
        assert not truncated
    np.testing.assert_allclose(
        np.array(seen),
        [
            (0.1, -0.025, -np.hypot(0.1, 0.025), 0),
            (0.15, -0.05, -0.05, 0),
            (0.1995, -0.05, -0.0005, 1),
        ],
        atol=1e-12,
    )


def test_the_baseline_foretells_what_is_linear_in_its_features():
    observation = jax.random.normal(jax.random.key(0), (30, 10, 2))
    time = jnp.arange(30)[:, None] / 30
    returns = 2.0 + observation[..., 0] - 0.5 * observation[..., 1] ** 2 + time**3
    valid = jnp.ones((30, 10), bool).at[20:, 3].set(False)
    told = jax.jit(linear_baseline)(observation, jnp.where(valid, returns, 100.0), valid)
    np.testing.assert_allclose(told, returns, atol=1e-2)


def test_returns_end_with_the_episode(lived):
    params, _ = lived
    seen, returns = jax.jit(LEARNER.sample)(params, jax.random.key(5), GOAL)
    assert not seen.valid.all()
    left = jnp.linalg.norm(seen.observation + 0.1 * jnp.clip(seen.action, -1, 1) - GOAL, axis=-1)  # [T, B]
    np.testing.assert_allclose(returns, -jnp.where(seen.valid, left, 0.0).sum(0), rtol=1e-9)
