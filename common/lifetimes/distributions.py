"""What is trained on: environments, with how many lifetimes of each and what agents live in them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.environments.names import needed_extra
from metaobj.common.environments.protocol import Discrete, Environment
from metaobj.common.environments.registry import environment_names, make_environment
from metaobj.common.environments.splits import Split
from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.lifetimes.entries_file import SUFFIX, read_entries

Grid = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Entry:
    """Lifetimes in one environment."""

    environment: str
    """A name that `environments.registry.make_environment` knows."""
    lifetimes: int = 1
    """How many live at once; in an evaluation, how many agents."""
    num_environments: int = 16
    """B, environments that each agent acts in at once."""
    updates: int = 250
    """N, agent updates in a lifetime."""
    learning_rates: tuple[float, ...] = (40.0, 80.0, 160.0)
    """The grid of the agent's learning rate.

    A tabular agent takes a step down a mean over T B steps: a visit of a state moves its logits by learning rate /
    (T B) times the visit's own gradient, so rates of 40 to 160 are usual.
    """
    agent: AgentConfig = field(default_factory=AgentConfig)
    split: Split = "training"

    def __post_init__(self) -> None:
        prefix = f"{self.environment}."
        check_numbers(self, "lifetimes num_environments updates", at_least=1, at_most=MOST, prefix=prefix)
        if not self.learning_rates or any(not 0 <= rate < math.inf for rate in self.learning_rates):
            given = " ".join(map(str, self.learning_rates)) or "nothing"
            raise UserError(f"{prefix}learning_rates: {given} given; must be one or more finite numbers, at least 0")

    @property
    def continuous(self) -> bool:
        """Whether its agents' actions are."""
        return self.agent.torso == ACTOR_CRITIC.torso


DENSE = AgentConfig("dense", hidden=(32,), optimiser="adam")
CONV = AgentConfig("conv", channels=(16,), hidden=(64,), optimiser="adam")
CONTROL_DENSE = AgentConfig("dense", hidden=(64, 64), optimiser="adam")
"""What the field uses for classic control, and what agents are evaluated with there."""
CONTROL_CONV = AgentConfig("conv", channels=(16,), hidden=(128,), optimiser="adam")
"""The network of MinAtar's authors (Young & Tian 2019, arXiv 1903.03176)."""
TABULAR_RATES = (20.0, 40.0, 80.0, 160.0, 320.0)
ACTOR_CRITIC = AgentConfig("actor-critic", hidden=())
"""Agents of off-policy objectives, whose sizes the objective's own configuration tells."""
NETWORK_RATES = (0.0005, 0.002, 0.008)

POLICY_RATES = (1e-3, 3e-3)
"""Of deterministic policies."""

TABULAR_GRIDS = ("dense", "sparse", "long_horizon", "longer_horizon", "long_dense")
MOVING_GRIDS = ("random_dense", "random_long_horizon", "random_small", "random_small_sparse", "random_very_dense")
TABULAR_CHAINS = ("short", "long", "short_noisy", "long_noisy")

_CARRY_RATES = (20.0, 40.0, 80.0, 160.0)
_CARRY_NETWORK_RATES = (0.0005, 0.001, 0.002, 0.004)
_CARRY_DENSE, _CARRY_CONTROL = (replace(agent, optimiser="rmsprop") for agent in (DENSE, CONTROL_DENSE))
"""By RMSProp, as A2C's: what is compared later then differs in the rule alone."""


DISTRIBUTIONS: dict[str, tuple[Entry, ...]] = {
    "small-layouts": (Entry("grid/small_layouts", lifetimes=32),),
    "small-mix": (
        Entry("grid/small_layouts", lifetimes=16),
        Entry("chain/short", lifetimes=4),
    ),
    "tabular": (
        *(Entry(f"grid/{name}", lifetimes=3, updates=1000) for name in TABULAR_GRIDS),
        Entry("grid/random_small_worlds", lifetimes=17, updates=500),
        *(Entry(f"chain/{name}", lifetimes=2, updates=500) for name in TABULAR_CHAINS),
    ),
    # Three programs beside the chains': worlds are many and of many kinds, and programs few. Lives are short and long.
    "carry-small": (
        Entry("grid/any_small", 8, 32, 500, _CARRY_RATES),
        Entry("grid/survive", 4, 32, 1000, _CARRY_RATES),
        Entry("grid/negative", 4, 32, 500, _CARRY_RATES),
        Entry("chain/short", 2, 32, 250, _CARRY_RATES),
        Entry("chain/long", 4, 32, 500, _CARRY_RATES),
        Entry("chain/long_noisy", 2, 32, 1000, _CARRY_RATES),
        Entry("chain/long_costly", 4, 32, 500, _CARRY_RATES),
        Entry("chain/short_narrow", 4, 32, 500, _CARRY_RATES),
    ),
    "carry-networks": (
        Entry("grid/moving_any_small", 8, 32, 1000, _CARRY_NETWORK_RATES, _CARRY_DENSE),
        Entry("grid/moving_survive", 4, 32, 1500, _CARRY_NETWORK_RATES, _CARRY_DENSE),
        Entry("grid/moving_negative", 4, 32, 500, _CARRY_NETWORK_RATES, _CARRY_DENSE),
        Entry("control/balance/varied", 8, 32, 1500, _CARRY_NETWORK_RATES, _CARRY_CONTROL),
        Entry("control/swing/varied", 8, 32, 750, _CARRY_NETWORK_RATES, _CARRY_CONTROL),
    ),
    "random-grids": tuple(Entry(f"grid/{name}", 4, 16, 1000, NETWORK_RATES, DENSE) for name in MOVING_GRIDS),
    # Lives are half as long as in the suites: a loss has most to learn from young agents.
    "pendulums": (Entry("Pendulum-v1/varied", 8, 4, 600, POLICY_RATES, ACTOR_CRITIC),),
    "point-masses": (Entry("control/point_mass/varied", 8, 4, 600, POLICY_RATES, ACTOR_CRITIC),),
    "small-control": tuple(
        Entry(name, 8, 4, 600, POLICY_RATES, ACTOR_CRITIC)
        for name in ("Pendulum-v1/varied", "control/point_mass/varied")
    ),
}

DISTRIBUTIONS["carry"] = DISTRIBUTIONS["carry-small"] + DISTRIBUTIONS["carry-networks"]
"""What a rule must have met to be of use on tasks of another kind: rewards of any size and sign, on every step or at
the end of a long chain, tables and networks.
"""

ABOUT = {
    "small-layouts": "grids of 5x5 cells, another layout in each lifetime; agents are tables",
    "small-mix": "small layouts and a short chain; agents are tables",
    "tabular": "five grids, random small worlds and four chains; agents are tables",
    "carry-small": "small worlds that pay now and then, or pay or cost on every step, and chains; agents are tables",
    "carry-networks": "the like seen by networks, and two pendulums of varied physics",
    "carry": "the former two together: what a rule must have met to be of use elsewhere",
    "random-grids": "five grids whose objects are anew in each episode; agents are networks",
    "pendulums": "pendulums of varied physics",
    "point-masses": "point masses of varied physics",
    "small-control": "pendulums and point masses of varied physics",
}
"""A line on each distribution."""


def make_distribution(
    name: str, scale: int = 1, more: Mapping[str, tuple[Entry, ...]] | None = None, life: float = 1.0
) -> tuple[Entry, ...]:
    """The entries of a named distribution.

    Args:
        name: of one of `DISTRIBUTIONS` or `more`, or a TOML file of entries; "a+b" joins distributions, and a name that
            is no distribution but an environment ("module:object" among them) is a distribution of its own.
        scale: multiplies the lifetimes.
        more: further distributions by name.
        life: multiplies the lengths of lifetimes; what is left of one is at least one update.

    Raises:
        UserError: the name is unknown, is that of an environment without a training part, or the scale is not positive.
    """
    known = {**DISTRIBUTIONS, **(more or {})}
    if scale < 1:
        raise UserError(f"scale: {scale} given; must be at least 1")
    entries: list[Entry] = []
    for part in name.split("+"):
        if part in known:
            entries += known[part]
        elif part.endswith(SUFFIX):
            entries += _training(part, read_entries(part, lambda name: _alone(name, known)))
        else:
            entries.append(_alone(part, known))
    return tuple(
        replace(entry, lifetimes=entry.lifetimes * scale, updates=max(round(entry.updates * life), 1))
        for entry in entries
    )


def _alone(name: str, known: Iterable[str]) -> Entry:
    """An environment as a distribution of its own."""
    try:
        environment, _ = make_environment(name, "training")
    except UserError as error:
        if name in environment_names():
            raise  # it is known, and tells what is amiss
        raise UserError(unknown("distribution", name, known, error)) from None
    return Entry(name, lifetimes=16, **default_agent(environment, DENSE, CONV))


def _training(path: str, entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    for number, entry in enumerate(entries, 1):
        if entry.split != "training":
            raise UserError(f"{path}: entry {number}: split: {entry.split!r} found; must be training in a distribution")
    return entries


def unknown(field: str, name: str, known: Iterable[str], error: UserError) -> str:
    """What to say of a name that is neither among `known` nor, for the reason in `error`, an environment's."""
    if ":" in name or needed_extra(name):
        return f"{field}: {error}"
    names = [*known]
    similar = get_close_matches(name, [*names, *environment_names()], 3)
    hint = f"did you mean {' or '.join(similar)}?" if similar else f"choose from {', '.join(names)}"
    return f"{field}: {name!r} is unknown; {hint} (`metaobj list` also tells the environments)"


def default_agent(
    environment: Environment, dense: AgentConfig = CONTROL_DENSE, conv: AgentConfig = CONTROL_CONV
) -> dict[str, Any]:
    """Agent and learning rates that suit an environment's observations: a network is `dense` or `conv`."""
    if not isinstance(environment.action_space, Discrete):
        return {"agent": ACTOR_CRITIC, "learning_rates": POLICY_RATES}
    space = environment.observation_space
    if isinstance(space, Discrete):
        return {}
    return {"agent": conv if len(space.shape) == 3 else dense, "learning_rates": NETWORK_RATES}
