"""Counters that last for the longest life."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.experience import replay
from metaobj.common.lifetimes.lifetime import Birth, Lifetime
from metaobj.common.types import Rollout

pytestmark = pytest.mark.usefixtures("quick_compilation")


def begin(rewards: jax.Array) -> Lifetime:
    birth = Birth(environment_params=(), hyperparameters={}, length=3)
    return Lifetime.begin(jax.random.key(0), birth, worlds=(), rewards=rewards)  # type: ignore[arg-type]  # no worlds


@pytest.mark.parametrize("steps", [2**24, 2**30, 2**31 - 100])
def test_steps_and_their_mean_reward_go_on(steps: int) -> None:
    """A float of 32 bits stands still at 2^24, an integer wraps at 2^31."""
    lifetime = begin(jnp.zeros(0)).replace(steps=jnp.int32(steps), reward_mean=jnp.float32(0.5))
    rewards = jnp.full((20, 3), 1000.0)
    after = jax.jit(lambda life: life.lived(life.worlds, rewards))(lifetime)
    assert int(after.steps) == min(steps + 60, 2**31 - 1)
    np.testing.assert_allclose(after.reward_mean, 0.5 + 60 * 999.5 / (steps + 60), rtol=1e-6)


def test_the_first_steps_count() -> None:
    after = begin(jnp.array([1.0, 2.0, 6.0])).lived((), jnp.array([[7.0]]))  # type: ignore[arg-type]  # no worlds
    assert int(after.steps) == 4 and float(after.reward_mean) == 4.0


def test_the_mean_is_that_of_all_steps() -> None:
    lifetime = begin(jnp.zeros(0))
    rewards = np.random.default_rng(0).normal(size=(5000, 4)).astype(np.float32)
    live = jax.jit(lambda life: jax.lax.scan(lambda l, r: (l.lived(l.worlds, r), None), life, jnp.asarray(rewards))[0])
    after = live(lifetime)
    assert int(after.steps) == rewards.size
    np.testing.assert_allclose(after.reward_mean, rewards.mean(), atol=1e-5)


def test_a_replay_that_has_taken_more_than_a_counter_holds_is_sampled_evenly() -> None:
    """It knows where the next rollout goes, and nothing that grows."""

    def rollout(value: float) -> Rollout:
        steps = jnp.full((2, 3), value)
        no = jnp.zeros((2, 3), bool)
        return Rollout(steps, steps, steps, no, no, steps)

    ring = replay.empty(rollout(0.0), rows=8)
    for value in range(4 * 7 + 1):
        ring = replay.add(ring, rollout(float(value)))
    assert int(ring.filled) == 8 and int(ring.next_row) == 2
    assert all(int(leaf) < 16 for leaf in (ring.filled, ring.next_row))
    drawn = np.asarray(replay.sample_steps(jax.random.key(0), ring, 4000).steps.reward)
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [25.0, 26.0, 27.0, 28.0] and counts.min() > 850
    windows = replay.sample_windows(jax.random.key(1), ring, 500, 4).steps.reward
    assert (np.diff(np.asarray(windows), axis=0) >= 0).all(), "from old to new"
