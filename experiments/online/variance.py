"""How noisy meta-gradients through K updates are, and whether mixing all K helps against as much data in single steps.

    python -m experiments.online.variance

An agent stands still, fresh or half grown, and draws its next K updates from many keys. Of each draw: the meta-gradient
of the loss after k updates, for k = 1 .. K, and that of mixtures of all (Bonnet et al. 2021, "One Step at a Time").
What is told is the signal-to-noise ratio |mean| / std of a coordinate of eta, which no scale changes, beside the
variances; and, since a mixture takes K updates of data, what K single-step meta-gradients make of as many: sqrt(K)
times the ratio of one.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from experiments.script import run_script
from metaobj.common.agents.agent import AgentConfig
from metaobj.common.devices import quick_jit, use_all_cores
from metaobj.common.files import make_folder, write_csv
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.lifetimes.population import make_families
from metaobj.common.meta.objectives import Last, MetaObjective, Mixed
from metaobj.common.meta.online import META_LEARNING_RATE, Online
from metaobj.common.rules.bounded import Bounded
from metaobj.common.types import PRNGKey
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.methods import OnlineMethod
from metaobj.selftuning.rule import Numbers, SelfTuning

METHOD = OnlineMethod(
    "MG",
    SelfTuning(
        Numbers(discount=Bounded(0.9), lambda_=Bounded(0.95), entropy_weight=Bounded(0.047, 0.0, 0.2)),
        Outer(critic="outer"),
    ),
)
COORDINATES = ("discount", "lambda_", "entropy_weight")


@dataclass(frozen=True)
class Arguments:
    """The noise of meta-gradients."""

    draws: int = 1000
    """Keys that the next updates are drawn from."""
    updates: int = 8
    """K."""
    ages: tuple[int, ...] = (0, 300)
    """Updates of the agent before it stands still."""
    environment: str = "CartPole-v1"
    seed: int = 0
    out: Path = Path("experiments/results/online/variance")
    """Folder of the table."""


def grown(program: Online, family: Any, age: int, seed: int) -> Any:
    """An agent after so many updates."""
    world_key, key = jax.random.split(jax.random.key(seed))
    rates = {"learning_rate": jnp.float32(2e-3), META_LEARNING_RATE: jnp.float32(1e-3)}

    @quick_jit()
    def live() -> Any:
        lifetime = program.start(key, Birth(family.draw_params(world_key), rates, 1000))
        return jax.lax.fori_loop(0, age, lambda _, life: program.update(None, (), life)[0], lifetime)

    return live()


def gradients(program: Online, lifetime: Any, objective: MetaObjective, updates: int, keys: PRNGKey) -> np.ndarray:
    """Of a draw for each key [n, coordinates]; each draws what the agent gathers first, too."""

    @quick_jit()
    @partial(jax.vmap)
    def one(key: PRNGKey) -> jax.Array:
        def loss(eta: Any) -> jax.Array:
            trial = replace(lifetime.inner, key=key)
            return objective.judge(program.program, program.rule, eta, trial, updates, None)[0]

        found = jax.grad(loss)(lifetime.eta)
        return jnp.stack([found[name][0] for name in COORDINATES])

    parts = np.array_split(np.arange(len(keys)), max(len(keys) // 100, 1))
    return np.concatenate([np.asarray(one(keys[part])) for part in parts])


def main() -> None:
    """Draw, tell, keep."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    K = arguments.updates
    entry = Entry(arguments.environment, 1, 8, 1000, agent=AgentConfig("dense", (64,)), split="any")
    family = make_families([entry], METHOD.programs(16))[0]
    keys = jax.random.split(jax.random.key(arguments.seed + 1), arguments.draws)
    rows = []
    table = Table("Updates before", "Number", "", "Mean", "Standard deviation", "Signal to noise")
    for age in arguments.ages:
        lifetime = grown(family.program, family, age, arguments.seed)
        found: dict[str, np.ndarray] = {}
        for k in sorted({1, 2, K // 2, K}):
            found[f"after {k}"] = gradients(family.program, lifetime, Last(), k, keys)
        for decay in (0.8, 1.0):
            found[f"mixture, {decay:g}"] = gradients(family.program, lifetime, Mixed(decay), K, keys)
        for at, name in enumerate(COORDINATES):
            for kind, values in found.items():
                mean, spread = values[:, at].mean(), values[:, at].std(ddof=1)
                ratio = abs(mean) / spread
                rows.append((age, name, kind, mean, spread, ratio))
                table.add_row(str(age), name.strip("_"), kind, f"{mean:.2e}", f"{spread:.2e}", f"{ratio:.3f}")
            single = found["after 1"][:, at]
            fair = np.sqrt(K) * abs(single.mean()) / single.std(ddof=1)
            rows.append((age, name, f"{K} single steps", single.mean(), single.std(ddof=1) / np.sqrt(K), fair))
            table.add_row(str(age), name.strip("_"), f"{K} single steps", "", "", f"{fair:.3f}", end_section=True)
    make_folder(arguments.out)
    write_csv(
        arguments.out / "variance.csv", ("age", "number", "kind", "mean", "standard_deviation", "signal_to_noise"), rows
    )
    Console(width=110).print(table)


if __name__ == "__main__":
    run_script(main)
