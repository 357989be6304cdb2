"""One compiled sampler for all tests of this folder."""

import functools

import jax

from metaobj.common.environments import GridParams, GridSpec, GridWorld

NUM_WORLDS = 3000


@functools.partial(jax.jit, static_argnums=0)
def _sample(environment: GridWorld, key: jax.Array, spec: GridSpec) -> GridParams:
    return jax.vmap(environment.sample_params, (0, None))(jax.random.split(key, NUM_WORLDS), spec)


def sample_worlds(environment: GridWorld, spec: GridSpec) -> GridParams:
    """`NUM_WORLDS` worlds of a distribution, each leaf [n, ...]."""
    return _sample(environment, jax.random.key(5), spec)


def sample_world(environment: GridWorld, spec: GridSpec, number: int = 0) -> GridParams:
    return jax.tree.map(lambda x: x[number], sample_worlds(environment, spec))
