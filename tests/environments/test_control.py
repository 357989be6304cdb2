"""Continuous worlds: bounds, ends, physics that vary as data, and held-out physics that training cannot draw."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments.protocol import sample_params
from metaobj.common.environments.registry import make_environment
from metaobj.common.environments.scaled import ScaledActions
from metaobj.common.environments.varied import draw_factors, factor_spec
from metaobj.common.experience.rollout import Policy, reset, rollout

pytestmark = pytest.mark.usefixtures("quick_compilation")
NATIVE = ["control/point_mass", "control/cartpole_swingup"]


def act(environment, params, action: float, steps: int, batch: int = 4):
    size = environment.action_space.shape
    policy = Policy(lambda k, T, o: jnp.full((T, batch, *size), action), lambda o, noise: noise)
    worlds = reset(jax.random.key(0), environment, params, batch)
    return jax.jit(lambda key, worlds: rollout(key, environment, params, worlds, policy, steps)[1])(
        jax.random.key(1), worlds
    )


@pytest.mark.parametrize("name", [*NATIVE, "Pendulum-v1"])
def test_episodes_are_cut_at_the_limit_and_go_on_from_the_true_last_observation(name):
    environment, spec = make_environment(name)
    params = sample_params(environment, jax.random.key(0), spec)
    limit = environment.time_limit
    steps = act(ScaledActions(environment), params, 0.3, limit + 2)
    assert steps.truncated[limit - 1].all() and steps.truncated.sum() == 4 and not steps.terminated.any()
    goes_on = ~steps.truncated[:-1]
    np.testing.assert_array_equal(steps.next_observation[:-1][goes_on], steps.observation[1:][goes_on])
    assert jnp.abs(steps.next_observation[limit - 1] - steps.observation[limit]).max() > 1e-3
    assert (steps.reward <= 0).all() and jnp.isfinite(steps.observation).all()


def test_actions_are_scaled_to_the_bounds():
    environment, spec = make_environment("Pendulum-v1")
    params = sample_params(environment, jax.random.key(0), spec)
    _, state = environment.reset(jax.random.key(1), params)
    key = jax.random.key(2)
    for scaled, raw in ((-1.0, -2.0), (0.0, 0.0), (0.5, 1.0)):
        a = ScaledActions(environment).step(key, state, jnp.array([scaled]), params)[0]
        np.testing.assert_allclose(a, environment.step(key, state, jnp.array([raw]), params)[0], rtol=1e-6)


def test_a_point_mass_moves_by_newton_and_stops_at_a_wall():
    environment, spec = make_environment("control/point_mass")
    params = sample_params(environment, jax.random.key(0), spec)
    np.testing.assert_allclose((params.mass, params.drag), (1.0, 0.5))
    _, state = environment.reset(jax.random.key(1), params)
    state = state.replace(position=jnp.array([0.5, -1.99]), velocity=jnp.array([1.0, -1.0]))
    observation, *_ = environment.step(jax.random.key(2), state, jnp.array([1.0, 0.0]), params)
    velocity = 1.0 + 0.1 * (1.0 - 0.5 * 1.0)
    np.testing.assert_allclose(observation, [0.5 + 0.1 * velocity, -2.0, velocity, 0.0], rtol=1e-6)


def test_a_hanging_pole_stays_and_a_tilted_one_falls():
    environment, spec = make_environment("control/cartpole_swingup")
    params = sample_params(environment, jax.random.key(0), spec)
    _, state = environment.reset(jax.random.key(1), params)
    still = state.replace(cart=jnp.zeros(2), pole=jnp.array([jnp.pi, 0.0]))
    observation, _, reward, *_ = environment.step(jax.random.key(2), still, jnp.zeros(1), params)
    np.testing.assert_allclose(observation, [0, 0, -1, 0, 0], atol=1e-5)
    np.testing.assert_allclose(reward, -1.0, atol=1e-6)
    tilted = state.replace(cart=jnp.zeros(2), pole=jnp.array([0.1, 0.0]))
    _, after, reward, *_ = environment.step(jax.random.key(2), tilted, jnp.zeros(1), params)
    assert after.pole[0] > 0.1 and after.pole[1] > 0 and reward > -0.01


@pytest.mark.parametrize("name", ["Pendulum-v1/varied", "control/point_mass/varied", "control/cartpole_swingup/varied"])
def test_held_out_physics_cannot_be_drawn_in_training(name):
    environment, spec = make_environment(name, "training")
    again, held_out = make_environment(name, "held_out")
    assert environment == again, "what differs is data"
    plain = make_environment(name.removesuffix("/varied"))
    usual = jax.tree.leaves(sample_params(*plain[:1], jax.random.key(0), plain[1]))

    def factors(spec):
        keys = jax.random.split(jax.random.key(3), 200)
        drawn = jax.tree.leaves(jax.jit(jax.vmap(lambda k: sample_params(environment, k, spec)))(keys))
        ratios = np.stack([np.asarray(d) / u for d, u in zip(drawn, usual, strict=True) if np.ptp(d) > 0], 1)
        return np.exp(np.abs(np.log(ratios)))

    inner, outer = factors(spec), factors(held_out)
    assert inner.shape[1] >= 2 and inner.max() <= 1.3001 and inner.max() > 1.25
    assert outer.min() >= 1.2999 and outer.max() <= 1.6001


def test_factors_are_as_often_above_as_below_one():
    factors = draw_factors(jax.random.key(0), factor_spec(True, "any"), 4000)
    assert 0.47 < float((factors > 1).mean()) < 0.53 and float(factors.min()) >= 1 / 1.6001


@pytest.mark.slow
def test_brax_tells_ends_from_limits_and_varies_as_data():
    environment, spec = make_environment("brax/inverted_pendulum/varied", "training")
    params = sample_params(environment, jax.random.key(0), spec)
    steps = act(ScaledActions(environment), params, 0.5, 60, batch=2)
    assert steps.terminated.any() and not steps.truncated.any() and steps.observation.shape == (60, 2, 4)
    first_end = int(jnp.argmax(steps.terminated[:, 0]))
    assert jnp.abs(steps.next_observation[first_end, 0, 1]) > 0.2 > jnp.abs(steps.observation[first_end + 1, 0, 1])
    heavy = params.replace(gravity=params.gravity * 3)
    other = act(ScaledActions(environment), heavy, 0.5, 60, batch=2)
    assert jnp.abs(other.observation[5] - steps.observation[5]).max() > 1e-4
    _, state = environment.reset(jax.random.key(0), params)
    late = state.replace(time=jnp.int32(environment.time_limit - 1))
    *_, terminated, truncated, _ = environment.step(jax.random.key(1), late, jnp.zeros(1), params)
    assert truncated and not terminated
