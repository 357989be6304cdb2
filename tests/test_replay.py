"""The replay's ring: what is in a window is what was written, in order, and nothing of another episode counts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.experience import replay
from metaobj.common.types import Rollout

pytestmark = pytest.mark.usefixtures("quick_compilation")

ROWS, T, B = 12, 3, 2


def rollout_from(first: int, ends: tuple[int, ...] = ()) -> Rollout:
    """Rows `first`, first + 1, ... of an endless recording, whose reward names row and column."""
    row = first + jnp.arange(T)[:, None] + jnp.zeros((1, B), jnp.int32)
    reward = row * 10.0 + jnp.arange(B)
    ended = jnp.isin(row, jnp.array(ends, jnp.int32)) if ends else jnp.zeros((T, B), bool)
    return Rollout(reward[..., None], reward[..., None], reward, ended, jnp.zeros((T, B), bool), reward[..., None] + 10)


def filled(rollouts: int, ends: tuple[int, ...] = ()) -> replay.Replay:
    ring = replay.empty(rollout_from(0), ROWS)
    for i in range(rollouts):
        ring = replay.add(ring, rollout_from(i * T, ends))
    return ring


@pytest.mark.parametrize("rollouts", [2, 4, 5, 7, 8])
def test_windows_are_consecutive_and_of_the_latest_rows(rollouts):
    steps, valid = replay.sample_windows(jax.random.key(rollouts), filled(rollouts), 400, 5)
    rows, columns = np.divmod(np.asarray(steps.reward), 10)
    assert (np.diff(rows, axis=0) == 1).all() and (columns == columns[0]).all() and valid.all()
    written = rollouts * T
    oldest = max(0, written - ROWS)
    assert set(rows[0]) == set(range(oldest, written - 5 + 1)), "every start that fits is met, and no other"
    assert set(columns[0]) == {0, 1}
    np.testing.assert_array_equal(steps.next_observation[..., 0], steps.reward + 10)


def test_what_follows_an_end_is_not_valid():
    steps, valid = replay.sample_windows(jax.random.key(0), filled(4, ends=(4,)), 300, 5)
    rows = np.asarray(steps.reward) // 10
    expected = np.where(rows[0] <= 4, rows <= 4, True)
    np.testing.assert_array_equal(valid, expected)
    assert not valid.all() and valid[0].all()


@pytest.mark.parametrize("rollouts", [2, 4, 7])
def test_single_steps_are_drawn_evenly(rollouts):
    """An episode's first step as often as any other; of a window's valid steps it is seldom one."""
    ends = tuple(range(2, 40, 6))
    ring = filled(rollouts, ends)
    steps, valid = replay.sample_steps(jax.random.key(0), ring, 6000)
    assert steps.reward.shape == valid.shape == (1, 6000) and valid.all()
    np.testing.assert_array_equal(steps.next_observation[..., 0], steps.reward + 10)
    kept = range(max(0, rollouts * T - ROWS), rollouts * T)
    seen, counts = np.unique(np.asarray(steps.reward), return_counts=True)
    assert seen.tolist() == [10.0 * row + column for row in kept for column in range(B)]
    share = 6000 / len(seen)
    assert (np.abs(counts - share) < 5 * np.sqrt(share)).all(), counts
