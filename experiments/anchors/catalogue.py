"""What the hand-written methods are measured against: tasks, budgets, settings, and what others have published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.settings import AgentSettings
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.evaluation.baselines import a2c, ddpg, discrete_ppo, td3
from metaobj.common.evaluation.method import Method, Settings
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, CONTROL_CONV, CONTROL_DENSE, Entry

ROLLOUT = 20
"""T of the on-policy agents' updates, as in the evaluation's suites."""
CONTROL_AGENT = AgentSettings(windows=256, window_steps=1, critic_updates=1, policy_updates=4)
"""Off-policy agents as the field has them: batches of 256 single steps, a critic update for each environment step of
four environments."""


@dataclass(frozen=True, eq=False)
class Contestant:
    """A method with the settings that it is run with, and the bar that the best of them has to reach."""

    method: Method
    settings: Mapping[str, Sequence[float]]
    """Values of each hyperparameter; all combinations are run."""
    bar: float | None = None
    """Least mean return of the last bin; None where nothing comparable is published."""

    @property
    def combinations(self) -> list[Settings]:
        """All combinations of the settings."""
        return [dict(zip(self.settings, values, strict=True)) for values in product(*self.settings.values())]


@dataclass(frozen=True, eq=False)
class Anchor:
    """A task and the methods that are measured on it."""

    entry: Entry
    contestants: tuple[Contestant, ...]
    published: tuple[tuple[str, str], ...]
    """(what is published, key of `SOURCES`)"""
    bins: int = 24
    keeps: float | None = None
    """Least share of the best bin's return that the last bin has to have, where returns are positive."""


SOURCES = {
    "gymnax-blines": "https://github.com/RobertTLange/gymnax-blines/tree/main/agents",
    "CleanRL": "https://docs.cleanrl.dev/rl-algorithms/ppo/#experiment-results",
    "RL Zoo": "https://github.com/DLR-RM/rl-baselines3-zoo/blob/master/benchmark.md",
    "Brax, issue 129": "https://github.com/google/brax/issues/129",
    "rl-blox": "https://github.com/mlaux1/rl-blox/pull/101",
}


def _discrete(environment: str, updates: int, agent: AgentConfig) -> Entry:
    return Entry(environment, 1, 16, updates, agent=agent, split="any")


def _on_policy(a2c_bar: float, ppo_bar: float) -> tuple[Contestant, ...]:
    return (
        Contestant(
            a2c(ROLLOUT, 0.99, ValueConfig()),
            {"learning_rate": (1e-3,), "critic_learning_rate": (3e-3, 1e-2, 3e-2), "entropy_weight": (0.003, 0.01)},
            a2c_bar,
        ),
        Contestant(discrete_ppo(ROLLOUT), {"learning_rate": (1e-3, 2e-3), "entropy_weight": (0.01,)}, ppo_bar),
    )


def _minatar(ppo_bar: float) -> tuple[Contestant, ...]:
    return (
        Contestant(
            discrete_ppo(ROLLOUT), {"learning_rate": (5e-4, 1e-3, 2e-3), "entropy_weight": (0.01, 0.03)}, ppo_bar
        ),
        Contestant(
            a2c(ROLLOUT, 0.99, ValueConfig()),
            {"learning_rate": (5e-4, 1e-3, 2e-3), "critic_learning_rate": (3e-3, 1e-2), "entropy_weight": (0.01,)},
        ),
    )


def _off_policy(
    bar: float | None, agent: AgentSettings, rates: Sequence[float], noises: Sequence[float]
) -> tuple[Contestant, ...]:
    settings = {"learning_rate": rates, "critic_learning_rate": (1e-3,), "exploration_noise": noises}
    return tuple(Contestant(method, settings, bar) for method in (td3(1, 0.99, agent), ddpg(1, 0.99, agent)))


ANCHORS: dict[str, Anchor] = {
    "cartpole": Anchor(
        _discrete("CartPole-v1", 1536, CONTROL_DENSE),  # 491 520 steps
        _on_policy(450.0, 450.0),
        (
            ("PPO 500 from 96k steps on", "gymnax-blines"),
            ("PPO 490 ± 6 at 500k", "CleanRL"),
            ("A2C 500 at 500k, PPO 500 at 100k", "RL Zoo"),
        ),
        keeps=0.8,
    ),
    "acrobot": Anchor(
        _discrete("Acrobot-v1", 1536, CONTROL_DENSE),
        _on_policy(-100.0, -100.0),
        (
            ("PPO -84 at 208k steps", "gymnax-blines"),
            ("PPO -86 ± 1 at 500k", "CleanRL"),
            ("A2C -83 at 500k", "RL Zoo"),
        ),
    ),
    "catch": Anchor(
        _discrete("Catch-bsuite", 312, CONTROL_DENSE),  # 99 840 steps
        _on_policy(0.95, 0.95),
        (("PPO 1.0 at 100k steps", "gymnax-blines"),),
    ),
    "pendulum": Anchor(
        Entry("Pendulum-v1", 1, 4, 4750, agent=ACTOR_CRITIC, split="any"),  # 1000 steps at random, 20 000 in all
        _off_policy(-200.0, CONTROL_AGENT, (3e-4, 1e-3), (0.1, 0.3)),
        (("TD3 -152, DDPG -152 at 20k steps", "RL Zoo"),),
        bins=19,
    ),
    "hopper": Anchor(
        Entry("brax/hopper", 1, 4, 24_750, agent=ACTOR_CRITIC, split="any"),  # 100 000 steps
        _off_policy(None, replace(CONTROL_AGENT, windows=100), (1e-3,), (0.1,)),  # TD3's own batch
        (
            ("SAC and PPO below 500 on Brax's first backend, a spring as well", "Brax, issue 129"),
            ("TD3 2882 ± 863, DDPG 810 ± 717 at 1M steps, MuJoCo's Hopper-v5", "rl-blox"),
        ),
        bins=10,
    ),
    "breakout": Anchor(
        _discrete("Breakout-MinAtar", 3125, CONTROL_CONV),  # 1M steps
        _minatar(16.6),
        (("PPO 8.4 at 0.32M, 16.6 at 0.96M steps", "gymnax-blines"),),
        bins=25,
    ),
    "spaceinvaders": Anchor(
        _discrete("SpaceInvaders-MinAtar", 3125, CONTROL_CONV),
        _minatar(50.0),
        (("PPO 19 at 0.32M, 50 at 0.96M steps", "gymnax-blines"),),
        bins=25,
    ),
}
GROUPS = {
    "control": ("cartpole", "acrobot", "catch", "pendulum"),
    "minatar": ("breakout", "spaceinvaders"),
    "all": tuple(ANCHORS),
}
