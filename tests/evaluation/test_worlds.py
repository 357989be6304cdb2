"""The worlds of an evaluation: those in which there is something to learn."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.evaluation.protocol import with_known
from metaobj.common.evaluation.training import Record
from metaobj.common.evaluation.worlds import draw_worlds
from metaobj.common.lifetimes.population import Family


@dataclass(frozen=True)
class Sometimes:
    """Worlds are numbers in [0, 1); above `from_` there is something to be earned."""

    from_: float

    def sample_params(self, key: jax.Array, spec: Any) -> jax.Array:
        return jax.random.uniform(key)

    def reference_returns(self, params: Any) -> tuple[np.ndarray, np.ndarray]:
        values = np.asarray(params)
        return np.zeros(len(values)), np.where(values > self.from_, 1.0 + values, 0.01)


def family(from_: float) -> Family:
    class Program:
        environment = Sometimes(from_)

    return Family(Program(), (0,), np.zeros(1), np.array([5]), np.zeros(1, int))


def test_a_world_without_anything_to_learn_is_drawn_anew() -> None:
    worlds = draw_worlds(family(0.6), "sometimes", jax.random.key(0), 40)
    assert worlds.count == 40 and worlds.reference is not None
    assert (np.asarray(worlds.params) > 0.6).all() and len(set(worlds.params.tolist())) == 40, "none twice"
    np.testing.assert_allclose(worlds.reference[1], 1.0 + np.asarray(worlds.params))
    same = draw_worlds(family(0.6), "sometimes", jax.random.key(0), 40)
    np.testing.assert_array_equal(worlds.params, same.params)


@pytest.mark.parametrize("from_", [2.0, 0.97])
def test_worlds_that_cannot_be_scored_are_refused_by_name(from_: float) -> None:
    with pytest.raises(UserError, match="sometimes: in [0-9]+ of 320 worlds drawn does the best policy earn more than"):
        draw_worlds(family(from_), "sometimes", jax.random.key(0), 40)


def test_what_is_known_by_name_stands_for_what_cannot_be_computed() -> None:
    bare = Record(np.zeros((3, 2)), np.array([1, 2]), None, None, np.zeros((3, 2), bool))
    known = with_known("Acrobot-v1", bare)
    assert known.random is not None and known.optimal is not None and known.random.shape == (3,)
    assert (known.random < -490).all() and (known.optimal > -70).all()
    assert with_known("Breakout-MinAtar", bare) is bare, "its best is not known"
    assert with_known("nowhere", bare) is bare
    computed = bare._replace(random=np.zeros(3), optimal=np.ones(3))
    assert with_known("Acrobot-v1", computed) is computed
