"""Optional environments: what they show, and their ends told apart from their time limits."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments import Box, Discrete
from metaobj.common.environments.registry import make_environment


@pytest.fixture
def snake():
    pytest.importorskip("jumanji")
    environment, _ = make_environment("jumanji/Snake-6x6")
    return environment


def walk(environment, actions, key=0):
    """The first observation, and what each action returned."""
    step = jax.jit(environment.step)
    observation, state = jax.jit(environment.reset)(jax.random.key(key), ())
    told = []
    for action in actions:
        told.append(step(jax.random.key(1), state, jnp.int32(action), ()))
        state = told[-1][1]
    return observation, told


def test_a_snake_leaves_the_board(snake) -> None:
    """Up until it is out: terminated in that step and not before; a fruit on the way is a reward of 1."""
    assert snake.observation_space == Box((6, 6, 5), 0.0, 1.0) and snake.action_space == Discrete(4)
    first, _ = walk(snake, [])
    (row, column), (fruit_row, fruit_column) = (np.argwhere(first[..., plane])[0] for plane in (1, 3))
    _, told = walk(snake, [0] * (int(row) + 1))
    eaten = [int(fruit_column == column and fruit_row == row - at - 1) for at in range(row)]
    assert [float(reward) for _, _, reward, *_ in told[: len(eaten)]] == eaten
    assert [bool(terminated) for *_, terminated, _, _ in told] == [False] * int(row) + [True]
    assert not any(truncated for *_, truncated, _ in told)
    for at, (observation, *_) in enumerate(told[:-1]):
        assert np.argwhere(observation[..., 1]).tolist() == [[row - at - 1, column]]


def test_its_time_limit_is_no_end_of_the_world(snake) -> None:
    short = replace(snake, time_limit=4)
    for key in range(20):  # a snake that has room to go up and down
        first, _ = walk(short, [], key)
        if np.argwhere(first[..., 1])[0][0] >= 2:
            break
    _, told = walk(short, [0, 1, 2, 3] if np.argwhere(first[..., 1])[0][1] < 5 else [0, 3, 2, 1], key)
    assert [bool(truncated) for *_, truncated, _ in told] == [False, False, False, True]
    assert not any(terminated for *_, terminated, _, _ in told)


def test_jumanji_s_own_board() -> None:
    pytest.importorskip("jumanji")
    environment, _ = make_environment("jumanji/Snake-v1")
    assert environment.observation_space.shape == (12, 12, 5) and environment.time_limit == 4000


@pytest.mark.slow
def test_craftax(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("craftax")
    environment, _ = make_environment("craftax/Craftax-Classic-Symbolic-v1")
    assert environment.observation_space == Box((1345,), 0.0, 1.0) and environment.action_space == Discrete(17)
    assert environment.time_limit == 10_000
    step, key = jax.jit(environment.step), jax.random.key(0)
    observation, state = jax.jit(environment.reset)(key, ())
    assert observation.shape == (1345,)
    _, _, _, terminated, truncated, _ = step(key, state, jnp.int32(0), ())
    assert not terminated and not truncated
    late = state.replace(timestep=jnp.int32(9_999))
    _, _, _, terminated, truncated, _ = step(key, late, jnp.int32(0), ())
    assert truncated and not terminated
    _, _, _, terminated, truncated, _ = step(key, late.replace(player_health=jnp.int32(-9)), jnp.int32(0), ())
    assert terminated and not truncated
