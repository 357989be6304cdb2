"""Episodes of one agent at several ages, as pictures: what it does, and not only how much it earns."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image, ImageDraw

from metaobj.common.devices import quick_jit
from metaobj.common.environments.drawing import INK, LINE, PAPER, font
from metaobj.common.environments.protocol import time_limit
from metaobj.common.environments.scaled import ScaledActions
from metaobj.common.environments.viewer import render
from metaobj.common.evaluation.method import Method, Settings
from metaobj.common.evaluation.training import steps_after, summed
from metaobj.common.evaluation.wording import spaced
from metaobj.common.evaluation.worlds import draw_worlds
from metaobj.common.experience.rollout import Episodes
from metaobj.common.files import atomic_write
from metaobj.common.keys import stream
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth, Lifetime, Program
from metaobj.common.lifetimes.population import make_families
from metaobj.common.types import PRNGKey, PyTree

LONGEST = 1000
"""Steps of an episode that are played at most, where it has no shorter time limit."""
MAX_FRAMES = 150
"""Of each episode in the film; of a longer one every second, third, ... step is shown."""
COLUMNS = 6
"""Pictures of each episode on the sheet."""
_LINE, _GAP = 22, 8


@dataclass(frozen=True, eq=False)
class Episode:
    """One episode of the agent at an age."""

    age: float
    """Share of its life that is behind it."""
    env_steps: int
    """Likewise, in environment steps."""
    total: float
    """Undiscounted return."""
    length: int
    """Steps."""
    frames: tuple[np.ndarray, ...]
    """Pictures of states, the first and the last among them, uint8 [height, width, 3] each."""
    at: tuple[int, ...]
    """The steps that they show."""


class Played(NamedTuple):
    """Of N steps and one state more; nothing after the end counts."""

    states: PyTree  # [N + 1, ...]
    rewards: jax.Array  # [N]
    length: jax.Array  # [] steps of the episode


def watch(method: Method, entry: Entry, setting: Settings, ages: Sequence[float], seed: int = 0) -> tuple[Episode, ...]:
    """Let one fresh agent live, and play an episode of its world at each age.

    Args:
        method: what it learns by.
        entry: where, and for how long.
        setting: its hyperparameters.
        ages: shares of its life, rising.
        seed: of world and agent.

    Raises:
        UserError: agents of this method cannot live there.
    """
    family = make_families([entry], method.programs)[0]
    program = family.program
    key = jax.random.fold_in(stream(seed, "evaluation"), crc32(entry.environment.encode()))
    world_key, agent_key = jax.random.split(key)
    params = jax.tree.map(lambda leaf: leaf[0], draw_worlds(family, entry.environment, world_key, 1).params)
    updates = method.updates(entry, program)
    hyperparameters = {name: jnp.float32(value) for name, value in setting.items()}
    birth = Birth(params, hyperparameters, jnp.int32(updates))
    lifetime = _start(program, agent_key, birth)
    environment = program.environment
    inner = environment.inner if isinstance(environment, ScaledActions) else environment
    limit = min(time_limit(inner) or LONGEST, LONGEST)
    episodes, lived = [], 0
    for age in ages:
        target = round(age * updates)
        lifetime = _live(method.rule, program, method.weights, lifetime, jnp.int32(target - lived))
        lived = target
        played = jax.device_get(_play(program, limit, lifetime, params, stream(seed, "watch")))
        length = int(played.length)
        at = _shown(length)
        states = (jax.tree.map(lambda leaf, step=step: leaf[step], played.states) for step in at)
        frames = tuple(render(inner, state, jax.device_get(params)) for state in states)
        total = float(played.rewards[:length].sum())
        episodes.append(Episode(age, int(steps_after(program, lived)), total, length, frames, at))
    return tuple(episodes)


def _shown(length: int) -> tuple[int, ...]:
    """Every so many steps, and the last."""
    return (*range(0, length, -(-length // (MAX_FRAMES - 1))), length)


@quick_jit(static_argnums=0)
def _start(program: Program[Any, Any], key: PRNGKey, birth: Birth) -> Lifetime:
    return program.start(key, birth)


@quick_jit(static_argnums=(0, 1))
def _live(rule: Any, program: Program[Any, Any], weights: PyTree, lifetime: Lifetime, updates: jax.Array) -> Lifetime:
    def update(lifetime: Lifetime) -> tuple[Lifetime, Episodes]:
        lifetime, _, acted = program.update(rule, weights, lifetime)
        number, total = acted.episodes
        return lifetime, Episodes(number.astype(total.dtype), total)

    return summed(update, lifetime, updates)[0]


@quick_jit(static_argnums=(0, 1))
def _play(program: Program[Any, Any], steps: int, lifetime: Lifetime, params: PyTree, key: PRNGKey) -> Played:
    """One episode from a fresh start, the same at each age, cut after so many steps."""
    environment = program.environment
    policy = program.acting(lifetime)
    reset_key, noise_key, step_key = jax.random.split(key, 3)
    observation, first = environment.reset(reset_key, params)
    noise = policy.draw(noise_key, steps, observation[None])

    def step(carry: tuple[Any, ...], drawn: tuple[PyTree, PRNGKey]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        observation, state, ended = carry
        noise, key = drawn
        action = policy.act(observation[None], noise)[0]
        observation, state, reward, terminated, truncated, _ = environment.step(key, state, action, params)
        return (observation, state, ended | terminated | truncated), (state, reward, ~ended)

    _, (states, rewards, counts) = jax.lax.scan(
        step, (observation, first, jnp.bool_(False)), (noise, jax.random.split(step_key, steps))
    )
    states = jax.tree.map(lambda one, rest: jnp.concatenate([jnp.asarray(one)[None], rest]), first, states)
    return Played(states, rewards, jnp.sum(counts))


def film(path: Path, episodes: Sequence[Episode], title: str) -> None:
    """All episodes, one after the other, as a GIF; each one's last picture stays for a second.

    Raises:
        UserError: the file cannot be written.
    """
    shown = []  # (frame, the line below the title, milliseconds)
    for episode in episodes:
        steps = zip(episode.frames, episode.at, strict=True)
        shown += [(frame, f"{_age(episode)}: step {step}", 50) for frame, step in steps]
        shown.append((episode.frames[-1], f"{_age(episode)}: {_end(episode)}", 1000))
    width, height = _size(episodes)
    lines = (title, *(line for _, line, _ in shown))
    width = max(width, *(round(font(13).getlength(line)) + 2 * _GAP for line in lines))
    pictures = [_with_lines(frame, width, height, (title, line)).quantize(64) for frame, line, _ in shown]
    durations = [duration for _, _, duration in shown]
    image = io.BytesIO()
    pictures[0].save(image, "GIF", save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    atomic_write(path, image.getvalue())


def sheet(path: Path, episodes: Sequence[Episode], title: str) -> None:
    """A row of pictures for each age, evenly spread over its episode, as a PNG.

    Raises:
        UserError: the file cannot be written.
    """
    width, height = _size(episodes)
    row = height + 2 * _LINE + 2 * _GAP
    whole = Image.new("RGB", (COLUMNS * (width + _GAP) + _GAP, len(episodes) * row + 2 * _LINE), PAPER)
    draw = ImageDraw.Draw(whole)
    draw.text((_GAP, _GAP), title, fill=INK, font=font(16))
    for number, episode in enumerate(episodes):
        top = 2 * _LINE + number * row
        draw.text((_GAP, top), f"{_age(episode)}: {_end(episode)}", fill=INK, font=font(14))
        chosen = np.unique(np.linspace(0, len(episode.frames) - 1, COLUMNS).round().astype(int))
        for column, index in enumerate(chosen):
            frame, left = Image.fromarray(episode.frames[index]), _GAP + column * (width + _GAP)
            whole.paste(frame, (left, top + _LINE))
            corner = left + frame.width, top + _LINE + frame.height
            draw.rectangle((left - 1, top + _LINE - 1, *corner), outline=LINE)
            draw.text((left, corner[1] + 2), f"step {episode.at[index]}", fill=INK, font=font(12))
    image = io.BytesIO()
    whole.save(image, "PNG")
    atomic_write(path, image.getvalue())


def _size(episodes: Sequence[Episode]) -> tuple[int, int]:
    """Of the largest frame, (width, height)."""
    shapes = [frame.shape for episode in episodes for frame in episode.frames]
    return max(shape[1] for shape in shapes), max(shape[0] for shape in shapes)


def _with_lines(frame: np.ndarray, width: int, height: int, lines: Sequence[str]) -> Image.Image:
    """A frame in the middle of a picture of this width, with lines of text above it."""
    image = Image.new("RGB", (width, height + len(lines) * _LINE), PAPER)
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((_GAP, number * _LINE + _LINE / 2), line, fill=INK, font=font(13), anchor="lm")
    image.paste(Image.fromarray(frame), ((width - frame.shape[1]) // 2, len(lines) * _LINE))
    return image


def _age(episode: Episode) -> str:
    return f"after {spaced(episode.env_steps)} steps ({episode.age:.0%} of its life)"


def _end(episode: Episode) -> str:
    return f"return {episode.total:.4g} in {episode.length} steps"
