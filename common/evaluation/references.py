"""What there is to be earned in tasks whose worlds do not vary: scores are 0 for `random` and 1 for `best`.

Returns of uniform actions are measured (`experiments/reference_returns.py`; data in
`experiments/results/references.csv`) where they are not known exactly.
"""

from typing import NamedTuple

from metaobj.common.environments.adapters.gymnax import RETURNS


class TaskReference(NamedTuple):
    """Undiscounted expected returns of an episode."""

    random: float
    """Of uniform actions."""
    best: float | None
    """Of the best policy, or of the best that is published; None where neither is known."""
    source: str
    """Where `best` is from, or why there is none."""


_ZOO = "the agents of RL Baselines3 Zoo (benchmark.md)"
_NO_SUCH_RULES = "not known: what is published has sticky actions and no limit of 1000 steps"
_NO_SUCH_BODY = "not known: what is published is of other physics engines"

REFERENCES: dict[str, TaskReference] = {
    **{
        name: TaskReference(*RETURNS[name], source)
        for name, source in {
            "CartPole-v1": "the time limit, which linear controllers reach",
            "Catch-bsuite": "optimal: every ball is caught",
            "DeepSea-bsuite": "optimal: the treasure less the cost of moving right",
            "UmbrellaChain-bsuite": "optimal: the umbrella is taken when it is needed",
            "DiscountingChain-bsuite": "optimal: the chain that pays most",
            "MemoryChain-bsuite": "optimal, for agents with memory",
        }.items()
    },
    "Acrobot-v1": TaskReference(-499.3, -69.135, f"best of {_ZOO}: QR-DQN"),
    "MountainCar-v0": TaskReference(-200.0, -100.849, f"best of {_ZOO}: DQN"),
    "Breakout-MinAtar": TaskReference(0.40, None, _NO_SUCH_RULES),
    "SpaceInvaders-MinAtar": TaskReference(4.25, None, _NO_SUCH_RULES),
    "Asterix-MinAtar": TaskReference(0.49, None, _NO_SUCH_RULES),
    "Freeway-MinAtar": TaskReference(0.42, None, "not known: what is published has sticky actions"),
    "jumanji/Snake-6x6": TaskReference(0.14, 35.0, "optimal: the board is filled along a cycle through it"),
    "jumanji/Snake-v1": TaskReference(0.10, None, "not known: filling the board, 143, may take too long"),
    "craftax/Craftax-Classic-Symbolic-v1": TaskReference(
        1.38, 19.8, "PPO after 10^9 steps, 90 % of the 22 achievements (Matthews et al. 2024, arXiv 2402.16801)"
    ),
    "control/cartpole_swingup": TaskReference(-192.1, None, "not known: a task of this project, with returns below 0"),
    "brax/hopper": TaskReference(125.0, None, _NO_SUCH_BODY),
    "brax/walker2d": TaskReference(222.0, None, _NO_SUCH_BODY),
    "brax/ant": TaskReference(-264.0, None, _NO_SUCH_BODY),
}


def known_returns(name: str) -> TaskReference | None:
    """What uniform actions and the best policy earn in the environment of this name; None where worlds vary or nothing
    was measured.
    """
    return REFERENCES.get(name)
