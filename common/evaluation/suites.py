"""What objectives are evaluated on. Native worlds come from the held-out part, which no training can draw, except in
suites whose names say so.
"""

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.environments.registry import make_environment
from metaobj.common.environments.splits import Split
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import (
    ACTOR_CRITIC,
    CONV,
    DENSE,
    NETWORK_RATES,
    POLICY_RATES,
    Entry,
    default_agent,
    unknown,
)


def _held_out(name: str, updates: int, num_environments: int = 16) -> Entry:
    return Entry(name, num_environments=num_environments, updates=updates, split="held_out")


def _network(name: str, updates: int, agent: AgentConfig, num_environments: int = 16) -> Entry:
    return Entry(name, 1, num_environments, updates, NETWORK_RATES, agent, "any")


_CONTROL = tuple(_network(name, 1500, DENSE) for name in ("CartPole-v1", "Acrobot-v1", "MountainCar-v0"))
_BSUITE = (_network("Catch-bsuite", 1000, DENSE), _network("DeepSea-bsuite", 1000, DENSE))
_MINATAR = tuple(
    _network(name, 3000, CONV)
    for name in ("Breakout-MinAtar", "SpaceInvaders-MinAtar", "Asterix-MinAtar", "Freeway-MinAtar")
)
_GRIDS = tuple(
    _held_out(f"grid/{name}", 1000) for name in ("dense", "sparse", "long_horizon", "longer_horizon", "long_dense")
)

SUITES: dict[str, tuple[Entry, ...]] = {
    "held-out-layouts": (_held_out("grid/small_layouts", 250),),
    "held-out-grids": (_held_out("grid/small_layouts", 250), *_GRIDS, _held_out("grid/random_small_worlds", 500)),
    "held-out-chains": tuple(
        _held_out(f"chain/{name}", 250) for name in ("short", "long", "short_noisy", "long_noisy")
    ),
    "control": _CONTROL,
    "bsuite": _BSUITE,
    "minatar": _MINATAR,
    "transfer": (_CONTROL[0], _CONTROL[1], _BSUITE[0], _MINATAR[0], _MINATAR[1]),
}


def _physics(split: Split) -> tuple[Entry, ...]:
    names = ("Pendulum-v1/varied", "control/point_mass/varied")
    return tuple(Entry(name, 1, 4, 1200, POLICY_RATES, ACTOR_CRITIC, split) for name in names)


SUITES["training-physics"] = _physics("training")
"""The one suite that training draws from too: agents are fresh, worlds are not of another kind."""
SUITES["held-out-physics"] = _physics("held_out")
SUITES["unseen-control"] = (Entry("control/cartpole_swingup", 1, 4, 1600, POLICY_RATES, ACTOR_CRITIC, "any"),)
SUITES["small-control"] = SUITES["training-physics"] + SUITES["unseen-control"]
SUITES["held-out"] = SUITES["held-out-grids"] + SUITES["held-out-chains"]


def make_suite(name: str) -> tuple[Entry, ...]:
    """The entries of a suite; "a+b" joins suites, and an environment's name is a suite of its own.

    Raises:
        UserError: the name is unknown.
    """
    entries: list[Entry] = []
    for part in name.split("+"):
        if part in SUITES:
            entries += SUITES[part]
            continue
        try:
            environment, _ = make_environment(part, "held_out")
        except UserError as error:
            raise UserError(unknown("suite", part, SUITES, error)) from None
        entries.append(Entry(part, updates=1000, split="held_out", **default_agent(environment)))
    if len({entry.environment for entry in entries}) < len(entries):
        raise UserError(f"suite: {name!r} holds an environment twice")
    return tuple(entries)
