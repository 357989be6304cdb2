"""Returns that nobody can compute, measured by acting."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.protocol import Discrete, Environment, Space
from metaobj.common.types import PRNGKey, PyTree


def uniform_action(key: PRNGKey, space: Space) -> jax.Array:
    """An action that is drawn uniformly; the bounds of a `Box` are finite."""
    if isinstance(space, Discrete):
        return jax.random.randint(key, (), 0, space.n, jnp.int32)
    low, high = (
        jnp.broadcast_to(jnp.reshape(jnp.asarray(b, float), (-1,)), space.shape) for b in (space.low, space.high)
    )
    return low + (high - low) * jax.random.uniform(key, space.shape)


def uniform_return(environment: Environment, key: PRNGKey, params: PyTree) -> jax.Array:
    """The return of an episode of uniform actions, []; `environment`'s episodes end."""
    reset_key, key = jax.random.split(key)
    _, state = environment.reset(reset_key, params)

    def step(carry: tuple[PRNGKey, PyTree, jax.Array, jax.Array]) -> tuple[PRNGKey, PyTree, jax.Array, jax.Array]:
        key, state, total, _ = carry
        key, action_key, step_key = jax.random.split(key, 3)
        action = uniform_action(action_key, environment.action_space)
        _, state, reward, terminated, truncated, _ = environment.step(step_key, state, action, params)
        return key, state, total + reward, terminated | truncated

    start = (key, state, jnp.zeros(()), jnp.bool_(False))
    return jax.lax.while_loop(lambda carry: ~carry[-1], step, start)[2]


def uniform_returns(environment: Environment, params: PyTree, episodes: int = 512) -> np.ndarray:
    """The mean return of uniform actions in each of n worlds, [n].

    Args:
        environment: whose episodes end.
        params: of the worlds, each leaf [n, ...].
        episodes: how many are played in each.
    """
    number = jax.tree.leaves(params)[0].shape[0]
    keys = jax.random.split(jax.random.key(0), (number, episodes))
    returns = jax.jit(jax.vmap(jax.vmap(partial(uniform_return, environment), (0, None))))(keys, params)
    return np.asarray(jnp.mean(returns, axis=1))
