"""What fresh agents do and what their rule says of itself, over their lives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from zlib import crc32

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.ticker import EngFormatter

from metaobj.common.devices import quick_jit
from metaobj.common.evaluation.method import Method, Settings
from metaobj.common.evaluation.training import filled, steps_after, summed, updates_by_bin
from metaobj.common.evaluation.worlds import draw_worlds
from metaobj.common.experience.rollout import Episodes
from metaobj.common.files import write_csv
from metaobj.common.keys import stream
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth, Lifetime, Program
from metaobj.common.lifetimes.population import make_families
from metaobj.common.pictures.style import COLOURS, grid_of_panels, save_figure, set_title, style_panel
from metaobj.common.types import Metrics, PRNGKey, PyTree

REWARD = "reward"
"""Per environment step."""
RETURN = "episode_return"
"""Mean of the episodes that ended in a bin, or in the last one in which any did."""


@dataclass(frozen=True, eq=False)
class Followed:
    """What L agents showed in each bin of their lives."""

    env_steps: np.ndarray  # [bins] of one agent by the end of the bin
    values: Mapping[str, np.ndarray]  # {name: [L, bins]}, reward and return first; means over the bin's updates


def follow(method: Method, entry: Entry, setting: Settings, agents: int, bins: int = 100, seed: int = 0) -> Followed:
    """Let fresh agents live by a method, each in a world of its own where worlds differ.

    Args:
        method: what they learn by.
        entry: where, and for how long.
        setting: their hyperparameters.
        agents: L.
        bins: points of a curve, at most one for each update.
        seed: of worlds and agents.

    Raises:
        UserError: agents of this method cannot live there.
    """
    family = make_families([entry], method.programs)[0]
    key = jax.random.fold_in(stream(seed, "evaluation"), crc32(entry.environment.encode()))
    worlds_key, agents_key = jax.random.split(key)
    worlds = draw_worlds(family, entry.environment, worlds_key, agents)
    updates = method.updates(entry, family.program)
    ends = updates_by_bin(updates, min(bins, updates))
    hyperparameters = {name: jnp.float32(value) for name, value in setting.items()}
    live = partial(_live, method.rule, family.program, method.weights, hyperparameters)
    shown, *episodes = live(worlds.params, jax.random.split(agents_key, agents), jnp.diff(jnp.asarray(ends), prepend=0))
    values = {name: np.asarray(value) for name, value in shown.items()}
    returns = filled(*(np.asarray(value) for value in episodes))
    return Followed(steps_after(family.program, ends), {REWARD: values.pop(REWARD), RETURN: returns, **values})


@quick_jit(static_argnums=(0, 1))
def _live(
    rule: Any,
    program: Program[Any, Any],
    weights: PyTree,
    hyperparameters: Mapping[str, jax.Array],
    params: PyTree,
    keys: PRNGKey,
    lengths: jax.Array,  # [bins] updates in each
) -> tuple[Metrics, jax.Array, jax.Array, jax.Array]:
    """Means of what was shown, sum of returns and number of the episodes that ended, the running episodes' return so
    far: [L, bins] each.
    """

    def one(key: PRNGKey, params: PyTree) -> tuple[Metrics, jax.Array, jax.Array, jax.Array]:
        lifetime = program.start(key, Birth(params, dict(hyperparameters), jnp.sum(lengths)))

        def update(lifetime: Lifetime) -> tuple[Lifetime, tuple[Metrics, Episodes]]:
            lifetime, about, acted = program.update(rule, weights, lifetime)
            return lifetime, ({**about, REWARD: acted.reward}, acted.episodes)

        def one_bin(lifetime: Lifetime, length: jax.Array) -> tuple[Lifetime, tuple[Any, ...]]:
            lifetime, (total, episodes) = summed(update, lifetime, length)
            means = jax.tree.map(lambda leaf: leaf / length, total)
            running = jnp.mean(lifetime.worlds.episode_return)
            return lifetime, (means, episodes.total_return, episodes.number, running)

        return jax.lax.scan(one_bin, lifetime, lengths)[1]

    return jax.vmap(one)(keys, params)


def draw(path: Path, followed: Followed, title: str, names: Sequence[str] = ()) -> None:
    """A panel for each quantity, or for those named: every agent faintly, their median in full.

    Raises:
        UserError: the file cannot be written.
    """
    wanted = [name for name in followed.values if not names or name in names]
    figure, panels = grid_of_panels(len(wanted), width=3.6, height=2.4, max_columns=3)
    for panel, name in zip(panels, wanted, strict=True):
        values = followed.values[name]
        finite = np.where(np.isfinite(values), values, np.nan)
        panel.plot(followed.env_steps, finite.T, color=COLOURS[0], linewidth=0.6, alpha=0.3)
        panel.plot(followed.env_steps, np.nanmedian(finite, 0), color=COLOURS[0], linewidth=2)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        panel.ticklabel_format(axis="y", useOffset=False)
        label = {REWARD: "reward per step", RETURN: "return per episode"}.get(name, name.strip("_").replace("_", " "))
        style_panel(panel, label, "environment steps")
    agents = next(iter(followed.values.values())).shape[0]
    set_title(figure, title, f"{agents} agents, each a thin line; their median a thick one")
    save_figure(figure, path)


def slug(name: str) -> str:
    """A method's name as a file's."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def write(path: Path, followed: Followed) -> None:
    """A line of CSV for each agent and bin.

    Raises:
        UserError: the file cannot be written.
    """
    names = list(followed.values)
    agents = followed.values[names[0]].shape[0]
    rows = (
        (agent, steps, *(followed.values[name][agent, at] for name in names))
        for agent in range(agents)
        for at, steps in enumerate(followed.env_steps)
    )
    write_csv(path, ("agent", "env_steps", *names), rows)
