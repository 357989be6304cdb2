"""T steps on B environments, with resets, and what happened to the episodes on the way."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.environments.protocol import Environment
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

    def act(observation: jax.Array, gumbel: jax.Array) -> jax.Array:
        return jnp.argmax(logits(observation) + gumbel, axis=-1).astype(jnp.int32)  # with 64-bit types on, too

    return Policy(draw, act)


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


STEPS_PER_START = 16
"""A rollout draws one fresh start for so many of its steps, and at least `FEWEST_STARTS`."""
FEWEST_STARTS = 4


def rollout(
    key: PRNGKey,
    environment: Environment,
    params: PyTree,
    worlds: Worlds,
    policy: Policy,
    steps: int,
) -> tuple[Worlds, Rollout, Episodes]:
    """Act for `steps` steps; an ended episode is followed by a new one.

    A reset may cost as much as a step, and a vmapped program cannot leave out those that it does not need. So each
    rollout draws a few fresh starts, and every new episode takes one of them at random: its distribution is that of a
    reset, and rarely two episodes of one rollout begin alike.

    Args:
        key: of all that is drawn.
        environment: what is acted in.
        params: its parameters, the same for all B environments.
        worlds: B environments in mid-episode.
        policy: how to act. Stop its gradients: actions are sampled.
        steps: T.

    Returns:
        The environments after the last step, the steps [T, B, ...], and the episodes that ended.
    """
    batch = worlds.episode_return.shape[0]
    action_key, step_key, start_key, choice_key = jax.random.split(key, 4)
    noise = policy.draw(action_key, steps, worlds.observation)  # [T, B, ...], at once: cheaper than step by step
    step_keys = jax.random.split(step_key, (steps, batch))
    number = max(FEWEST_STARTS, -(-steps * batch // STEPS_PER_START))
    starts = jax.vmap(environment.reset, (0, None))(jax.random.split(start_key, number), params)
    choices = jax.random.randint(choice_key, (steps, batch), 0, number)

    def step(worlds: Worlds, drawn: tuple[PyTree, PRNGKey, jax.Array]) -> tuple[Worlds, tuple[Rollout, Episodes]]:
        noise, keys, choice = drawn
        action = policy.act(worlds.observation, noise)  # [B, ...]
        next_observation, state, reward, terminated, truncated, _ = jax.vmap(environment.step, (0, 0, 0, None))(
            keys, worlds.state, action, params
        )
        truncated = truncated & ~terminated
        ended = terminated | truncated
        first_observation, first_state = jax.tree.map(lambda leaf: leaf[choice], starts)

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

    worlds, (steps_taken, episodes) = jax.lax.scan(step, worlds, (noise, step_keys, choices))
    return worlds, steps_taken, Episodes(*jax.tree.map(jnp.sum, episodes))
