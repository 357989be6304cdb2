"""The two small tasks of a pendulum with discrete pushes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments.drawing import AGENT, BANNER
from metaobj.common.environments.registry import make_environment
from metaobj.common.environments.torque import TORQUE_NAMES, TorqueParams, TorqueState, make_torque
from tests.quick import first

pytestmark = pytest.mark.usefixtures("quick_compilation")
WORLDS, EPISODES = 8, 16


def drawn(name: str, split: str = "training") -> TorqueParams:
    environment, spec = make_torque(name, split)
    keys = jax.random.split(jax.random.key(0), WORLDS)
    return jax.jit(jax.vmap(environment.sample_params, (0, None)))(keys, spec)


def returns(name: str, wanted) -> np.ndarray:
    """Mean return in each world of a policy that knows the state: `wanted` gives the push."""
    environment, _ = make_torque(name, "training")

    def play(key, params):
        state = environment.reset(key, params)[1]

        def step(carry, key):
            state, over, total = carry
            action = jnp.argmin(jnp.abs(params.pushes - wanted(key, state)))
            _, state, reward, terminated, truncated, _ = environment.step(key, state, action, params)
            return (state, over | terminated | truncated, total + jnp.where(over, 0.0, reward)), None

        start = (state, jnp.bool_(False), 0.0)
        return jax.lax.scan(step, start, jax.random.split(key, environment.time_limit))[0][2]

    keys = jax.random.split(jax.random.key(1), EPISODES)
    return np.asarray(jax.jit(jax.vmap(jax.vmap(play, (0, None)), (None, 0)))(keys, drawn(name)).mean(1))


def at_random(key, state):
    return jax.random.randint(key, (), -1, 2)


@pytest.mark.slow
def test_both_tasks_can_be_done_and_not_by_chance():
    balance, swing = TORQUE_NAMES

    def upright(key, state):  # sin t is minus the angle from the top
        return jnp.sign(4 * jnp.sin(state.angle) - state.spin)

    def with_the_motion(key, state):
        return jnp.where(state.spin >= 0, 1.0, -1.0)

    assert returns(balance, at_random).max() < 25 and returns(balance, upright).min() > 150
    assert returns(swing, at_random).max() < -120 and returns(swing, with_the_motion).min() > -60


def test_a_step_by_hand():
    environment, spec = make_torque(TORQUE_NAMES[1], "training")
    params = environment.sample_params(jax.random.key(0), spec)
    params = params.replace(
        gravity=jnp.float32(8.0), damping=jnp.float32(0.5), torque=jnp.float32(4.0), noise=jnp.float32(0.0)
    )
    params = params.replace(pushes=jnp.array([1.0, -1.0, 0.0]), view=jnp.eye(4, 3))
    state = TorqueState(jnp.float32(np.pi / 6), jnp.float32(2.0), jnp.int32(0))
    observation, after, reward, terminated, truncated, _ = environment.step(jax.random.key(0), state, 1, params)
    spin = 2 + 0.05 * (-4 - 8 * 0.5 - 0.5 * 2)  # push, gravity, damping
    angle = np.pi / 6 + 0.05 * spin
    np.testing.assert_allclose([after.angle, after.spin], [angle, spin], rtol=1e-6)
    np.testing.assert_allclose(observation, [np.sin(angle), np.cos(angle), 0.3 * spin, 0.0], rtol=1e-6)
    assert (float(reward), bool(terminated), bool(truncated)) == (-1.0, False, False)
    last = environment.step(jax.random.key(0), state.replace(time=jnp.int32(199)), 1, params)
    assert last[4] and not last[3]
    high = state.replace(angle=jnp.float32(2.0), spin=jnp.float32(0.0))
    assert environment.step(jax.random.key(0), high, 1, params)[3]


@pytest.mark.slow
def test_held_out_physics_are_not_those_of_training():
    for name in TORQUE_NAMES:
        training, held_out = (np.asarray(drawn(name, split).gravity) / 9 for split in ("training", "held_out"))
        assert (np.abs(np.log(training)) <= np.log(1.3) + 1e-6).all()
        assert (np.abs(np.log(held_out)) >= np.log(1.3) - 1e-6).all()
        params = drawn(name)
        assert (np.sort(params.pushes) == [-1, 0, 1]).all() and len(np.unique(np.asarray(params.view))) == WORLDS * 12
        assert make_environment(name)[0] == make_torque(name, "any")[0]


def test_the_tip_is_drawn_where_it_is():
    environment = make_torque(TORQUE_NAMES[0], "training")[0]
    params = first(drawn(TORQUE_NAMES[0]))
    for angle, sideways, up in ((np.pi, 0, 1), (np.pi / 2, 1, 0), (0.0, 0, -1)):
        image = environment.render(TorqueState(jnp.float32(angle), jnp.float32(0), jnp.int32(0)), params)
        assert image.shape == (200 + BANNER, 200, 3) and image.dtype == np.uint8
        rows, columns = np.nonzero((image == AGENT).all(-1))
        np.testing.assert_allclose([columns.mean() - 100, BANNER + 100 - rows.mean()], [80 * sideways, 80 * up], atol=3)
