"""States with every kind of leaf, and scripts in processes of their own."""

import os
import subprocess
import sys
import textwrap
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from metaobj.common.types import PyTree


@flax.struct.dataclass
class State:
    params: dict[str, jax.Array]
    optimiser: Any
    key: jax.Array
    keys: jax.Array
    mask: jax.Array
    empty: jax.Array
    host: np.ndarray
    count: int
    nothing: None = None


def make_state(seed: int) -> State:
    params = {
        "w": jax.random.normal(jax.random.key(seed), (5, 3)),
        "half": jnp.full((2,), seed + 0.3, jnp.bfloat16),
        "int": jnp.arange(seed, seed + 4, dtype=jnp.int8),
    }
    return State(
        params=params,
        optimiser=optax.adam(1e-3).init(params["w"]),
        key=jax.random.key(seed),
        keys=jax.random.split(jax.random.key(seed, impl="rbg"), (2, 3)),
        mask=jnp.array([True, False, bool(seed % 2)]),
        empty=jnp.zeros((0, 3)),
        host=np.array([seed, 2**40], np.int64),
        count=seed,
    )


def assert_same(found: PyTree, wanted: PyTree) -> None:
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert type(one) is type(other)
        if isinstance(other, int):
            assert one == other
            continue
        assert one.dtype == other.dtype and one.shape == other.shape
        if jax.dtypes.issubdtype(other.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def run(script: str, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        timeout=120,
    )
