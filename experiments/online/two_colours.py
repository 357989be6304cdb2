"""Two colours: which of two objects pays changes now and then, and exploring must be learnt again.

    python -m experiments.online.two_colours

A grid of 5 x 5, an agent and two objects, one worth 1 and one -1; what is taken appears on another free cell, each
other step costs 0.04, and at every swap of worths all that was learnt is wrong. Nothing ever ends. A network tunes the
agents' entropy weight by what they earned of late (Flennerhag et al. 2022, "Bootstrapped Meta-Learning", section 5.1):
towards where further updates lead (BMG), by meta-gradients through as many updates in all (MG), or not at all. A
reduced size: networks of 64 units, 8 environments and a life of 20 phases where the paper has 256, 1 and 64; the
learning rate is three times the paper's for an eighth of the updates.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import struct
from matplotlib.ticker import EngFormatter
from rich.console import Console
from rich.table import Table

from experiments.intervals import band, told
from experiments.script import run_script
from metaobj.common.agents.agent import AgentConfig
from metaobj.common.devices import use_all_cores
from metaobj.common.environments.protocol import Box, Discrete
from metaobj.common.evaluation import follow
from metaobj.common.files import make_folder, write_csv
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.meta.objectives import Bootstrapped, Last
from metaobj.common.pictures.style import COLOURS, grid_of_panels, save_figure, set_title, style_panel
from metaobj.common.rules.bounded import Bounded
from metaobj.common.types import PRNGKey
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.methods import OnlineMethod
from metaobj.selftuning.recent import RecentRewards
from metaobj.selftuning.rule import Numbers

SIZE, CELLS = 5, 25
ENVIRONMENTS, ROLLOUT = 8, 16
K, L = 7, 9
UPDATES = K + L - 1
PHASE = 50 * UPDATES * ROLLOUT
"""Steps of each environment between swaps; of all together 96 000."""
BINS_OF_A_PHASE = 10
_MOVES = np.array([(0, 1), (0, -1), (1, 0), (-1, 0)])


@struct.dataclass
class State:
    """Where everything is."""

    cells: jax.Array  # [3] int32, of the agent and the two objects
    time: jax.Array  # [] int32


@dataclass(frozen=True)
class TwoColours:
    """See above; observations are one-hot columns and rows of the three."""

    @property
    def observation_space(self) -> Box:
        return Box((6 * SIZE,), 0.0, 1.0)

    @property
    def action_space(self) -> Discrete:
        return Discrete(len(_MOVES))

    def _observe(self, cells: jax.Array) -> jax.Array:
        places = jnp.stack([cells % SIZE, cells // SIZE])  # [2, 3]
        return jax.nn.one_hot(places, SIZE).reshape(-1)

    def reset(self, key: PRNGKey, params: Any) -> tuple[jax.Array, State]:
        cells = jax.random.permutation(key, CELLS)[:3].astype(jnp.int32)
        return self._observe(cells), State(cells, jnp.int32(0))

    def step(self, key: PRNGKey, state: State, action: jax.Array, params: Any) -> tuple[Any, ...]:
        agent, *objects = state.cells
        place = jnp.stack([agent % SIZE, agent // SIZE]) + jnp.asarray(_MOVES)[action]
        column, row = jnp.clip(place, 0, SIZE - 1)
        cell = row * SIZE + column
        taken = jnp.stack([cell == one for one in objects])  # [2]
        sign = jnp.where((state.time // PHASE) % 2 == 0, 1.0, -1.0)
        reward = jnp.where(taken.any(), jnp.where(taken[0], sign, -sign), -0.04)
        # What was taken appears where neither the agent nor the other object is.
        occupied = jnp.zeros(CELLS, bool).at[jnp.stack([cell, *objects])].set(True)
        free = jax.random.categorical(key, jnp.where(occupied, -jnp.inf, 0.0)).astype(jnp.int32)
        cells = jnp.concatenate([cell[None], jnp.where(taken, free, jnp.stack(objects))]).astype(jnp.int32)
        return self._observe(cells), State(cells, state.time + 1), reward, False, False, {}


COLOURED = TwoColours()


def _agent(agent: AgentConfig) -> AgentConfig:
    return replace(agent, optimiser="sgd", apart=("value",))


def _fixed(value: float) -> Bounded:
    return Bounded(value, tuned=False)


def method(name: str, entropy: Bounded, **how: Any) -> OnlineMethod:
    """One of those that are compared; by default judged by policy gradients alone, as BMG's target is."""
    numbers = Numbers(discount=_fixed(0.99), lambda_=_fixed(1.0), value_weight=_fixed(0.5), entropy_weight=entropy)
    outer = Outer(lambda_=1.0, entropy_weight=how.pop("outer_entropy", 0.0))
    return OnlineMethod(name, RecentRewards(numbers, outer), {"gradient_clip": 0.0, **how}, agent=_agent)


_TUNED = Bounded(0.1)
METHODS = (
    method("A2C, 0.03", _fixed(0.03)),
    method("A2C, 0.1", _fixed(0.1)),
    method("A2C, 0.3", _fixed(0.3)),
    method("MG", _TUNED, meta_objective=Last(), inner_updates=UPDATES, outer_entropy=0.12),
    method(
        "BMG",
        _TUNED,
        meta_objective=Bootstrapped(L, by="rule", goes_on="target"),
        inner_updates=K,
    ),
)


@dataclass(frozen=True)
class Arguments:
    """Two colours."""

    seeds: int = 12
    """Agents of each method."""
    phases: int = 20
    """Between swaps; the life is so many times 96 000 steps."""
    learning_rate: float = 0.3
    meta_learning_rate: float = 1e-3
    out: Path = Path("experiments/results/online/two_colours")
    """Folder of the table and the picture."""


def main() -> None:
    """Run all methods; table, CSV file, picture."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    updates = arguments.phases * PHASE // ROLLOUT
    agent = AgentConfig("dense", (64, 64))
    entry = Entry("experiments.online.two_colours:COLOURED", 1, ENVIRONMENTS, updates, split="any", agent=agent)
    setting = {"learning_rate": arguments.learning_rate, "meta_learning_rate": arguments.meta_learning_rate}
    rewards, weights = {}, {}
    for each in METHODS:
        bins = arguments.phases * BINS_OF_A_PHASE
        seen = follow.follow(each.method(ROLLOUT), entry, setting, arguments.seeds, bins)
        rewards[each.name], weights[each.name] = seen.values["reward"], seen.values["entropy_weight"]
    steps = ENVIRONMENTS * PHASE
    names = ("Reward per step [95 %]", "in the last half", "after a swap", "before the next", "Entropy weight")
    table = Table("Agents", *names)
    rows = []
    for name, reward in rewards.items():
        by_phase = reward.reshape(arguments.seeds, arguments.phases, BINS_OF_A_PHASE)
        late = by_phase[:, arguments.phases // 2 :]
        table.add_row(
            name,
            told(reward.mean(1), 3),
            f"{late.mean():.3f}",
            f"{late[..., 0].mean():.3f}",
            f"{late[..., -1].mean():.3f}",
            f"{np.median(weights[name][:, -1]):.3f}",
        )
        rows += [(name, seed, reward[seed].mean(), late[seed].mean()) for seed in range(arguments.seeds)]
    make_folder(arguments.out)
    write_csv(arguments.out / "agents.csv", ("method", "seed", "reward", "late_reward"), rows)
    _draw(arguments.out / "two_colours.png", rewards, weights, arguments, steps)
    Console(width=120).print(table)


def _draw(
    path: Path, rewards: dict[str, np.ndarray], weights: dict[str, np.ndarray], arguments: Arguments, steps: int
) -> None:
    """What was earned in all, and rewards and entropy weights over a phase, in the mean of the last half of phases."""
    figure, panels = grid_of_panels(3, width=4.2, height=3.0, max_columns=3)
    bins = np.arange(1, arguments.phases * BINS_OF_A_PHASE + 1) * steps / BINS_OF_A_PHASE
    within = (np.arange(BINS_OF_A_PHASE) + 0.5) * steps / BINS_OF_A_PHASE
    for name, colour in zip(rewards, COLOURS, strict=False):
        total = np.cumsum(rewards[name], 1) * steps / BINS_OF_A_PHASE
        band(panels[0], bins, total, colour, label=name)
        for panel, values in zip(panels[1:], (rewards[name], weights[name]), strict=True):
            by_phase = values.reshape(arguments.seeds, arguments.phases, BINS_OF_A_PHASE)
            late = by_phase[:, arguments.phases // 2 :].mean(1)  # [seeds, bins of a phase]
            band(panel, within, late, colour, marker="o", markersize=3)
    for panel, title, across in zip(
        panels,
        ("reward in all", "reward per step", "entropy weight"),
        ("environment steps", "steps since the swap", "steps since the swap"),
        strict=True,
    ):
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        style_panel(panel, title, across)
    panels[0].yaxis.set_major_formatter(EngFormatter(sep=""))
    panels[0].legend(frameon=False)
    told = f"means of {arguments.seeds} agents with 95 % intervals; middle and right: the second half of their lives"
    set_title(figure, "Two colours", told)
    save_figure(figure, path)


if __name__ == "__main__":
    run_script(main)
