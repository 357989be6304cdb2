"""Methods that people wrote, for comparison: their rules with the grids that they are tuned over."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.settings import AgentSettings
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.environments.protocol import Environment
from metaobj.common.evaluation.method import Method
from metaobj.common.lifetimes.distributions import TABULAR_RATES, Entry
from metaobj.common.lifetimes.off_policy import off_policy
from metaobj.common.lifetimes.on_policy import OnPolicy, on_policy
from metaobj.common.lifetimes.ppo import PPOSettings, ppo_agents
from metaobj.common.rules.handwritten import A2C, A2C_ENTROPY_WEIGHT, CriticAscent, clipped_surrogate, dpo_surrogate
from metaobj.common.rules.surrogate import Written

A2C_RATES = (5e-4, 1e-3, 2e-3, 4e-3)
"""Of policies that are networks."""
VALUE_RATES = (3e-3, 1e-2, 3e-2, 1e-1)
"""Of A2C's value functions that are networks."""
PPO_RATES = (2.5e-4, 5e-4, 1e-3, 2e-3, 4e-3)
ACTOR_RATES = (1e-4, 3e-4, 1e-3, 3e-3)
"""Of deterministic policies."""
CRITIC_RATES = (3e-4, 1e-3, 3e-3)
"""Of their critics."""
TABULAR_ENTROPY_WEIGHTS = (0.0, 0.01, 0.03, 0.1)
A2C_ENTROPY_WEIGHTS = (A2C_ENTROPY_WEIGHT, 0.01)
"""Of policies that are networks."""
PPO_ENTROPY_WEIGHTS = (0.003, 0.01, 0.03)
PPO_RULE, DPO_RULE = Written(clipped_surrogate), Written(dpo_surrogate)
DISCRETE_PPO = PPOSettings(horizon=128, epochs=4, minibatches=4)
"""For discrete actions and networks, as CleanRL has it."""
BASELINE_DISCOUNT = 0.99
"""Of the methods that people wrote, on worlds with networks: what the field uses there."""


def a2c(rollout_steps: int, discount: float, value: ValueConfig) -> Method:
    """A2C with its grid: 20 settings for tables, 32 for networks.

    Policies that are networks learn by RMSProp, as in the paper: by Adam they are a sixth slower on CartPole and more
    of them never find Acrobot's goal (`experiments/results/anchors/a2c_options.md`). The critic's rate matters most.
    """

    def grid(agent: AgentConfig) -> Mapping[str, Sequence[float]]:
        if agent.torso == "tabular":
            return {"learning_rate": TABULAR_RATES, "entropy_weight": TABULAR_ENTROPY_WEIGHTS}
        rates = {"learning_rate": A2C_RATES, "critic_learning_rate": VALUE_RATES}
        return {**rates, "entropy_weight": A2C_ENTROPY_WEIGHTS}

    def usual(agent: AgentConfig) -> Mapping[str, float]:
        return {} if agent.torso == "tabular" else {"critic_learning_rate": 0.03, "entropy_weight": A2C_ENTROPY_WEIGHT}

    rule = A2C()

    def programs(entry: Entry, environment: Environment) -> OnPolicy:
        gamma, own = discount, value
        if entry.agent.torso != "tabular":
            gamma, entry = BASELINE_DISCOUNT, replace(entry, agent=replace(entry.agent, optimiser="rmsprop"))
            own = replace(value, scale_rewards=False)
        return on_policy(rule, rollout_steps=rollout_steps, discount=gamma, value=own)(entry, environment)

    return Method("A2C", rule, (), programs, grid, rollout_steps, usual)


def ddpg(
    rollout_steps: int, discount: float, agent: AgentSettings, critic_rates: Sequence[float] = CRITIC_RATES
) -> Method:
    """DDPG (Lillicrap et al. 2016): one critic, no noise in its targets."""
    agent = replace(agent, twin=False, target_noise=0.0)
    return _ascent("DDPG", rollout_steps, discount, agent, critic_rates)


def td3(
    rollout_steps: int, discount: float, agent: AgentSettings, critic_rates: Sequence[float] = CRITIC_RATES
) -> Method:
    """TD3 (Fujimoto et al. 2018): two critics, smoothed targets, two of the critic updates for one of the policy."""
    policy_updates = max(agent.critic_updates * agent.policy_updates // 2, 1)
    agent = replace(agent, twin=True, target_noise=0.2, target_noise_clip=0.5)
    agent = replace(agent, critic_updates=2, policy_updates=policy_updates)
    return _ascent("TD3", rollout_steps, discount, agent, critic_rates)


def _ascent(
    name: str, rollout_steps: int, discount: float, agent: AgentSettings, critic_rates: Sequence[float]
) -> Method:
    def grid(config: AgentConfig) -> Mapping[str, Sequence[float]]:
        return {
            "learning_rate": ACTOR_RATES,
            "critic_learning_rate": critic_rates,
            "exploration_noise": (0.1, 0.3, 0.5),
        }

    programs = off_policy(rollout_steps=rollout_steps, discount=discount, agent=agent)
    return Method(name, CriticAscent(), (), programs, grid, rollout_steps, lambda config: {"exploration_noise": 0.1})


def ppo(rollout_steps: int, discount: float, agent: AgentSettings) -> Method:
    """PPO (Schulman et al. 2017) for continuous actions, with the networks of the off-policy agents beside it."""

    def grid(config: AgentConfig) -> Mapping[str, Sequence[float]]:
        return {"learning_rate": (3e-4, 1e-3, 3e-3), "entropy_weight": (0.0,)}

    programs = ppo_agents(rollout_steps=rollout_steps, discount=discount, settings=PPOSettings(), agent=agent)
    return Method("PPO", PPO_RULE, (), programs, grid, rollout_steps)


def discrete_ppo(
    rollout_steps: int,
    name: str = "PPO",
    rule: Written = PPO_RULE,
    discount: float = BASELINE_DISCOUNT,
    settings: PPOSettings = DISCRETE_PPO,
) -> Method:
    """PPO for discrete actions and networks, or the same with another surrogate."""

    def grid(config: AgentConfig) -> Mapping[str, Sequence[float]]:
        return {"learning_rate": PPO_RATES, "entropy_weight": PPO_ENTROPY_WEIGHTS}

    programs = ppo_agents(rollout_steps=rollout_steps, discount=discount, settings=settings)
    return Method(name, rule, (), programs, grid, rollout_steps, lambda config: {"entropy_weight": 0.01})


def dpo(rollout_steps: int, discount: float = BASELINE_DISCOUNT, settings: PPOSettings = DISCRETE_PPO) -> Method:
    """Discovered policy optimisation (Lu et al. 2022), PPO with another surrogate."""
    return discrete_ppo(rollout_steps, "DPO", DPO_RULE, discount, settings)


def on_policy_baselines(rollout_steps: int, discount: float, value: ValueConfig) -> list[Method]:
    """What on-policy rules for discrete actions are compared with, the usual one first."""
    return [a2c(rollout_steps, discount, value), discrete_ppo(rollout_steps), dpo(rollout_steps)]
