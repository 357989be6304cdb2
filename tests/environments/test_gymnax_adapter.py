import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments import GYMNAX_NAMES, Box, Discrete, GymnaxEnvironment
from metaobj.common.environments.adapters.gymnax import LONGEST
from metaobj.common.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_compilation")

DISCRETE = ("CartPole-v1", "Acrobot-v1", "MountainCar-v0", "Catch-bsuite", "DeepSea-bsuite")
DISCRETE += ("UmbrellaChain-bsuite", "DiscountingChain-bsuite", "MemoryChain-bsuite")
MINATAR = tuple(f"{game}-MinAtar" for game in ("Asterix", "Breakout", "Freeway", "Seaquest", "SpaceInvaders"))


def run(environment: GymnaxEnvironment, steps: int, batch: int, action: int | None = None) -> tuple:
    """Scan `batch` environments for `steps` steps without any reset."""
    params = environment.sample_params(jax.random.key(0))
    n = environment.action_space.n

    @jax.jit
    def go(key):
        observation, state = jax.vmap(environment.reset, (0, None))(jax.random.split(key, batch), params)

        def one(state, key):
            actions = jax.random.randint(key, (batch,), 0, n) if action is None else jnp.full(batch, action)
            keys = jax.random.split(key, batch)
            observed, state, *rest, _ = jax.vmap(environment.step, (0, 0, 0, None))(keys, state, actions, params)
            return state, (observed, *rest)

        return observation, jax.lax.scan(one, state, jax.random.split(key, steps))[1]

    return go(jax.random.key(1))


@pytest.mark.parametrize("name", [*DISCRETE, "Breakout-MinAtar", "SpaceInvaders-MinAtar"])
def test_scans_and_observations_are_in_their_space(name):
    environment = GymnaxEnvironment(name)
    first, (observation, reward, terminated, truncated) = run(environment, 30, 4)
    space = environment.observation_space
    assert isinstance(space, Box) and observation.shape == (30, 4, *space.shape) == (30, *first.shape)
    assert observation.dtype == first.dtype == (bool if name in MINATAR else np.float32)
    assert reward.dtype == np.float32 and terminated.dtype == truncated.dtype == bool
    assert not (terminated & truncated).any()
    low, high = (np.reshape(x, space.shape if np.ndim(x) else ()) for x in (space.low, space.high))
    running = ~np.asarray(terminated | truncated).cumsum(0).astype(bool)
    kept = np.asarray(observation)[running]
    assert (kept >= low - 1e-5).all() and (kept <= high + 1e-5).all()


def test_cartpole_keeps_the_last_observation_and_terminates():
    environment = GymnaxEnvironment("CartPole-v1")
    _, (observation, reward, terminated, truncated) = run(environment, 15, 3, action=0)
    ends = np.argmax(np.asarray(terminated), axis=0)
    assert (ends > 0).all() and not truncated.any()
    for b, end in enumerate(ends):
        angle = np.abs(np.asarray(observation[: end + 1, b, 2]))
        assert angle[end] > 12 * 2 * np.pi / 360 and (angle[:end] <= 12 * 2 * np.pi / 360).all()
    assert (reward[:5] == 1).all()


def test_mountain_car_is_truncated_at_its_limit():
    environment = GymnaxEnvironment("MountainCar-v0")
    _, (_, reward, terminated, truncated) = run(environment, 200, 2, action=1)
    assert not terminated.any() and not truncated[:-1].any() and truncated[-1].all()
    assert (reward == -1).all()


def test_end_at_the_time_limit_counts_as_the_world_ending():
    _, (_, _, terminated, truncated) = run(GymnaxEnvironment("DeepSea-bsuite"), 8, 2)
    assert terminated[-1].all() and not truncated.any()


def test_the_umbrella_counts_at_the_end() -> None:
    """Taken in the first step, needed in the tenth: 1 or -1, which ends the world; noise of 1 or -1 before."""
    for action in (0, 1):
        first, (observation, reward, terminated, _) = run(GymnaxEnvironment("UmbrellaChain-bsuite"), 10, 64, action)
        needed = np.asarray(first[:, 0])
        assert set(needed.tolist()) == {0, 1}
        np.testing.assert_array_equal(observation[0, :, 1], np.full(64, action))
        np.testing.assert_array_equal(reward[-1], np.where(needed == action, 1, -1))
        assert (np.abs(reward[:-1]) == 1).all() and abs(np.mean(reward[:-1])) < 0.2
        assert terminated[-1].all()


@pytest.mark.parametrize(("chain", "pays", "at"), [(0, 1.1, 1), (1, 1, 3), (2, 1, 10), (3, 1, 30), (4, 1, 100)])
def test_each_chain_pays_once_and_the_world_ends_after_100_steps(chain: int, pays: float, at: int) -> None:
    environment = GymnaxEnvironment("DiscountingChain-bsuite")
    _, (observation, reward, terminated, truncated) = run(environment, 100, 2, chain)
    expected = np.zeros(100)
    expected[at - 1] = pays
    np.testing.assert_allclose(reward[:, 0], expected, rtol=1e-6)
    assert (observation[..., 0] == chain).all() and environment.time_limit == 100
    assert terminated[-1].all() and not terminated[:-1].any() and not truncated.any()


def test_memory_is_asked_for_what_was_seen_at_first() -> None:
    for action in (0, 1):
        first, (observation, reward, terminated, _) = run(GymnaxEnvironment("MemoryChain-bsuite"), 6, 64, action)
        seen = np.asarray(first[:, 2])
        assert set(seen.tolist()) == {-1, 1}
        np.testing.assert_array_equal(reward[-1], np.where((seen > 0) == action, 1, -1))
        assert not reward[:-1].any() and not observation[1:, :, 2].any()
        assert terminated[-1].all()


@pytest.mark.parametrize("name", sorted(LONGEST))
def test_how_long_episodes_last(name: str) -> None:
    environment = GymnaxEnvironment(name)
    _, (_, _, terminated, truncated) = run(environment, LONGEST[name], 8)
    assert environment.time_limit == LONGEST[name]
    assert terminated[-1].all() and not terminated[:-1].any() and not truncated.any()


def test_same_numbers_as_gymnax():
    environment = GymnaxEnvironment("Breakout-MinAtar")
    original, params = gymnax.make("Breakout-MinAtar")
    key = jax.random.key(7)
    observation, state = original.reset(key, params)
    ours, our_state = environment.reset(key, environment.sample_params(key))
    np.testing.assert_array_equal(ours.astype(float), observation)
    step, our_step = jax.jit(original.step_env), jax.jit(environment.step)
    for i in range(5):
        key = jax.random.key(i)
        action = jnp.asarray(i % 3)
        observation, state, reward, *_ = step(key, state, action, params)
        ours, our_state, our_reward, *_ = our_step(key, our_state, action, params)
        np.testing.assert_array_equal(ours.astype(float), observation)
        assert reward == our_reward


def test_spaces_and_identity():
    assert GymnaxEnvironment("CartPole-v1") == GymnaxEnvironment("CartPole-v1")
    assert hash(GymnaxEnvironment("CartPole-v1")) == hash(GymnaxEnvironment("CartPole-v1"))
    assert GymnaxEnvironment("CartPole-v1").action_space == Discrete(2)
    assert GymnaxEnvironment("FrozenLake-misc").observation_space == Discrete(16)
    assert GymnaxEnvironment("Pendulum-v1").action_space == Box((1,), -2.0, 2.0)
    assert set(DISCRETE + MINATAR) <= set(GYMNAX_NAMES)


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(UserError, match="CartPole-v1"):
        GymnaxEnvironment("Pong")
