"""Keys of a lifetime."""

import jax
import numpy as np

from metaobj.common.keys import stream
from tests.test_meta_step import make_trainer


def test_an_agents_test_uses_no_key_of_its_own_steps():
    """A lifetime splits its key for each of them, and fold_in(key, i) is split(key, n)[i]."""
    lifetime = jax.tree.map(lambda leaf: leaf[0], make_trainer().init().populations[0])
    tested = np.asarray(jax.random.key_data(stream(lifetime.key, "test")))
    own = [np.asarray(jax.random.key_data(jax.random.split(lifetime.key, n))) for n in range(2, 65)]
    assert not any((keys == tested).all(-1).any() for keys in own)
    assert not (np.asarray(jax.random.key_data(lifetime.key)) == tested).all()
