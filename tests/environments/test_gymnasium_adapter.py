"""What the adapter shows is what one sees who steps Gymnasium's environments by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from metaobj.common.environments import Box, Discrete
from metaobj.common.environments.registry import make_environment
from metaobj.common.errors import UserError
from metaobj.common.experience.rollout import Policy, reset, rollout

gymnasium = pytest.importorskip("gymnasium")
from metaobj.common.environments.adapters import gymnasium as adapter  # noqa: E402  # after what may skip this file

pytestmark = pytest.mark.usefixtures("quick_compilation")


def by_hand(name: str, seed: int, actions: np.ndarray) -> tuple[list, list, list, list]:
    """Observations (the first included), rewards, terminated and truncated of an episode, until it ends."""
    environment = gymnasium.make(name)
    observations, rewards, terminated, truncated = [environment.reset(seed=int(seed))[0]], [], [], []
    for action in actions:
        observation, reward, ended, cut, _ = environment.step(action)
        observations.append(observation)
        rewards.append(reward)
        terminated.append(ended)
        truncated.append(cut)
        if ended or cut:
            break
    environment.close()
    return observations, rewards, terminated, truncated


def play(name: str, actions: np.ndarray, key: jax.Array) -> tuple:
    """The same through the adapter, compiled, for B keys at once; actions [T, B, ...] and no reset."""
    environment, _ = make_environment(f"gymnasium/{name}")

    @jax.jit
    def go(keys: jax.Array) -> tuple:
        first, state = jax.vmap(environment.reset, (0, None))(keys, ())

        def one(state, action):
            step = jax.vmap(environment.step, (None, 0, 0, None))
            observed, state, reward, terminated, truncated, _ = step(keys[0], state, action, ())
            return state, (observed, reward, terminated, truncated)

        last, steps = jax.lax.scan(one, state, actions)
        return state.seed, first, steps, last

    return go(jax.random.split(key, actions.shape[1]))


@pytest.mark.parametrize(
    ("name", "steps"), [("CartPole-v1", 30), ("Acrobot-v1", 10), ("Pendulum-v1", 10), ("FrozenLake-v1", 30)]
)
def test_same_numbers_as_gymnasium(name: str, steps: int) -> None:
    space = gymnasium.make(name).action_space
    space.seed(3)
    actions = np.array([[space.sample() for _ in range(3)] for _ in range(steps)])
    seeds, first, (observation, reward, terminated, truncated), _ = play(name, actions, jax.random.key(0))
    assert len(set(seeds.tolist())) == 3
    for b, seed in enumerate(seeds):
        observations, *others = by_hand(name, seed, actions[:, b])
        n = len(others[0])
        np.testing.assert_array_equal(first[b], observations[0])
        for told, hand in zip((observation, reward, terminated, truncated), (observations[1:], *others), strict=True):
            np.testing.assert_array_equal(told[:n, b], np.asarray(hand, told.dtype))
        assert terminated[n:, b].all() and not reward[n:, b].any(), "after its end nothing happens"


def test_the_limit_is_no_end_of_the_world() -> None:
    _, _, (_, reward, terminated, truncated), _ = play("MountainCar-v0", np.ones((200, 2), int), jax.random.key(0))
    assert truncated[-1].all() and not truncated[:-1].any() and not terminated.any() and (reward == -1).all()


def test_where_gymnasium_sets_no_limit_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 255, (2, 2, 3), np.uint8)
        action_space = gymnasium.spaces.Discrete(2, start=-3)

        def reset(self, *, seed=None, options=None):
            return np.full((2, 2, 3), 51, np.uint8), {}

        def step(self, action):
            return np.full((2, 2, 3), 255, np.uint8), float(action), False, False, {}

    gymnasium.register("Endless-v0", entry_point=Endless)
    monkeypatch.setattr(adapter, "UNLIMITED", 4)
    _, first, (observation, reward, terminated, truncated), _ = play(
        "Endless-v0", np.array([[0, 1]] * 4), jax.random.key(0)
    )
    environment, _ = make_environment("gymnasium/Endless-v0")
    assert environment.observation_space == Box((2, 2, 3), 0.0, 1.0) and environment.action_space == Discrete(2)
    np.testing.assert_allclose(first, 0.2, rtol=1e-6)
    assert (observation == 1).all() and not terminated.any()
    assert truncated[-1].all() and not truncated[:-1].any()
    np.testing.assert_array_equal(reward, [[-3, -2]] * 4)


def act(environment, steps: int, batch: int):
    """Rollouts of random actions as agents make them; a function of a key."""
    policy = Policy(
        lambda key, steps, observation: jax.random.randint(
            key, (steps, len(observation)), 0, environment.action_space.n
        ),
        lambda _, noise: noise,
    )

    def go(key):
        worlds = reset(key, environment, (), batch)
        worlds, _, _ = rollout(key, environment, (), worlds, policy, steps)
        again, steps_taken, episodes = rollout(jax.random.fold_in(key, 1), environment, (), worlds, policy, steps)
        return again, steps_taken, episodes

    return go


def test_rollouts_are_where_gymnasium_would_be() -> None:
    """New episodes share starts, lifetimes are vmapped and spread over devices: each state tells where it is."""
    environment, _ = make_environment("gymnasium/CartPole-v1")
    mesh, parts = Mesh(np.array(jax.devices()), ("lifetimes",)), PartitionSpec("lifetimes")
    everyone = jax.shard_map(
        jax.vmap(act(environment, 40, 8)), mesh=mesh, in_specs=parts, out_specs=parts, check_vma=False
    )
    keys = jax.random.split(jax.random.key(2), 2 * len(jax.devices()))
    worlds, _, episodes = jax.jit(everyone)(keys)
    assert (episodes.number > 8).all()
    state = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), worlds.state)
    assert state.time.min() < state.time.max() and not state.over.any()
    for at, seed in enumerate(state.seed):
        observations, rewards, *_ = by_hand("CartPole-v1", seed, np.asarray(state.actions[at, : state.time[at]]))
        assert len(rewards) == state.time[at]
        np.testing.assert_array_equal(worlds.observation.reshape(-1, 4)[at], observations[-1])
        assert worlds.episode_return.ravel()[at] == sum(rewards)


def test_it_is_a_function(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that is run again, or whose environments had to be let go, shows the same."""
    environment, _ = make_environment("gymnasium/CartPole-v1")
    go = jax.jit(act(environment, 20, 4))
    first = go(jax.random.key(5))
    again = go(jax.random.key(5))
    monkeypatch.setattr(adapter, "KEPT", 2)
    rebuilt = go(jax.random.key(5))
    host = adapter._host("gymnasium/CartPole-v1")
    assert sum(map(len, host._kept.values())) == host._number_kept
    for other in (again, rebuilt):
        jax.tree.map(np.testing.assert_array_equal, first, other)


def test_any_state_can_be_stepped_again() -> None:
    environment, _ = make_environment("gymnasium/CartPole-v1")
    step, key = jax.jit(environment.step), jax.random.key(0)
    _, start = environment.reset(key, ())
    middle = step(key, step(key, start, jnp.int32(1), ())[1], jnp.int32(0), ())[1]
    right = step(key, middle, jnp.int32(1), ())[0]
    left = step(key, middle, jnp.int32(0), ())[0]
    assert (right != left).any()
    np.testing.assert_array_equal(step(key, middle, jnp.int32(1), ())[0], right)


WRONG = {
    "Nonsense-v0": r"environment: 'gymnasium/Nonsense-v0': NameNotFound: Environment `Nonsense` doesn't exist\.",
    "Blackjack-v1": r"environment: 'gymnasium/Blackjack-v1': observations of Tuple\(.*\) given; must be a Box, or Disc",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_lived_in_is_told(name: str) -> None:
    with pytest.raises(UserError, match=WRONG[name]) as error:
        make_environment(f"gymnasium/{name}")
    assert "\n" not in str(error.value)


def test_lunar_lander() -> None:
    pytest.importorskip("Box2D")
    actions = np.random.default_rng(0).integers(0, 4, (60, 2))
    seeds, _, (observation, reward, terminated, _), _ = play("LunarLander-v3", actions, jax.random.key(0))
    for b, seed in enumerate(seeds):
        observations, rewards, *_ = by_hand("LunarLander-v3", seed, actions[:, b])
        np.testing.assert_array_equal(observation[: len(rewards), b], observations[1:])
        np.testing.assert_allclose(reward[: len(rewards), b], rewards, rtol=1e-6)


@pytest.mark.slow
def test_an_atari_game() -> None:
    """Its states are long and its observations large."""
    pytest.importorskip("ale_py")
    actions = np.random.default_rng(0).integers(0, 4, (12, 6))
    environment, _ = make_environment("gymnasium/ALE/Breakout-v5")
    assert environment.time_limit == 27_000 and environment.observation_space == Box((210, 160, 3), 0.0, 1.0)
    seeds, _, (observation, reward, _, _), last = play("ALE/Breakout-v5", actions, jax.random.key(0))
    assert last.actions.shape == (6, 27_000)
    for b, seed in enumerate(seeds):
        observations, rewards, *_ = by_hand("ALE/Breakout-v5", seed, actions[:, b])
        np.testing.assert_allclose(observation[:, b] * 255, observations[1:], rtol=1e-6)
        np.testing.assert_array_equal(reward[:, b], rewards)
