"""What a learned loss rewards, how far back, and whether it goes where the critic would."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.devices import quick_jit
from metaobj.common.experience.batches import Experience
from metaobj.common.files import make_folder, write_csv
from metaobj.common.keys import stream
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC
from metaobj.common.lifetimes.population import make_families
from metaobj.common.meta.objectives import Last, meta_loss
from metaobj.common.objectives.plugin import Inspection, Loaded
from metaobj.common.pictures.style import colours, new_figure, save_figure, set_title, style_panel
from metaobj.common.types import PRNGKey, PyTree
from metaobj.metagenrl.config import MetaGenRLTraining
from metaobj.metagenrl.meta_loss import meta_off_policy
from metaobj.metagenrl.objective import MetaGenRL

_REWARDS = (-2.0, 0.0, 2.0)
"""Of the step that is looked at, in standard deviations of the batch's."""
_AT = 5
"""The step that is looked at."""


@dataclass(frozen=True)
class Size:
    """How much is looked at."""

    windows: int = 64
    """Random windows around what is looked at."""
    cells: int = 21
    """Actions along each axis of the grids."""
    agents: int = 4
    """Fresh agents whose lifetimes are followed."""
    updates: int = 400
    """Updates of those."""


class Life(NamedTuple):
    """Fresh agents by the frozen objective, [updates, agents] each."""

    cosine: np.ndarray  # between the learned update and the critic's
    saturation: np.ndarray  # share of actions beyond 0.99
    reward: np.ndarray  # per environment step


def typical(key: PRNGKey, windows: int, steps: int = 20) -> tuple[jax.Array, Experience]:
    """Windows of one action dimension in which nothing is special: (the policy's actions, what else is known).

    Values are what a critic sees that predicts the rewards well: a random walk with rewards as its steps.
    """
    keys = jax.random.split(key, 4)
    reward = jax.random.normal(keys[0], (steps, windows))
    values = jnp.cumsum(0.3 * jax.random.normal(keys[1], (steps + 1, windows)), axis=0)
    policy = jnp.tanh(0.7 * jax.random.normal(keys[2], (steps, windows, 1)))
    taken = jnp.clip(policy + 0.3 * jax.random.normal(keys[3], policy.shape), -1.0, 1.0)
    return policy, Experience(
        action=taken,
        reward=reward,
        valid=jnp.ones(reward.shape, bool),
        values=values[:-1],
        next_values=values[1:],
        discount=jnp.asarray(0.95),
    )


def pushes(objective: MetaGenRL, eta: PyTree, size: Size, key: PRNGKey) -> tuple[np.ndarray, np.ndarray]:
    """(actions [C], push [rewards, C, C]): where the loss sends the policy's action, by reward and both actions.

    A push is minus the gradient with respect to pi(s_t), as a share of the largest; positive: towards larger actions.
    """
    policy, known = typical(key, size.windows)
    cells = jnp.linspace(-1.0, 1.0, size.cells)

    def one(reward: jax.Array, taken: jax.Array, action: jax.Array) -> jax.Array:
        there = known._replace(reward=known.reward.at[_AT, 0].set(reward), action=known.action.at[_AT, 0, 0].set(taken))
        actions = policy.at[_AT, 0, 0].set(action)
        gradient = jax.grad(lambda a: objective.loss(eta, a, there, jnp.zeros(a.shape[:-1])))(actions)
        return -gradient[_AT, 0, 0]

    grid = jax.vmap(jax.vmap(jax.vmap(one, (None, None, 0)), (None, 0, None)), (0, None, None))
    push = np.asarray(jax.jit(grid)(jnp.asarray(_REWARDS), cells, cells))
    return np.asarray(cells), push / np.abs(push).max()


def reach(objective: MetaGenRL, eta: PyTree, size: Size, key: PRNGKey) -> np.ndarray:
    """[T] how much the push at a step answers to the reward k steps later, as a share of the largest."""
    policy, known = typical(key, size.windows)
    steps = policy.shape[0]

    def push(rewards: jax.Array, at: jax.Array) -> jax.Array:
        there = known._replace(reward=rewards)
        return jax.grad(lambda a: objective.loss(eta, a, there, jnp.zeros(a.shape[:-1])))(policy)[at, :, 0]

    def answer(at: jax.Array) -> jax.Array:
        # Each window answers to its own rewards (and a little to all, through the batch's moments).
        _, change = jax.jvp(
            lambda r: push(r, jnp.int32(0)), (known.reward,), (jnp.zeros_like(known.reward).at[at].set(1.0),)
        )
        return jnp.mean(jnp.abs(change))

    answers = np.asarray(jax.jit(jax.vmap(answer))(jnp.arange(steps)))
    return answers / answers.max()


def follow(loaded: Loaded[MetaGenRLTraining, MetaGenRL], size: Size, key: PRNGKey) -> Life:
    """Train fresh agents in the first environment that the objective was trained on, and watch."""
    objective, eta, config = loaded.objective, loaded.eta, loaded.config
    entry = replace(loaded.environments()[0], lifetimes=1, updates=size.updates, agent=ACTOR_CRITIC, split="any")
    meta = replace(config.meta, warm_start=0)  # the critic teaches in meta-training alone
    maker = meta_off_policy(rollout_steps=config.rollout_steps, discount=config.discount, agent=config.agent, meta=meta)
    (family,) = make_families([entry], maker)
    program = family.program
    setting = {name: jnp.float32(value) for name, value in loaded.settings[0].items()}

    def one(key: PRNGKey) -> tuple[jax.Array, ...]:
        world_key, life_key = jax.random.split(key)
        lifetime = family.start(world_key, life_key, setting, size.updates)

        def update(lifetime: Any, nothing: None) -> tuple[Any, tuple[jax.Array, ...]]:
            lifetime, metrics = meta_loss(Last(), program, objective, 1, eta, lifetime, jnp.int32(0))[1]
            return lifetime, (metrics["cosine"], metrics["saturation"], metrics["reward"])

        return jax.lax.scan(update, lifetime, None, length=size.updates)[1]

    seen = quick_jit()(jax.vmap(one, out_axes=1))(jax.random.split(key, size.agents))
    return Life(*map(np.asarray, seen))


def inspect(loaded: Loaded[MetaGenRLTraining, MetaGenRL], folder: str | Path, size: Size | None = None) -> Inspection:
    """Draw what the loss does: loss.png, lifetime.png, and inspection.csv with the numbers behind them."""
    objective, eta, size = loaded.objective, loaded.eta, size or Size()
    folder = Path(folder)
    make_folder(folder)
    keys = jax.random.split(stream(0, "inspection"), 3)
    life = follow(loaded, size, keys[2])  # first: the file may name what cannot be made
    cells, push = pushes(objective, eta, size, keys[0])
    answers = reach(objective, eta, size, keys[1])
    paths = [folder / name for name in ("loss.png", "lifetime.png", "inspection.csv")]
    _draw_loss(paths[0], cells, push, answers)
    _draw_life(paths[1], life, loaded.entries[0].environment)
    rows: list[tuple[object, ...]] = [("answer_to_later_reward", k, value) for k, value in enumerate(answers)]
    for name, values in life._asdict().items():
        rows += [(name, update, value) for update, value in enumerate(values.mean(1))]
    write_csv(paths[2], ("quantity", "at", "value"), rows)
    return Inspection(paths)


def _draw_loss(path: Path, cells: np.ndarray, push: np.ndarray, answers: np.ndarray) -> None:
    figure = new_figure(12.5, 3.6)
    panels = figure.subplots(1, len(_REWARDS) + 1, width_ratios=[1] * len(_REWARDS) + [1.3])
    extent = (-1.0, 1.0, -1.0, 1.0)
    for panel, reward, grid in zip(panels, _REWARDS, push, strict=False):
        image = panel.imshow(grid, origin="lower", extent=extent, cmap="RdBu_r", vmin=-1, vmax=1, aspect="equal")
        panel.plot(extent[:2], extent[:2], color="#555555", linewidth=0.8, linestyle=":")
        title = "reward as usual" if reward == 0 else f"reward {reward:+.0f} std"
        style_panel(panel, title=title, x_label="policy's action", y_label="action taken", grid_axis=None)
    bar = figure.colorbar(image, ax=list(panels[: len(_REWARDS)]), shrink=0.9, pad=0.02)
    style_panel(bar.ax, y_label="push on the policy's action", grid_axis=None)
    panels[-1].bar(np.arange(len(answers)), answers, color=colours(1)[0])
    style_panel(panels[-1], title="answer to a later reward", x_label="steps later", y_label="share of the largest")
    set_title(figure, "What the learned loss does with an action", "red: towards larger actions, blue: smaller")
    save_figure(figure, path)


def _draw_life(path: Path, life: Life, environment: str) -> None:
    figure = new_figure(11.0, 3.2)
    panels = figure.subplots(1, 3)
    names = ("cosine with the critic's direction", "share of saturated actions", "reward per step")
    for panel, name, values, colour in zip(panels, names, life, colours(3), strict=True):
        width = max(1, len(values) // 20)
        smooth = np.stack([np.convolve(column, np.ones(width) / width, mode="valid") for column in values.T], 1)
        updates = np.arange(len(smooth)) + width // 2
        panel.plot(updates, smooth, color=colour, linewidth=0.8, alpha=0.35)
        panel.plot(updates, smooth.mean(1), color=colour, linewidth=2)
        style_panel(panel, title=name, x_label="updates")
    panels[0].axhline(0.0, color="#555555", linewidth=0.8)
    panels[1].set_ylim(bottom=0.0)
    set_title(figure, f"Fresh agents on {environment}", "thin: single agents, thick: their mean; moving averages")
    save_figure(figure, path)
