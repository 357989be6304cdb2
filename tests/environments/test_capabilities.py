"""What an environment of a user's own can do is told by having it: scores, pictures, limits, variation."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments.protocol import (
    Discrete,
    Drawable,
    HasTimeLimit,
    Solvable,
    Varies,
    reference_returns,
    sample_params,
    time_limit,
)
from metaobj.common.environments.registry import make_environment
from metaobj.common.environments.viewer import render
from metaobj.common.evaluation.worlds import draw_worlds
from metaobj.common.lifetimes.population import Family


@dataclass(frozen=True)
class Plain:
    observation_space = Discrete(2)
    action_space = Discrete(2)

    def reset(self, key: jax.Array, params: Any) -> tuple[jax.Array, jax.Array]:
        return jnp.int32(0), jnp.int32(0)

    def step(self, key: jax.Array, state: jax.Array, action: jax.Array, params: Any) -> tuple[Any, ...]:
        return state, state, 1.0 * action, jnp.bool_(True), jnp.bool_(False), {}


@dataclass(frozen=True)
class Able(Plain):
    time_limit = 7

    def sample_params(self, key: jax.Array, spec: Any) -> jax.Array:
        return spec * jax.random.uniform(key, minval=1.0, maxval=2.0)

    def reference_returns(self, params: Any) -> tuple[np.ndarray, np.ndarray]:
        return 0.5 * np.asarray(params), np.asarray(params)

    def render(self, state: Any, params: Any) -> np.ndarray:
        return np.full((4, 5, 3), int(params), np.uint8)


def test_a_plain_one_can_do_none_of_it() -> None:
    plain = Plain()
    assert not any(isinstance(plain, what) for what in (Varies, HasTimeLimit, Solvable, Drawable))
    assert sample_params(plain, jax.random.key(0), 3.0) == ()
    assert time_limit(plain) is None and reference_returns(plain, ()) is None
    assert render(plain, jnp.int32(1), ()).ndim == 3  # its numbers, as bars


def test_one_of_a_users_own_has_scores_and_a_picture() -> None:
    able = Able()
    assert time_limit(able) == 7
    assert render(able, jnp.int32(0), 9).tolist() == np.full((4, 5, 3), 9).tolist()

    class Program:
        environment = able

    family = Family(Program(), (0,), np.array([10.0]), np.array([5]), np.zeros(1, int))
    worlds = draw_worlds(family, "able", jax.random.key(0), 6)
    random, optimal = worlds.reference
    np.testing.assert_allclose(optimal, worlds.params)
    assert len(set(optimal)) == 6 and (optimal > 10).all() and (random == optimal / 2).all()


@pytest.mark.parametrize(
    ("name", "able"),
    [
        ("grid/small_layouts", (Varies, Solvable, Drawable)),
        ("chain/short", (Varies, Solvable, Drawable)),
        ("unseen/key", (Varies, Solvable, Drawable)),
        ("CartPole-v1", (Varies, HasTimeLimit, Solvable, Drawable)),
        ("control/point_mass", (Varies, HasTimeLimit, Drawable)),
        ("control/swing/varied", (Varies, HasTimeLimit, Drawable)),
    ],
)
def test_what_the_native_ones_can_do(name: str, able: tuple[type, ...]) -> None:
    environment, _ = make_environment(name)
    assert tuple(what for what in (Varies, HasTimeLimit, Solvable, Drawable) if isinstance(environment, what)) == able
