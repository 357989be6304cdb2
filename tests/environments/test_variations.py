"""Physics that vary: every factor that is offered acts, and each world has its own reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments.adapters.gymnax import RETURNS
from metaobj.common.environments.measured import uniform_action, uniform_returns
from metaobj.common.environments.protocol import reference_returns, sample_params
from metaobj.common.environments.registry import environment_names, make_environment

pytestmark = pytest.mark.usefixtures("quick_compilation")
VARIED = [name for name in environment_names() if name.endswith("/varied")]
NUMBER = {"control/point_mass/varied": 2, "control/cartpole_swingup/varied": 3}
NUMBER |= {"control/balance/varied": 4, "control/swing/varied": 4}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if "brax" in name else name for name in VARIED]
)
def test_every_factor_acts(name):
    """The same actions give other observations where one factor alone differs."""
    environment, spec = make_environment(name, "held_out")
    number = NUMBER.get(name) or len(environment.varied)
    whole = hasattr(spec, "factors")  # among other things that are drawn
    assert number > 0 and (spec.factors if whole else spec).shape == (2,)

    @jax.jit
    def observe(ranges):
        given = spec.replace(factors=ranges) if whole else ranges
        params = sample_params(environment, jax.random.key(0), given)

        def step(state, key):
            action = uniform_action(key, environment.action_space)
            observation, state, *_ = environment.step(key, state, action, params)
            return state, observation

        _, state = environment.reset(jax.random.key(2), params)
        return jax.lax.scan(step, state, jax.random.split(jax.random.key(3), 40))[1]

    plain = np.zeros((number, 2), np.float32)
    usual = observe(plain)
    for factor in range(number):
        ranges = plain.copy()
        ranges[factor] = np.log(1.4)
        assert float(jnp.max(jnp.abs(observe(ranges) - usual))) > 5e-3, f"factor {factor}"


def cartpole_by_hand(rng, g, cart, pole, half, force, episodes):
    """Mean steps of uniform actions on the cart-pole of Barto, Sutton & Anderson (1983), Euler steps of 0.02 s."""
    x, v, angle, spin = rng.uniform(-0.05, 0.05, (4, episodes))
    alive, total = np.ones(episodes, bool), np.zeros(episodes)
    for _ in range(500):
        total += alive
        f = np.where(rng.integers(2, size=episodes) == 1, force, -force)
        sine, cosine, mass = np.sin(angle), np.cos(angle), cart + pole
        temp = (f + pole * half * spin**2 * sine) / mass
        turn = (g * sine - cosine * temp) / (half * (4 / 3 - pole * cosine**2 / mass))
        x, v = x + 0.02 * v, v + 0.02 * (temp - pole * half * turn * cosine / mass)
        angle, spin = angle + 0.02 * spin, spin + 0.02 * turn
        alive &= (np.abs(x) <= 2.4) & (np.abs(angle) <= 12 * 2 * np.pi / 360)
        if not alive.any():
            break
    return total.mean()


def test_each_world_of_a_varied_cartpole_has_its_own_reference():
    environment, spec = make_environment("CartPole-v1/varied", "held_out")
    params = jax.vmap(lambda key: sample_params(environment, key, spec))(jax.random.split(jax.random.key(0), 6))
    random, optimal = reference_returns(environment, params)
    np.testing.assert_allclose(params.total_mass, params.masscart + params.masspole)
    np.testing.assert_allclose(params.polemass_length, params.masspole * params.length)
    names = ("gravity", "masscart", "masspole", "length", "force_mag")
    rng = np.random.default_rng(0)
    by_hand = [
        cartpole_by_hand(rng, *(float(getattr(params, name)[world]) for name in names), 4000) for world in range(6)
    ]
    np.testing.assert_allclose(random, by_hand, rtol=0.12)
    assert np.ptp(random) > 5 and (optimal == 500).all()


def test_a_linear_controller_reaches_the_best_return_in_varied_cartpoles():
    """So that 1 is a score that can be had in all of them."""
    environment, spec = make_environment("CartPole-v1/varied", "held_out")

    @jax.jit
    @jax.vmap
    def play(key):
        params = sample_params(environment, key, spec)
        first, state = environment.reset(key, params)

        def step(carry, _):
            observation, state, going, total = carry
            action = (observation @ jnp.array([0.05, 0.1, 1.0, 0.5]) > 0).astype(jnp.int32)
            observation, state, reward, terminated, _, _ = environment.step(key, state, action, params)
            return (observation, state, going & ~terminated, total + going * reward), None

        return jax.lax.scan(step, (first, state, jnp.bool_(True), 0.0), None, length=500)[0][3]

    assert (play(jax.random.split(jax.random.key(1), 128)) == 500).all()


@pytest.mark.parametrize("name", sorted(RETURNS))
def test_the_known_returns_of_uniform_actions(name):
    environment, spec = make_environment(name)
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], sample_params(environment, jax.random.key(0), spec))
    (measured,) = uniform_returns(environment, params, episodes=20_000)
    expected = RETURNS[name][0]
    assert abs(measured - expected) < {"CartPole-v1": 0.4, "UmbrellaChain-bsuite": 0.1}.get(name, 0.03)
