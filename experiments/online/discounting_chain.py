"""A discount that tunes itself, judged by values that were learnt at it or by an outer value function.

    python -m experiments.online.discounting_chain

Five arms pay 1, or 1.1, after 1, 3, 10, 30 and 100 steps; the best is the fourth or, as here, the fifth. Agents start
with a discount of 0.95 within [0.90, 1]; their outer discount is 1, and what judges them bootstraps after each step
(Bonnet et al. 2022, section 5.1, after Osband et al. 2020). Their code has values in closed form; here tables learn
them from whole episodes.
"""

from dataclasses import dataclass, replace
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
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.devices import use_all_cores
from metaobj.common.environments.protocol import Discrete
from metaobj.common.evaluation import follow
from metaobj.common.files import make_folder, write_csv
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.meta.objectives import Bootstrapped, Last
from metaobj.common.rules.bounded import Bounded
from metaobj.common.types import PRNGKey
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.methods import OnlineMethod
from metaobj.selftuning.rule import Numbers, SelfTuning

DELAYS = (1, 3, 10, 30, 100)
HORIZON = 100
BEST = 4


@struct.dataclass
class State:
    """An episode in progress."""

    arm: jax.Array  # [] int32, -1 before it is chosen
    time: jax.Array  # [] int32


@dataclass(frozen=True)
class DiscountingChain:
    """The first action chooses an arm; it pays once, when its time has come."""

    @property
    def observation_space(self) -> Discrete:
        return Discrete(1 + len(DELAYS) * HORIZON)

    @property
    def action_space(self) -> Discrete:
        return Discrete(len(DELAYS))

    def sample_params(self, key: PRNGKey, spec: Any) -> tuple[()]:
        return ()

    def _observe(self, state: State) -> jax.Array:
        return jnp.where(state.arm < 0, 0, 1 + state.arm * HORIZON + state.time - 1).astype(jnp.int32)

    def reset(self, key: PRNGKey, params: Any) -> tuple[jax.Array, State]:
        state = State(jnp.int32(-1), jnp.int32(0))
        return self._observe(state), state

    def step(self, key: PRNGKey, state: State, action: jax.Array, params: Any) -> tuple[Any, ...]:
        after = State(jnp.where(state.arm < 0, action, state.arm).astype(jnp.int32), state.time + 1)
        pays = after.time == jnp.asarray(DELAYS)[after.arm]
        reward = jnp.where(pays, jnp.where(after.arm == BEST, 1.1, 1.0), 0.0)
        over = after.time >= HORIZON
        return self._observe(replace(after, time=jnp.minimum(after.time, HORIZON))), after, reward, over, False, {}


CHAIN = DiscountingChain()

_NUMBERS = Numbers(
    discount=Bounded(0.95, 0.9, 1.0),
    lambda_=Bounded(1.0, tuned=False),
    policy_weight=Bounded(0.3, tuned=False),
    value_weight=Bounded(1.0, tuned=False),
    entropy_weight=Bounded(0.0015, tuned=False),
)
_OUTER = Outer(lambda_=0.0, entropy_weight=0.005)


def method(name: str, tuned: bool = True, outer: bool = False, bootstrapped: bool = False) -> OnlineMethod:
    """One of those that are compared."""
    numbers = _NUMBERS if tuned else replace(_NUMBERS, discount=Bounded(0.95, tuned=False))
    rule = SelfTuning(numbers, replace(_OUTER, critic="outer" if outer else "agent"))
    return OnlineMethod(
        name,
        rule,
        {"meta_objective": Bootstrapped(1) if bootstrapped else Last(), "gradient_clip": 0.0},
        discount=1.0,
        value=ValueConfig(tabular_step_size=0.5, lambda_=1.0),
    )


METHODS = (
    method("A2C", tuned=False),
    method("MG"),
    method("BMG", bootstrapped=True),
    method("MG, outer value function", outer=True),
    method("BMG, outer value function", outer=True, bootstrapped=True),
)


@dataclass(frozen=True)
class Arguments:
    """The discounting chain."""

    seeds: int = 10
    """Agents of each method."""
    updates: int = 4000
    """Of each agent, from rollouts of a whole episode in each of 16 environments."""
    learning_rate: float = 80.0
    meta_learning_rate: float = 0.1
    out: Path = Path("experiments/results/online/discounting_chain")
    """Folder of the table and the pictures."""


def main() -> None:
    """Run all methods; table, CSV file and a picture of each."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    entry = Entry("experiments.online.discounting_chain:CHAIN", 1, 16, arguments.updates, split="any")
    setting = {"learning_rate": arguments.learning_rate, "meta_learning_rate": arguments.meta_learning_rate}
    table = Table("Method", "Discount at the end", "Return", "Agents at the best arm")
    rows = []
    make_folder(arguments.out)
    for each in METHODS:
        seen = follow.follow(each.method(HORIZON), entry, setting, arguments.seeds)
        returns = seen.values["reward"][:, -1] * HORIZON
        discount = seen.values["discount"][:, -1]
        at_best = int((returns > 1.05).sum())
        table.add_row(
            each.name,
            f"{np.median(discount):.4f} ({discount.min():.4f} to {discount.max():.4f})",
            f"{returns.mean():.3f} ({returns.min():.3f} to {returns.max():.3f})",
            f"{at_best} of {arguments.seeds}",
        )
        rows += [(each.name, seed, float(discount[seed]), float(returns[seed])) for seed in range(arguments.seeds)]
        follow.draw(
            arguments.out / f"{follow.slug(each.name)}.png", seen, each.name, ("reward", "discount", "policy_entropy")
        )
    write_csv(arguments.out / "agents.csv", ("method", "seed", "discount", "return"), rows)
    Console(width=120).print(table)


if __name__ == "__main__":
    run_script(main)
