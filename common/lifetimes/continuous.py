"""What agents with continuous actions in [-1, 1] share: a start at random, and tests without noise."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from metaobj.common.environments.protocol import time_limit
from metaobj.common.environments.scaled import ScaledActions
from metaobj.common.experience.rollout import Episodes, Policy, Worlds, reset, rollout
from metaobj.common.experience.windows import valid_steps
from metaobj.common.types import PRNGKey, PyTree, Rollout


def uniform(environment: ScaledActions) -> Policy:
    """Actions drawn uniformly."""
    size = environment.action_space.shape

    def draw(key: PRNGKey, steps: int, observation: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (steps, observation.shape[0], *size), minval=-1.0, maxval=1.0)

    return Policy(draw, lambda _, noise: noise)


def without_noise(act: Callable[[jax.Array], jax.Array]) -> Policy:
    """Actions by a function of observations alone."""
    return Policy(lambda _, steps, __: jnp.zeros((steps, 1)), lambda observation, _: act(observation))


def normal_noise(environment: ScaledActions) -> Callable[[PRNGKey, int, jax.Array], jax.Array]:
    """`Policy.draw` of policies whose actions have normal noise: standard normal [T, B, A]."""
    size = environment.action_space.shape
    return lambda key, steps, observation: jax.random.normal(key, (steps, observation.shape[0], *size))


def random_start(
    key: PRNGKey, environment: ScaledActions, params: PyTree, num_environments: int, steps: int
) -> tuple[Worlds, Rollout, jax.Array]:
    """The first steps of a life, with uniform actions, and their rewards' root mean square (1 where all are 0)."""
    reset_key, act_key = jax.random.split(key)
    worlds = reset(reset_key, environment, params, num_environments)
    worlds, seen, _ = rollout(act_key, environment, params, worlds, uniform(environment), steps)
    size = jnp.sqrt(jnp.mean(seen.reward**2))
    return worlds, seen, jnp.where(size > 0, size, 1.0)


def tested(
    key: PRNGKey,
    environment: ScaledActions,
    params: PyTree,
    act: Callable[[jax.Array], jax.Array] | None,
    num_environments: int,
) -> Episodes:
    """One episode in each of some fresh environments, by `act` from observations to actions or, with None, by uniform
    actions. It lasts until the environment's time limit, or 1000 steps.
    """
    reset_key, act_key = jax.random.split(key)
    worlds = reset(reset_key, environment, params, num_environments)
    policy = uniform(environment) if act is None else without_noise(act)
    steps = time_limit(environment.inner) or 1000
    _, seen, _ = rollout(act_key, environment, params, worlds, policy, steps)
    total = jnp.sum(jnp.where(valid_steps(seen), seen.reward, 0.0))
    return Episodes(jnp.asarray(num_environments, seen.reward.dtype), total)
