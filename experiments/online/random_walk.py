"""Learnt returns on a random walk whose rewards turn over: FRODO against fixed TD(lambda).

    python -m experiments.online.random_walk

Five states in a row; a walk starts in the middle and goes left or right at random until it falls off, and then anew.
The right end pays 1 and the left one -1, and every 960 steps they change signs (after Xu et al. 2020, section 4.2).
Values learn from rollouts of 16 steps: towards TD(lambda) returns, at the best of many pairs of lambda and learning
rate, or towards returns that an LSTM gives, tuned online by how well the values foretell what comes next.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from flax import struct
from rich.console import Console
from rich.table import Table

from experiments.intervals import band, told
from experiments.script import run_script
from metaobj.common.agents.agent import Heads, Learner
from metaobj.common.agents.tabular import TabularAgent
from metaobj.common.devices import quick_jit, use_all_cores
from metaobj.common.experience.batches import Batch
from metaobj.common.files import make_folder, write_csv
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.meta.online import META_LEARNING_RATE, Online
from metaobj.common.pictures.style import COLOURS, grid_of_panels, save_figure, set_title, style_panel
from metaobj.common.rules.bounded import Bounded
from metaobj.common.rules.on_policy import LearnedObjective
from metaobj.common.types import Hyperparameters, Metrics, PRNGKey, PyTree, Rollout
from metaobj.selftuning.frodo import Frodo
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.rule import Numbers, SelfTuning

STATES, MIDDLE = 5, 2
ROLLOUT = 16
PHASE = 60
"""Updates between turns, 960 steps."""
TRUTH = (jnp.arange(STATES) + 1.0) / 3.0 - 1.0
"""Values while the right end pays 1: the chance of falling off there, less that of falling off on the left."""
_VALUES = TabularAgent(STATES, (("policy", 2), ("value", 1)))


@struct.dataclass
class Life:
    """What learning to foretell needs of a lifetime."""

    key: PRNGKey
    hyperparameters: Hyperparameters
    values: Learner
    place: jax.Array  # [] int32
    updates: jax.Array  # [] int32

    @property
    def own(self) -> PyTree:
        return self.values


@dataclass(frozen=True)
class Walk:
    """See `common.lifetimes.lifetime.MetaProgram`: values of states learn by a rule's targets, and no one acts."""

    environment: Any = None

    first_steps = 0

    def steps_per_meta_update(self, gathers: int) -> int:
        return ROLLOUT * gathers

    def start(self, key: PRNGKey, birth: Birth) -> Life:
        return Life(key, birth.hyperparameters, _VALUES.init(key), jnp.int32(MIDDLE), jnp.int32(0))

    def gather(self, trial: Life) -> tuple[Life, Batch, Metrics]:
        key, moves = jax.random.split(trial.key)
        steps = jax.random.randint(moves, (ROLLOUT,), 0, 2)

        def step(place: jax.Array, right: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
            after = place + 2 * right - 1
            off = (after < 0) | (after >= STATES)
            reward = jnp.where(off, jnp.where(after < 0, -1.0, 1.0), 0.0)
            return jnp.where(off, MIDDLE, after), (place, reward, off, jnp.clip(after, 0, STATES - 1))

        place, seen = jax.lax.scan(step, trial.place, steps)
        observation, reward, off, after = (leaf[:, None] for leaf in seen)  # [T, 1] each
        reward = reward * _sign(trial.updates)
        rollout = Rollout(observation, steps[:, None], reward, off, jnp.zeros_like(off), after)
        batch = Batch.of(rollout, hyperparameters=trial.hyperparameters)
        nothing = jnp.zeros(())
        shown = {"reward": jnp.mean(reward), "episodes": nothing, "episode_return": nothing}
        return replace(trial, key=key, place=place), batch, shown

    def learn(self, rule: LearnedObjective, weights: PyTree, trial: Life, batch: Batch) -> tuple[Life, Metrics]:
        values, about = _VALUES.learn(trial.values, rule, weights, batch)
        return replace(trial, values=values, updates=trial.updates + 1), about

    def judge(
        self, rule: LearnedObjective, trial: Life, batch: Batch, updates: Metrics, target: PyTree = None
    ) -> tuple[jax.Array, Metrics]:
        def heads(observation: jax.Array) -> Heads:
            return _VALUES.apply(trial.values.params, observation)

        return rule.meta_loss(heads(batch.rollout.observation), heads(batch.rollout.next_observation), batch, updates)

    def learner(self, trial: Life) -> Learner:
        return trial.values

    def with_learner(self, trial: Life, learner: Learner) -> Life:
        return replace(trial, values=learner)

    def end_trial(self, trial: Life) -> Life:
        return trial


def _sign(updates: jax.Array) -> jax.Array:
    """Of what the right end pays after so many updates."""
    return jnp.where(updates // PHASE % 2 == 0, 1.0, -1.0)


_OUTER = Outer(lambda_=1.0, policy_weight=0.0, value_weight=1.0)


def _td(lambda_: float) -> SelfTuning:
    fixed = partial(Bounded, tuned=False)
    return SelfTuning(Numbers(fixed(1.0), fixed(lambda_), fixed(0.0), fixed(1.0), fixed(0.0)), _OUTER)


def _frodo(consistency: float) -> Frodo:
    return Frodo(
        _OUTER,
        value_weight=1.0,
        entropy_weight=0.0,
        policy_weight=0.0,
        consistency_weight=consistency,
    )


@dataclass(frozen=True)
class Arguments:
    """The random walk."""

    seeds: int = 20
    """Lifetimes of each."""
    phases: int = 200
    """Between turns."""
    lambdas: tuple[float, ...] = (0.0, 0.4, 0.8, 0.9, 1.0)
    """Of TD."""
    learning_rates: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0)
    """Of the values; a visit's share of a step is 1 / 16."""
    meta_learning_rate: float = 1e-3
    out: Path = Path("experiments/results/online/random_walk")
    """Folder of the table and the picture."""


@quick_jit(static_argnums=(0, 1))
def _live(program: Online, updates: int, rates: Hyperparameters, key: PRNGKey) -> jax.Array:
    """Root mean square errors of the values [updates] over a life."""

    def update(lifetime: Any, _: None) -> tuple[Any, jax.Array]:
        lifetime = program.update(None, (), lifetime)[0]
        wanted = TRUTH * _sign(lifetime.inner.updates - 1)  # of the rollout that they have just learned from
        return lifetime, jnp.sqrt(jnp.mean((lifetime.inner.values.params["value"][:, 0] - wanted) ** 2))

    start = program.start(key, Birth((), rates, updates))
    return jax.lax.scan(update, start, None, length=updates)[1]


def errors_of(rule: LearnedObjective, arguments: Arguments, learning_rate: float) -> np.ndarray:
    """Of the values, [seeds, phases, updates of a phase]."""
    program = Online(Walk(), rule)  # type: ignore[arg-type]  # no more than it asks for
    both = {"learning_rate": learning_rate, META_LEARNING_RATE: arguments.meta_learning_rate}
    rates = {name: jnp.float32(rate) for name, rate in both.items()}
    live = jax.vmap(partial(_live, program, arguments.phases * PHASE), in_axes=(None, 0))
    errors = np.asarray(live(rates, jax.random.split(jax.random.key(0), arguments.seeds)))
    return errors.reshape(arguments.seeds, arguments.phases, PHASE)


def main() -> None:
    """Learn by all; table, CSV file, picture."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    found = {}
    fields: dict[str, dict[str, LearnedObjective]] = {
        "TD": {f"{lambda_:g}": _td(lambda_) for lambda_ in arguments.lambdas},
        "FRODO": {"": _frodo(0.1)},
        "FRODO, not held to be consistent": {"": _frodo(0.0)},
    }
    for name, rules in fields.items():
        tried = {
            (which, rate): errors_of(rule, arguments, rate)
            for which, rule in rules.items()
            for rate in arguments.learning_rates
        }
        which, rate = min(tried, key=lambda one: float(tried[one].mean()))
        of = f"({which})" if which else ""
        found[f"{name}{of}, rate {rate:g}, best of {len(tried)}"] = tried[which, rate]
    tenth = max(arguments.phases // 10, 1)
    table = Table(
        "Values learn by", "Error over the life [95 %]", "first tenth", "last tenth", "at the ends of its phases"
    )
    rows = []
    for name, errors in found.items():
        early, late = errors[:, :tenth], errors[:, -tenth:]
        table.add_row(
            name,
            told(errors.mean((1, 2)), 3),
            *(f"{part.mean():.3f}" for part in (early, late, late[..., -PHASE // 6 :])),
        )
        rows += [(name, seed, float(errors[seed].mean()), float(late[seed].mean())) for seed in range(arguments.seeds)]
    make_folder(arguments.out)
    write_csv(arguments.out / "errors.csv", ("values", "seed", "error", "late_error"), rows)
    _draw(arguments.out / "random_walk.png", found, tenth)
    Console(width=120).print(table)


def _draw(path: Path, found: dict[str, np.ndarray], tenth: int) -> None:
    """Errors by phase, and over a phase early and late."""
    figure, panels = grid_of_panels(3, width=4.2, height=3.0, max_columns=3)
    for (name, errors), colour in zip(found.items(), COLOURS, strict=False):
        seeds = len(errors)
        views = (errors.mean(2), errors[:, :tenth].mean(1), errors[:, -tenth:].mean(1))
        for panel, view in zip(panels, views, strict=True):
            band(panel, np.arange(view.shape[1]), view, colour, label=name, linewidth=1.5)
    style_panel(panels[0], "mean error of each phase", "phase")
    style_panel(panels[1], f"over a phase, the first {tenth}", "updates since the turn")
    style_panel(panels[2], f"over a phase, the last {tenth}", "updates since the turn")
    for panel in panels:
        panel.set_ylim(bottom=0)
    panels[0].legend(frameon=False, fontsize=8)
    set_title(figure, "Errors of values on a random walk whose rewards turn over", f"means of {seeds} lives, 95 %")
    save_figure(figure, path)


if __name__ == "__main__":
    run_script(main)
