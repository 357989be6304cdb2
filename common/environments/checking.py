"""Whether an environment of someone's own does what its spaces say, told before anything is trained."""

from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.measured import uniform_action
from metaobj.common.environments.protocol import Box, Discrete, Environment, Space, sample_params
from metaobj.common.errors import MOST, UserError
from metaobj.common.types import PRNGKey, PyTree

_STEPS, _WORLDS = 64, 8
"""How many steps in how many worlds are tried."""

T = TypeVar("T")


@cache
def check_environment(environment: Environment, name: str) -> None:
    """Look at the spaces, at what `reset` and `step` return, and at some values of it.

    Raises:
        UserError: naming what was returned and what would be right.
    """
    where = f"environment: {name!r}"
    _check_space(f"{where}: observation_space", environment.observation_space)
    _check_space(f"{where}: action_space", environment.action_space)
    if isinstance(environment.action_space, Discrete) and environment.action_space.n < 2:
        raise UserError(f"{where}: action_space: {environment.action_space} given; there is nothing to choose from")
    key = jax.random.key(0)
    params = _shape_of(f"{where}: sample_params", lambda: sample_params(environment, key, ()))
    started = _shape_of(f"{where}: reset", environment.reset, key, params)
    if not isinstance(started, tuple) or len(started) != 2:
        raise UserError(f"{where}: reset returns {_told(started)}; must return (observation, state)")
    observation, state = started
    _check_observation(f"{where}: reset", observation, environment.observation_space)
    action = jax.eval_shape(lambda: uniform_action(key, _bounded(environment.action_space)))
    stepped = _shape_of(f"{where}: step", environment.step, key, state, action, params)
    if not isinstance(stepped, tuple) or len(stepped) != 6:
        wanted = "(observation, state, reward, terminated, truncated, info)"
        raise UserError(f"{where}: step returns {_told(stepped)}; must return {wanted}")
    _check_observation(f"{where}: step", stepped[0], environment.observation_space)
    if stepped[0].dtype != observation.dtype:
        raise UserError(f"{where}: step returns observations of {stepped[0].dtype}, reset of {observation.dtype}")
    if _signature(stepped[1]) != _signature(state):
        raise UserError(f"{where}: step returns a state of {_told(stepped[1])}; reset returns one of {_told(state)}")
    for part, kind in (("reward", jnp.floating), ("terminated", jnp.bool_), ("truncated", jnp.bool_)):
        value: Any = stepped[("reward", "terminated", "truncated").index(part) + 2]
        if getattr(value, "shape", None) != () or not jnp.issubdtype(value.dtype, kind):
            allowed = "one number, a float" if part == "reward" else "one bool"
            raise UserError(f"{where}: step returns as {part} {_told(value)}; must be {allowed}")
    _check_values(where, environment)


def _check_space(where: str, space: Space) -> None:
    if isinstance(space, Discrete):
        if isinstance(space.n, bool) or not isinstance(space.n, int | np.integer) or not 1 <= space.n <= MOST:
            raise UserError(f"{where}: {space} given; n must be a whole number, at least 1 and at most {MOST}")
    elif isinstance(space, Box):
        if not isinstance(space.shape, tuple) or any(not isinstance(size, int) or size < 1 for size in space.shape):
            raise UserError(f"{where}: {space} given; shape must be a tuple of whole numbers, at least 1")
        for bound in (space.low, space.high):
            if np.size(bound) not in (1, int(np.prod(space.shape))):
                raise UserError(f"{where}: {space} given; bounds must be one number, or one for each entry")
    else:
        raise UserError(f"{where}: {space!r} given; must be a Discrete or a Box of metaobj.common.environments")


def _shape_of(where: str, function: Callable[..., T], *arguments: Any) -> T:
    """Shapes and types of what a function returns, traced as JAX does when it compiles."""
    try:
        return jax.eval_shape(function, *arguments)
    except Exception as error:  # whatever a stranger's function raises
        line = " ".join(str(error).split())
        raise UserError(f"{where}: raises {type(error).__name__} where JAX traces it: {line:.200}") from error


def _check_observation(where: str, observation: Any, space: Space) -> None:
    shape = getattr(observation, "shape", None)
    if shape != space.shape:
        raise UserError(f"{where}: returns an observation of {_told(observation)}; its space is {space}")
    whole = jnp.issubdtype(observation.dtype, jnp.integer)
    if isinstance(space, Discrete) and not whole:
        raise UserError(f"{where}: returns an observation of {observation.dtype}; its space is {space}, whole numbers")
    number = whole or observation.dtype == bool or jnp.issubdtype(observation.dtype, jnp.floating)
    if not number:
        raise UserError(f"{where}: returns an observation of {observation.dtype}; its space is {space}")


def _bounded(space: Space) -> Space:
    """The same, or the unit cube where bounds are not finite: those are somebody else's to refuse."""
    if isinstance(space, Box) and not (np.all(np.isfinite(space.low)) and np.all(np.isfinite(space.high))):
        return Box(space.shape, -1.0, 1.0)
    return space


def _check_values(where: str, environment: Environment) -> None:
    """Uniform actions in a few worlds: observations and rewards are finite, and observations are in their space."""
    space, actions = environment.observation_space, _bounded(environment.action_space)

    def live(key: PRNGKey) -> tuple[jax.Array, jax.Array]:
        params_key, reset_key, key = jax.random.split(key, 3)
        params = sample_params(environment, params_key, ())
        first, state = environment.reset(reset_key, params)

        def step(carry: tuple[PyTree, jax.Array], key: PRNGKey) -> tuple[tuple[PyTree, jax.Array], tuple[Any, ...]]:
            state, over = carry
            action_key, step_key = jax.random.split(key)
            observation, state, reward, terminated, truncated, _ = environment.step(
                step_key, state, uniform_action(action_key, actions), params
            )
            # After an episode's end nothing is promised.
            seen = (jnp.where(over, first, observation), jnp.where(over, 0.0, reward))
            return (state, over | terminated | truncated), seen

        _, (later, rewards) = jax.lax.scan(step, (state, jnp.bool_(False)), jax.random.split(key, _STEPS))
        return jnp.concatenate([first[None], later]), rewards

    observations, rewards = map(np.asarray, jax.jit(jax.vmap(live))(jax.random.split(jax.random.key(0), _WORLDS)))
    if not np.isfinite(rewards).all():
        raise UserError(f"{where}: step returns a reward of {rewards[~np.isfinite(rewards)][0]}; must be finite")
    values = observations.reshape(-1, *space.shape)
    if not np.isfinite(values.astype(float)).all():
        raise UserError(f"{where}: observations with NaN or infinity are returned; must be finite")
    if isinstance(space, Discrete):
        low: Any = 0
        high: Any = space.n - 1
    else:
        # Whatever is computed in 32 bits may be beyond a bound by a little.
        low, high = (np.reshape(bound, space.shape if np.size(bound) > 1 else ()) for bound in (space.low, space.high))
        low, high = low - 1e-4 * (1 + np.abs(low)), high + 1e-4 * (1 + np.abs(high))
    if (odd := (values < low) | (values > high)).any():
        raise UserError(f"{where}: an observation of {values[odd][0]} is returned; its space is {space}")


def _signature(tree: PyTree) -> Any:
    return jax.tree.structure(tree), [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(tree)]


def _told(value: Any) -> str:
    """Shapes and types in few words."""
    if isinstance(value, jax.ShapeDtypeStruct):
        return f"shape {value.shape}, {value.dtype}"
    if isinstance(value, tuple):
        return f"{len(value)} values"
    leaves = [f"{leaf.dtype}{list(leaf.shape)}" for leaf in jax.tree.leaves(value)]
    return f"{type(value).__name__} with {', '.join(leaves) or 'nothing'}"
