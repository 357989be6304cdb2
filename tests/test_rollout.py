import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.experience.rollout import FEWEST_STARTS, STEPS_PER_START, reset, rollout, sampled
from tests.worlds import OBSERVED_RING, RING, RingParams

pytestmark = pytest.mark.usefixtures("quick_compilation")
T, B, LIMIT = 12, 150, 5
PARAMS = RingParams(reward=jnp.arange(1.0, 7.0).reshape(3, 2), end=jnp.array([0.0, 0.4, 0.0]), limit=jnp.int32(LIMIT))
POLICY = jnp.array([[0.0, 1.0], [0.5, 0.0], [-20.0, 20.0]])


@jax.jit
def run(key):
    keys = jax.random.split(key)
    before = reset(keys[0], RING, PARAMS, B)
    return before, *rollout(keys[1], RING, PARAMS, before, sampled(lambda observation: POLICY[observation]), T)


@pytest.fixture(scope="module")
def record(quick_compilation):
    return jax.device_get(run(jax.random.key(0)))


def test_steps_and_resets_are_the_worlds(record):
    """Followed by hand, step by step: successors, rewards, ends, first observations, returns of episodes."""
    before, after, steps, episodes = record
    count = total = 0
    for b in range(B):
        position, time, gained = before.state.position[b], 0, 0.0
        assert before.observation[b] == position
        for t in range(T):
            assert steps.observation[t, b] == position
            action = steps.action[t, b]
            position_after, time = (position + action) % 3, time + 1
            # The true last observation, also where the episode ends here.
            assert steps.next_observation[t, b] == position_after
            assert steps.reward[t, b] == PARAMS.reward[position, action]
            gained += float(steps.reward[t, b])
            terminated = steps.terminated[t, b]
            assert not terminated or position == 1
            assert steps.truncated[t, b] == (time == LIMIT and not terminated)
            if terminated or steps.truncated[t, b]:
                count, total = count + 1, total + gained
                position, time, gained = (steps.observation[t + 1, b] if t + 1 < T else after.observation[b]), 0, 0.0
            else:
                position = position_after
        assert after.state.position[b] == after.observation[b] == position
        assert (after.state.time[b], after.episode_return[b]) == (time, gained)
    assert (int(episodes.number), float(episodes.total_return)) == (count, total)
    assert steps.terminated.any() and steps.truncated.any()


def test_an_end_is_followed_by_a_new_start(record):
    _, _, steps, _ = record
    ended = steps.terminated | steps.truncated
    first = steps.observation[1:][ended[:-1]]
    assert set(first) == {0, 1, 2}
    assert (first != steps.next_observation[:-1][ended[:-1]]).any()
    np.testing.assert_array_equal(steps.observation[1:][~ended[:-1]], steps.next_observation[:-1][~ended[:-1]])


def test_new_starts_are_the_resets_own_distribution():
    """A few fresh starts serve a rollout; over rollouts each start is as likely as a reset makes it."""
    params = PARAMS.replace(end=jnp.ones(3))

    @jax.jit
    def run(key):
        before = reset(key, RING, params, 4)
        return rollout(key, RING, params, before, sampled(lambda observation: POLICY[observation]), 8)[1]

    steps = jax.vmap(run)(jax.random.split(jax.random.key(3), 400))
    first = np.asarray(steps.observation[:, 1:])  # [rollouts, T - 1, B], every step is an episode
    counts = np.bincount(first.ravel(), minlength=3)
    # Starts within a rollout are shared, so as many independent draws as there are fresh ones.
    independent = 400 * max(FEWEST_STARTS, 8 * 4 // STEPS_PER_START)
    assert np.abs(counts / first.size - 1 / 3).max() < 4 * np.sqrt(2 / 9 / independent), counts


def test_actions_are_drawn_from_the_policy(record):
    _, _, steps, _ = record
    expected = np.asarray(jax.nn.softmax(POLICY))[:, 1]
    for state in range(3):
        drawn = steps.action[steps.observation == state]
        assert abs(drawn.mean() - expected[state]) < 4 * np.sqrt(0.25 / len(drawn)) and len(drawn) > 300


def test_an_end_at_the_time_limit_is_a_termination(record):
    """The world tells both; what terminates is not truncated. Here arrays are what is observed."""

    @jax.jit
    def run(key):
        params = PARAMS.replace(end=jnp.ones(3), limit=jnp.int32(1))
        before = reset(key, OBSERVED_RING, params, 4)
        return rollout(key, OBSERVED_RING, params, before, sampled(lambda observation: observation), 3)

    after, steps, episodes = run(jax.random.key(1))
    assert steps.terminated.all() and not steps.truncated.any() and episodes.number == 3 * 4
    assert steps.observation.shape == steps.next_observation.shape == (3, 4, 2)
    assert after.observation.shape == (4, 2) and steps.action.shape == (3, 4)
    assert (steps.observation[1:] != steps.next_observation[:-1]).any()
