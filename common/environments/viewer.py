"""Pictures of environments: one state as an image, an episode as a GIF."""

import io
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from metaobj.common.environments.drawing import render_array
from metaobj.common.environments.protocol import Drawable, Environment
from metaobj.common.files import atomic_write
from metaobj.common.types import PRNGKey, PyTree

MAX_FRAMES = 400
"""A GIF shows at most so many steps."""


def render(environment: Environment, state: PyTree, params: PyTree) -> np.ndarray:
    """One state (no leading axes) as an uint8 image [height, width, 3]: the environment's own picture of it, or its
    numbers, see `drawing.render_array`.
    """
    if isinstance(environment, Drawable):
        return environment.render(state, params)
    return render_array(np.concatenate([np.ravel(leaf).astype(float) for leaf in jax.tree.leaves(state)]))


def episode_gif(
    environment: Environment,
    params: PyTree,
    policy: Callable[[jax.Array], jax.Array],
    key: PRNGKey,
    path: str | Path,
) -> float:
    """Play one episode, write it as a GIF, and return its undiscounted return.

    Args:
        environment: the environment.
        params: of one world, without leading axes.
        policy: observations [1, ...] to action logits [1, A], from which actions are sampled.
        key: of the episode.
        path: of the file to write.

    Raises:
        UserError: the file cannot be written.
    """

    @jax.jit
    def step(key: PRNGKey, state: PyTree, observation: jax.Array) -> tuple:
        action_key, step_key = jax.random.split(key)
        action = jax.random.categorical(action_key, policy(observation[None])[0])
        observation, state, reward, terminated, truncated, _ = environment.step(step_key, state, action, params)
        return observation, state, reward, terminated | truncated

    def frame(state: PyTree, observation: jax.Array) -> Image.Image:
        pixels = render(environment, state, params) if isinstance(environment, Drawable) else render_array(observation)
        return Image.fromarray(pixels).quantize(64)

    key, reset_key = jax.random.split(key)
    observation, state = jax.jit(environment.reset)(reset_key, params)
    frames, total, ended = [frame(state, observation)], 0.0, False
    while not ended:
        key, step_key = jax.random.split(key)
        observation, state, reward, ended = step(step_key, state, observation)
        total += float(reward)
        if len(frames) < MAX_FRAMES:
            frames.append(frame(state, observation))
    image = io.BytesIO()
    frames[0].save(image, "GIF", save_all=True, append_images=frames[1:], duration=120, loop=0)
    atomic_write(path, image.getvalue())
    return total
