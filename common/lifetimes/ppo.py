"""The lifetime of an agent with continuous actions that learns by PPO (Schulman et al. 2017, arXiv 1707.06347).

For comparison with off-policy agents: the same networks, a start at random as long as theirs, and the same environment
steps. It learns from whole rollouts, so one of its updates spans many of theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.agents.actor_critic import Actor
from metaobj.common.agents.deterministic import DeterministicAgent
from metaobj.common.agents.settings import AgentSettings
from metaobj.common.environments.protocol import Environment
from metaobj.common.environments.scaled import ScaledActions
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.experience.rollout import Acted, Policy, rollout
from metaobj.common.gradients import clip_by_norm
from metaobj.common.keys import stream
from metaobj.common.lifetimes.continuous import normal_noise, random_start, tested
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth, Lifetime
from metaobj.common.types import Metrics, PRNGKey, PyTree

Surrogate = Callable[[jax.Array, jax.Array], jax.Array]
"""(log pi(a|s) - log pi_old(a|s), advantage) to the loss of each step."""


@dataclass(frozen=True)
class PPOSettings:
    """Sizes of an update."""

    horizon: int = 64
    """T, steps of each environment per update, rounded up to whole rollouts of the agents that are compared with."""
    epochs: int = 10
    """Passes over an update's steps."""
    minibatches: int = 4
    """Parts of a pass over an update's steps, a gradient step each."""
    lambda_: float = 0.95
    """lambda of the advantages' generalised estimates."""
    first_spread: float = 0.6
    """Standard deviation of a new policy's actions."""
    gradient_clip: float = 0.5
    """Bound of a step's global gradient norm."""

    def span(self, rollout_steps: int) -> int:
        """How many rollouts of so many steps an update takes."""
        return -(-self.horizon // rollout_steps)


@struct.dataclass
class PPOLifetime(Lifetime):
    """With policy and value function."""

    params: PyTree  # {"policy", "log_spread" [A], "value"}
    optimiser: PyTree
    reward_scale: jax.Array  # [] rewards are divided by it


@dataclass(frozen=True)
class PPO:
    """See `lifetimes.lifetime.Program`."""

    environment: ScaledActions
    agent: DeterministicAgent
    num_environments: int
    rollout_steps: int
    settings: PPOSettings

    @cached_property
    def value(self) -> Actor:
        """V(s): the same layers with one output."""
        return Actor(self.agent.settings.hidden, self.agent.settings.layer_norm, 1)

    @property
    def random_rows(self) -> int:
        """Time steps with uniform actions."""
        return self.agent.settings.random_rows(self.num_environments, self.rollout_steps)

    @property
    def first_steps(self) -> int:
        return self.random_rows * self.num_environments

    @property
    def horizon(self) -> int:
        """T."""
        return self.settings.span(self.rollout_steps) * self.rollout_steps

    @property
    def steps_per_update(self) -> int:
        return self.horizon * self.num_environments

    def start(self, key: PRNGKey, birth: Birth) -> PPOLifetime:
        """A new agent, after its first environment steps, at random."""
        policy_key, value_key, start_key, key = jax.random.split(key, 4)
        worlds, steps, size = random_start(
            start_key, self.environment, birth.environment_params, self.num_environments, self.random_rows
        )
        observation = worlds.observation[:1]
        params = {
            "policy": self.agent.actor.init(policy_key, observation),
            "log_spread": jnp.full(self.environment.action_space.shape, jnp.log(self.settings.first_spread)),
            "value": self.value.init(value_key, observation),
        }
        return PPOLifetime.begin(
            key,
            birth,
            worlds,
            steps.reward,
            params=params,
            optimiser=self.agent.optimiser.init(params),
            reward_scale=size if self.agent.settings.scale_rewards else jnp.ones_like(size),
        )

    def update(self, rule: Surrogate, weights: PyTree, lifetime: PPOLifetime) -> tuple[PPOLifetime, Metrics, Acted]:
        """A rollout, then some epochs of gradient steps on the rule's surrogate and the value loss."""
        key, act_key, shuffle_key = jax.random.split(lifetime.key, 3)
        params = lifetime.params
        spread = jnp.exp(params["log_spread"])

        def act(observation: jax.Array, noise: jax.Array) -> jax.Array:
            return self.mean_action(params, observation) + spread * noise

        worlds, steps, episodes = rollout(
            act_key,
            self.environment,
            lifetime.environment_params,
            lifetime.worlds,
            Policy(normal_noise(self.environment), act),
            self.horizon,
        )
        scaled = steps._replace(reward=steps.reward / lifetime.reward_scale)
        values = self.values(params, steps.observation)  # [T, B]
        next_values = self.values(params, steps.next_observation)
        targets = lambda_returns(scaled, next_values, self.agent.discount, self.settings.lambda_)
        advantages = targets - values
        advantages = (advantages - jnp.mean(advantages)) / (jnp.std(advantages) + 1e-8)
        log_old = self.log_probability(params, steps.observation, steps.action)
        data = (steps.observation, steps.action, log_old, advantages, targets)
        data = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), data)  # [T B, ...]

        def loss(params: PyTree, batch: Any) -> jax.Array:
            observation, action, log_old, advantages, targets = batch
            log_ratio = self.log_probability(params, observation, action) - log_old
            value_loss = 0.5 * (self.values(params, observation) - targets) ** 2
            return jnp.mean(rule(log_ratio, advantages) + value_loss)

        def one_step(carry: tuple[PyTree, PyTree], rows: jax.Array) -> tuple[tuple[PyTree, PyTree], None]:
            params, optimiser = carry
            gradient = jax.grad(loss)(params, jax.tree.map(lambda leaf: leaf[rows], data))
            gradient, _ = clip_by_norm(gradient, self.settings.gradient_clip)
            updates, optimiser = self.agent.optimiser.update(gradient, optimiser)
            rate = lifetime.hyperparameters["learning_rate"]
            return (jax.tree.map(lambda p, u: p - rate * u, params, updates), optimiser), None

        keys = jax.random.split(shuffle_key, self.settings.epochs)
        shuffled = jax.vmap(lambda k: jax.random.permutation(k, advantages.size))(keys)
        size = max(advantages.size // self.settings.minibatches, 1)
        shuffled = shuffled[:, : advantages.size // size * size]  # each pass leaves out a few that fill no minibatch
        rows = shuffled.reshape(-1, size)
        (params, optimiser), _ = jax.lax.scan(one_step, (params, lifetime.optimiser), rows)
        changes = {"key": key, "params": params, "optimiser": optimiser, "updates": lifetime.updates + 1}
        lifetime = lifetime.lived(worlds, steps.reward, **changes)
        return lifetime, {}, Acted(jnp.mean(steps.reward), episodes)

    def test(self, lifetime: PPOLifetime, at_random: bool = False) -> Any:
        """Episodes by the mean action, or by uniform ones."""
        key = stream(lifetime.key, "test")
        act = None if at_random else lambda observation: self.mean_action(lifetime.params, observation)
        return tested(key, self.environment, lifetime.environment_params, act, self.agent.settings.test_environments)

    def mean_action(self, params: PyTree, observation: jax.Array) -> jax.Array:
        """Actions [..., A] in [-1, 1]."""
        return self.agent.policy(params["policy"], observation)

    def values(self, params: PyTree, observation: jax.Array) -> jax.Array:
        """V [...] of observations [..., D]."""
        return jnp.asarray(self.value.apply(params["value"], observation))[..., 0]

    def log_probability(self, params: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        """Log-probabilities log pi(a|s) [...] of actions [..., A]."""
        mean = self.mean_action(params, observation)
        return jnp.sum(jax.scipy.stats.norm.logpdf(action, mean, jnp.exp(params["log_spread"])), -1)


def ppo_agents(
    *, rollout_steps: int, discount: float, agent: AgentSettings, settings: PPOSettings
) -> Callable[[Entry, Environment], PPO]:
    """Programs of PPO agents with the networks of off-policy ones."""

    def make(entry: Entry, environment: Environment) -> PPO:
        scaled = ScaledActions(environment)
        deterministic = DeterministicAgent(agent, scaled.action_space.shape[0], discount)
        return PPO(scaled, deterministic, entry.num_environments, rollout_steps, settings)

    return make
