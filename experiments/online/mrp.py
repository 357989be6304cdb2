"""Discounts that tune themselves on a Markov reward process of ten steps, one for each state entered.

    python -m experiments.online.mrp

Even steps pay noise around 0, odd ones 0.1. The values learn from returns G_i = r_i + gamma_{i+1} G_{i+1}; the
discounts are tuned by how well the values foretell the undiscounted return of a fresh episode (Xu et al. 2018, section
3.1, in the sizes of TorchOpt's version). Noise is best not waited for: discounts of transitions into noisy states
should fall towards 0, those into states that pay 0.1 rise towards 1. By backpropagation, by a trace that keeps all
(mu = 1), by the exact trace, and by one that keeps nothing.
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

from experiments.script import run_script
from metaobj.common.devices import quick_jit, use_all_cores
from metaobj.common.files import make_folder, write_csv
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.meta.online import META_LEARNING_RATE, Backprop, Estimate, ForwardTrace, Online
from metaobj.common.pictures.style import COLOURS, grid_of_panels, save_figure, set_title, style_panel
from metaobj.common.types import Hyperparameters, Metrics, PRNGKey, PyTree

STEPS = 10
NOISY = np.arange(STEPS) % 2 == 0
ESTIMATORS: dict[str, tuple[Estimate, int]] = {
    "backpropagation, K = 1": (Backprop(), 1),
    "backpropagation, K = 5": (Backprop(), 5),
    "trace, mu = 0": (ForwardTrace(0.0), 1),
    "trace, mu = 1": (ForwardTrace(1.0), 1),
    "exact trace": (ForwardTrace(exact=True), 1),
}


@struct.dataclass
class Life:
    """What learning to foretell needs of a lifetime."""

    key: PRNGKey
    hyperparameters: Hyperparameters
    values: jax.Array  # [STEPS]

    @property
    def own(self) -> PyTree:
        return self.values


@dataclass(frozen=True)
class Discounts:
    """The rule: returns with a discount for each state entered."""

    def init(self, key: PRNGKey) -> jax.Array:
        return jnp.zeros(STEPS)  # of sigmoids

    def returns(self, eta: jax.Array, rewards: jax.Array) -> jax.Array:
        """G [STEPS] of one episode's rewards."""

        def step(following: jax.Array, inputs: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
            reward, into = inputs  # `into` discounts what comes with this step, for the step before
            here = reward + following
            return into * here, here

        return jax.lax.scan(step, jnp.zeros(()), (rewards, jax.nn.sigmoid(eta)), reverse=True)[1]


@dataclass(frozen=True)
class Foretelling:
    """See `common.lifetimes.lifetime.MetaProgram`: values of states learn by gradient descent."""

    environment: Any = None

    first_steps = 0

    def steps_per_meta_update(self, gathers: int) -> int:
        return STEPS * gathers

    def start(self, key: PRNGKey, birth: Birth) -> Life:
        return Life(key, birth.hyperparameters, jnp.zeros(STEPS))

    def gather(self, trial: Life) -> tuple[Life, jax.Array, Metrics]:
        key, noise = jax.random.split(trial.key)
        rewards = jnp.where(jnp.asarray(NOISY), jax.random.normal(noise, (STEPS,)), 0.1)
        none = jnp.zeros(())
        return replace(trial, key=key), rewards, {"reward": rewards.mean(), "episodes": none, "episode_return": none}

    def learn(self, rule: Discounts, weights: jax.Array, trial: Life, batch: jax.Array) -> tuple[Life, Metrics]:
        error = rule.returns(weights, batch) - trial.values
        values = trial.values + trial.hyperparameters["learning_rate"] * error
        return replace(trial, values=values), {}

    def judge(
        self, rule: Discounts, trial: Life, batch: jax.Array, updates: Metrics, target: PyTree = None
    ) -> tuple[jax.Array, Metrics]:
        wanted = jnp.cumsum(batch[::-1])[::-1]
        return jnp.mean((wanted - trial.values) ** 2), {}

    def learner(self, trial: Life) -> jax.Array:
        return trial.values

    def with_learner(self, trial: Life, learner: jax.Array) -> Life:
        return replace(trial, values=learner)

    def end_trial(self, trial: Life) -> Life:
        return trial


@dataclass(frozen=True)
class Arguments:
    """Self-tuning discounts on a Markov reward process."""

    seeds: int = 20
    """Lifetimes by each estimator."""
    updates: int = 10_000
    """Of the values; with K = 5 eta has a fifth as many."""
    learning_rate: float = 0.5
    meta_learning_rate: float = 0.01
    out: Path = Path("experiments/results/online/mrp")
    """Folder of the table and the picture."""


@quick_jit(static_argnums=(0, 1))
def _live(program: Online, bins: int, updates: int, birth: Birth, key: PRNGKey) -> jax.Array:
    """Discounts [bins, STEPS] over a life."""
    update = partial(program.update, None, ())

    def one_bin(lifetime: Any, _: None) -> tuple[Any, jax.Array]:
        lifetime = jax.lax.fori_loop(0, updates // bins, lambda _, life: update(life)[0], lifetime)
        return lifetime, jax.nn.sigmoid(lifetime.eta)

    return jax.lax.scan(one_bin, program.start(key, birth), None, length=bins)[1]


def main() -> None:
    """Tune by all estimators; table, CSV file, picture."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    rates = {"learning_rate": arguments.learning_rate, META_LEARNING_RATE: arguments.meta_learning_rate}
    birth = Birth((), {name: jnp.float32(rate) for name, rate in rates.items()}, arguments.updates)
    keys = jax.random.split(jax.random.key(0), arguments.seeds)
    table = Table("Estimator", "Into noisy states", "Into states that pay", "Apart in so many of the seeds")
    figure, panels = grid_of_panels(len(ESTIMATORS), 3.6, 2.4, 3)
    rows = []
    for panel, (name, (estimator, inner_updates)) in zip(panels, ESTIMATORS.items(), strict=True):
        program = Online(Foretelling(), Discounts(), inner_updates=inner_updates, estimator=estimator)  # type: ignore[arg-type]  # no more than it asks for
        updates = arguments.updates // inner_updates
        live = jax.vmap(partial(_live, program, 50), in_axes=(None, None, 0))
        discounts = np.asarray(live(updates, birth, keys))  # [seeds, bins, STEPS]
        into = discounts[..., 1:]  # the first state is not entered
        noisy, paying = into[..., NOISY[1:]], into[..., ~NOISY[1:]]
        low, high = noisy[:, -1], paying[:, -1]
        apart = int((low.mean(-1) < high.mean(-1)).sum())
        table.add_row(name, _told(low), _told(high), f"{apart} of {arguments.seeds}")
        at = np.arange(1, 51) * arguments.updates // 50
        for values, colour in ((noisy, COLOURS[1]), (paying, COLOURS[0])):
            panel.plot(at, np.median(values, 0), color=colour, linewidth=1.2)
        panel.set_ylim(-0.03, 1.03)
        style_panel(panel, name, "updates of the values", "discount")
        rows += [
            (name, seed, state + 1, float(into[seed, -1, state]))
            for seed in range(arguments.seeds)
            for state in range(STEPS - 1)
        ]
    make_folder(arguments.out)
    set_title(
        figure,
        "Discounts of transitions into states that pay 0.1 (blue) and into noisy ones (orange)",
        f"one line for each state, medians of {arguments.seeds} lifetimes",
    )
    save_figure(figure, arguments.out / "mrp.png")
    write_csv(arguments.out / "discounts.csv", ("estimator", "seed", "state", "discount"), rows)
    Console(width=120).print(table)


def _told(values: np.ndarray) -> str:
    return f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f})"


if __name__ == "__main__":
    run_script(main)
