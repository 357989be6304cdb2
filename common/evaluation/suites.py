"""What objectives are evaluated on: named lists of tasks, each with its budget and its agents' network.

A suite has a version, which goes up whenever any of its tasks, budgets, worlds or networks changes, so that results
with the same "NAME@VERSION" can be compared. Native worlds come from the held-out part, which no training can draw,
except in suites whose names say so. `references.py` tells what there is to be earned in tasks whose worlds do not vary.
"""

from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.environments.names import needed_extra
from metaobj.common.environments.registry import environment_names, make_environment
from metaobj.common.environments.splits import Split
from metaobj.common.environments.unseen.grids import UNSEEN_NAMES
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import (
    ACTOR_CRITIC,
    CONTROL_CONV,
    CONTROL_DENSE,
    NETWORK_RATES,
    POLICY_RATES,
    Entry,
    default_agent,
    unknown,
)
from metaobj.common.lifetimes.entries_file import SUFFIX, read_entries

APART = {"DeepSea-bsuite": "exploration", "MountainCar-v0": "exploration", "MemoryChain-bsuite": "memory"}
"""Tasks that no mean over tasks is to hold, and what they ask for besides learning: agents that do not explore on
purpose hardly ever meet the rewards of the first two, and agents without memory cannot earn the third's. All methods
stand alike there, whatever their rule."""


@dataclass(frozen=True)
class Suite:
    """A fixed list of tasks."""

    name: str
    version: int
    entries: tuple[Entry, ...]
    about: str = ""
    """In a line."""

    @property
    def headline(self) -> tuple[str, ...]:
        """The tasks that means over the suite are of: all but those in `APART`."""
        return tuple(entry.environment for entry in self.entries if entry.environment not in APART)

    @property
    def extras(self) -> tuple[str, ...]:
        """Optional extras of this package that its tasks need."""
        return tuple(sorted({extra for entry in self.entries if (extra := needed_extra(entry.environment))}))

    def __str__(self) -> str:
        return f"{self.name}@{self.version}"


def _held_out(updates: int, *names: str) -> tuple[Entry, ...]:
    return tuple(Entry(name, num_environments=16, updates=updates, split="held_out") for name in names)


def _network(updates: int, agent: AgentConfig, *names: str) -> tuple[Entry, ...]:
    return tuple(Entry(name, 1, 16, updates, NETWORK_RATES, agent, "any") for name in names)


def _continuous(updates: int, split: Split, *names: str) -> tuple[Entry, ...]:
    return tuple(Entry(name, 1, 4, updates, POLICY_RATES, ACTOR_CRITIC, split) for name in names)


_LAYOUTS = _held_out(250, "grid/small_layouts")
_SMALL_WORLDS = _held_out(500, "grid/random_small_worlds")
_GRIDS = (
    *_LAYOUTS,
    *_held_out(1000, "grid/dense", "grid/sparse", "grid/long_horizon", "grid/longer_horizon", "grid/long_dense"),
    *_SMALL_WORLDS,
)
_CHAINS = _held_out(250, "chain/short", "chain/long", "chain/short_noisy", "chain/long_noisy")
_UNSEEN = _held_out(1000, *UNSEEN_NAMES)
_CARTPOLE, _ACROBOT, _MOUNTAIN_CAR = _network(1500, CONTROL_DENSE, "CartPole-v1", "Acrobot-v1", "MountainCar-v0")
_CATCH, _UMBRELLA, *_REST = _network(
    1000,
    CONTROL_DENSE,
    "Catch-bsuite",
    "UmbrellaChain-bsuite",
    "DiscountingChain-bsuite",
    "DeepSea-bsuite",
    "MemoryChain-bsuite",
)
_MINATAR = _network(
    3000, CONTROL_CONV, "Breakout-MinAtar", "SpaceInvaders-MinAtar", "Asterix-MinAtar", "Freeway-MinAtar"
)
_SNAKES = _network(3000, CONTROL_CONV, "jumanji/Snake-6x6", "jumanji/Snake-v1")
# A million steps with rollouts of 20 of them, the smaller of Craftax's two budgets.
_CRAFTAX = _network(3125, CONTROL_DENSE, "craftax/Craftax-Classic-Symbolic-v1")
_PHYSICS = ("Pendulum-v1/varied", "control/point_mass/varied")
_TRAINING_PHYSICS = _continuous(1200, "training", *_PHYSICS)
_HELD_OUT_PHYSICS = _continuous(1200, "held_out", *_PHYSICS)
_SWINGUP = _continuous(1600, "any", "control/cartpole_swingup")
_BODIES = ("brax/halfcheetah", "brax/hopper", "brax/walker2d", "brax/ant")

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite("held-out-layouts", 1, _LAYOUTS, "grids of 5x5 cells that no training can draw"),
        Suite("held-out-grids", 1, _GRIDS, "these, five larger grids and random small worlds, likewise"),
        Suite("held-out-worlds", 1, _SMALL_WORLDS, "random small worlds, likewise"),
        Suite("held-out-chains", 1, _CHAINS, "four delayed chains, likewise"),
        Suite("held-out", 1, _GRIDS + _CHAINS, "all of these grids, worlds and chains"),
        Suite("unseen-grids", 1, _UNSEEN, "grids of seven kinds that nothing is trained on"),
        Suite("control", 1, (_CARTPOLE, _ACROBOT, _MOUNTAIN_CAR), "classic control; agents are networks"),
        Suite("bsuite", 1, (_CATCH, _UMBRELLA, *_REST), "five of bsuite's tasks; agents are networks"),
        Suite("minatar", 1, _MINATAR, "four games of MinAtar; agents are convolutional networks"),
        Suite("jumanji", 1, _SNAKES, "Snake on two boards"),
        Suite("craftax", 1, _CRAFTAX, "a million steps of Craftax"),
        Suite("transfer-small", 1, (_CARTPOLE, _ACROBOT, _CATCH, _UMBRELLA), "those of transfer that take minutes"),
        Suite(
            "transfer",
            1,
            (_CARTPOLE, _ACROBOT, _CATCH, _UMBRELLA, *_MINATAR[:2]),
            "control, bsuite and MinAtar, two tasks of each: what carries to agents that are networks",
        ),
        # The one kind that training draws from too: agents are fresh, worlds are not of another kind.
        Suite("training-physics", 1, _TRAINING_PHYSICS, "pendulums and point masses as in training, fresh agents"),
        Suite("held-out-physics", 1, _HELD_OUT_PHYSICS, "these of physics that no training can draw"),
        Suite("unseen-control", 1, _SWINGUP, "a cart-pole to swing up, which nothing is trained on"),
        Suite("small-control", 1, _TRAINING_PHYSICS + _SWINGUP, "training-physics and unseen-control"),
        Suite("brax", 1, _continuous(25_000, "any", *_BODIES), "four bodies as they are"),
        Suite(
            "held-out-brax",
            1,
            _continuous(25_000, "held_out", *(f"{name}/varied" for name in _BODIES)),
            "four bodies of physics that no training can draw",
        ),
    )
}


def make_suite(name: str, field: str = "suite") -> tuple[Entry, ...]:
    """The entries of a suite; "a+b" joins suites, an environment's name is a suite of its own, and a TOML file of
    entries is one too.

    "NAME@VERSION" is the same suite as "NAME", and asks for the version that there is. `field` is what errors call it.

    Raises:
        UserError: the name is unknown, or the suite has another version.
    """
    entries: list[Entry] = []
    for part in name.split("+"):
        suite = _suite(part, field)
        entries += suite.entries if suite is not None else [_single(part, field)]
    if len({entry.environment for entry in entries}) < len(entries):
        raise UserError(f"{field}: {name!r} holds an environment twice")
    return tuple(entries)


def groups_of(name: str) -> list[str]:
    """For each entry of `make_suite`, the group it is told in: its suite, or its environment's family.

    Raises:
        UserError: a suite has another version.
    """
    groups: list[str] = []
    for part in name.split("+"):
        suite = _suite(part)
        groups += [part.partition("/")[0]] if suite is None else [suite.name] * len(suite.entries)
    return groups


def versioned(name: str) -> str:
    """The name that `make_suite` takes with the version of each suite in it; a file's is of what it holds.

    Raises:
        UserError: a suite has another version.
    """
    return "+".join(str(_suite(part) or part) for part in name.split("+"))


def _suite(name: str, field: str = "suite") -> Suite | None:
    """The suite of a name with or without its version, or of a file; None where it is not a suite's."""
    if name.endswith(SUFFIX):
        entries = read_entries(name, _single)
        return Suite(Path(name).stem, crc32(repr(entries).encode()), entries)
    bare, at, version = name.partition("@")
    suite = SUITES.get(bare)
    if suite is not None and at and version != str(suite.version):
        raise UserError(f"{field}: {name!r} given; what there is now is {suite}")
    return suite


def _single(name: str, field: str = "suite") -> Entry:
    """An environment as a suite of its own."""
    try:
        environment, _ = make_environment(name, "held_out")
    except UserError as error:
        if name in environment_names() or needed_extra(name):
            raise  # it is known, and tells what is amiss
        raise UserError(unknown(field, name, SUITES, error)) from None
    return Entry(name, updates=1000, split="held_out", **default_agent(environment))
