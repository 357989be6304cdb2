"""T steps on B environments, with resets, and what happened to the episodes on the way."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.environments.protocol import Environment
from metaobj.common.experience.draw_ahead import split_off_noise
from metaobj.common.types import PRNGKey, PyTree, Rollout


@struct.dataclass
class Worlds:
    """B environments in mid-episode."""

    state: PyTree  # [B, ...]
    observation: jax.Array  # [B, *observation shape]
    episode_return: jax.Array  # [B] sum of the rewards of the episode so far


class Policy(NamedTuple):
    """How a batch of environments is acted in."""

    draw: Callable[[PRNGKey, int, jax.Array], PyTree]
    """(key, T, an observation [B, ...]) to the noise of T steps, [T, B, ...]."""
    act: Callable[[jax.Array, PyTree], jax.Array]
    """(observation [B, ...], one step's noise) to actions [B, ...]."""


def sampled(logits: Callable[[jax.Array], jax.Array]) -> Policy:
    """Discrete actions with the probabilities that `logits` gives: observations [B, ...] to [B, A]."""

    def draw(key: PRNGKey, steps: int, observation: jax.Array) -> jax.Array:
        shape = jax.eval_shape(logits, observation)
        return jax.random.gumbel(key, (steps, *shape.shape), shape.dtype)

    return Policy(draw, lambda observation, gumbel: jnp.argmax(logits(observation) + gumbel, axis=-1))


class Episodes(NamedTuple):
    """Episodes that ended within a rollout."""

    number: jax.Array  # [] how many
    total_return: jax.Array  # [] sum of their undiscounted returns


class Acted(NamedTuple):
    """What an update's environment steps showed."""

    reward: jax.Array  # [] mean per environment step
    episodes: Episodes  # that ended


def reset(key: PRNGKey, environment: Environment, params: PyTree, batch: int) -> Worlds:
    """Start an episode in each of `batch` environments with the same `params`."""
    observation, state = jax.vmap(environment.reset, (0, None))(jax.random.split(key, batch), params)
    return Worlds(state=state, observation=observation, episode_return=jnp.zeros(batch))


def rollout(
    key: PRNGKey,
    environment: Environment,
    params: PyTree,
    worlds: Worlds,
    policy: Policy,
    steps: int,
) -> tuple[Worlds, Rollout, Episodes]:
    """Act for `steps` steps; an ended episode is followed by a new one.

    Args:
        policy: how to act. Stop its gradients: actions are sampled.

    Returns:
        The environments after the last step, the steps [T, B, ...], and the episodes that ended.
    """
    batch = worlds.episode_return.shape[0]
    action_key, step_key, reset_key = jax.random.split(key, 3)
    # All noise is drawn at once: within the scan, drawing it would be most of the cost of a small world.
    noise = policy.draw(action_key, steps, worlds.observation)  # [T, B, ...]
    actions = jax.eval_shape(policy.act, worlds.observation, jax.tree.map(lambda leaf: leaf[0], noise))
    an_action = jax.ShapeDtypeStruct(actions.shape[1:], actions.dtype)
    step_keys = jax.random.split(step_key, (steps, batch))
    reset_keys = jax.random.split(reset_key, (steps, batch))
    one_state = jax.tree.map(lambda leaf: leaf[0], worlds.state)
    draw, move = split_off_noise(environment.step, step_key, one_state, an_action, params)
    step_noise = jax.vmap(jax.vmap(draw))(step_keys)  # [T, B, ...]
    firsts = jax.vmap(jax.vmap(environment.reset, (0, None)), (0, None))(reset_keys, params)  # [T, B, ...]

    def step(worlds: Worlds, noise: tuple[PyTree, PyTree, PyTree]) -> tuple[Worlds, tuple[Rollout, Episodes]]:
        action_noise, step_noise, (first_observation, first_state) = noise
        action = policy.act(worlds.observation, action_noise)  # [B, ...]
        next_observation, state, reward, terminated, truncated, _ = jax.vmap(move, (0, 0, 0, None))(
            step_noise, worlds.state, action, params
        )
        truncated = truncated & ~terminated
        ended = terminated | truncated

        def choose(first: jax.Array, later: jax.Array) -> jax.Array:
            return jnp.where(ended.reshape(ended.shape + (1,) * (later.ndim - 1)), first, later)

        episode_return = worlds.episode_return + reward
        after = Worlds(
            state=jax.tree.map(choose, first_state, state),
            observation=choose(first_observation, next_observation),
            episode_return=jnp.where(ended, 0.0, episode_return),
        )
        transition = Rollout(worlds.observation, action, reward, terminated, truncated, next_observation)
        return after, (transition, Episodes(jnp.sum(ended), jnp.sum(jnp.where(ended, episode_return, 0.0))))

    worlds, (steps_taken, episodes) = jax.lax.scan(step, worlds, (noise, step_noise, firsts))
    return worlds, steps_taken, Episodes(*jax.tree.map(jnp.sum, episodes))
