"""The lifetime of an agent that learns by PPO (Schulman et al. 2017, arXiv 1707.06347), of either kind of action.

It learns from whole rollouts, each several times, so one of its updates spans many of those of agents that learn from
each step's rollout once.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from metaobj.common.agents.settings import AgentSettings
from metaobj.common.agents.stochastic import CategoricalPolicy, NormalPolicy, StochasticPolicy
from metaobj.common.environments.protocol import Discrete, Environment
from metaobj.common.environments.scaled import ScaledActions
from metaobj.common.errors import MOST, LengthError, UserError, check_numbers
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.experience.rollout import Acted, Episodes, Policy, reset, rollout
from metaobj.common.gradients import clip_by_norm
from metaobj.common.keys import stream
from metaobj.common.lifetimes.continuous import random_start, tested, without_noise
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth, Lifetime
from metaobj.common.rules.surrogate import SurrogateRule
from metaobj.common.types import Metrics, PRNGKey, PyTree


@dataclass(frozen=True)
class PPOSettings:
    """Sizes of an update. A learning rate and the weight of the entropy are the agents' hyperparameters."""

    horizon: int = 64
    """T, steps of each environment per update; of an entry's life, the nearest number that divides it."""
    epochs: int = 10
    """Passes over an update's steps."""
    minibatches: int = 4
    """Parts of a pass over an update's steps, a gradient step each."""
    lambda_: float = 0.95
    """lambda of the advantages' generalised estimates."""
    value_weight: float = 0.5
    """Of half the squared error of the values."""
    first_spread: float = 0.6
    """Standard deviation of a new policy's continuous actions."""
    gradient_clip: float = 0.5
    """Bound of a step's global gradient norm."""

    def __post_init__(self) -> None:
        check_numbers(self, "horizon epochs minibatches", at_least=1, at_most=MOST, prefix="ppo.")
        check_numbers(self, "lambda_", at_least=0, at_most=1, prefix="ppo.")
        check_numbers(self, "value_weight", at_least=0, prefix="ppo.")
        check_numbers(self, "first_spread gradient_clip", above=0, prefix="ppo.")

    def horizon_of(self, rows: int) -> int:
        """T for a life of so many steps of each environment: the divisor of them that is nearest by ratio, so that PPO
        lives exactly as long as others.

        Raises:
            LengthError: none is within a factor of four.
        """
        divisors = [n for low in range(1, math.isqrt(rows) + 1) if rows % low == 0 for n in (low, rows // low)]
        far = {n: max(n, self.horizon) / min(n, self.horizon) for n in divisors}
        best = min(divisors, key=lambda n: (far[n], -n))
        if far[best] > 4:
            raise LengthError(
                f"updates: lives of {rows} steps given; PPO's rollouts of about {self.horizon} must divide them"
            )
        return best


@struct.dataclass
class PPOLifetime(Lifetime):
    """With policy and value function."""

    params: PyTree
    optimiser: PyTree
    reward_scale: jax.Array  # [] rewards are divided by it


@dataclass(frozen=True)
class PPO:
    """See `lifetimes.lifetime.Program`."""

    environment: Environment
    policy: StochasticPolicy
    num_environments: int
    horizon: int
    """T."""
    discount: float
    """gamma."""
    settings: PPOSettings
    random_rows: int = 0
    """Time steps with uniform actions before the first update, of continuous ones."""
    scale_rewards: bool = False
    """Divide rewards by their root mean square in those steps."""
    test_environments: int = 0
    """Environments in which the policy is tested without noise; with 0 it is taken as it acts."""

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Without the learning rate, which is data."""
        return optax.scale_by_adam(eps=1e-5)

    @property
    def first_steps(self) -> int:
        return self.random_rows * self.num_environments

    @property
    def early_steps(self) -> int:
        return 0

    @property
    def steps_per_update(self) -> int:
        return self.horizon * self.num_environments

    def start(self, key: PRNGKey, birth: Birth) -> PPOLifetime:
        """A new agent, after its first environment steps where it takes some at random."""
        policy_key, start_key, key = jax.random.split(key, 3)
        rewards, size = jnp.zeros(0), jnp.ones(())
        if self.random_rows:
            assert isinstance(self.environment, ScaledActions)
            worlds, steps, size = random_start(
                start_key, self.environment, birth.environment_params, self.num_environments, self.random_rows
            )
            rewards = steps.reward
        else:
            worlds = reset(start_key, self.environment, birth.environment_params, self.num_environments)
        params = self.policy.init(policy_key, worlds.observation[:1])
        return PPOLifetime.begin(
            key,
            birth,
            worlds,
            rewards,
            params=params,
            optimiser=self.optimiser.init(params),
            reward_scale=size if self.scale_rewards else jnp.ones_like(size),
        )

    def update(self, rule: SurrogateRule, weights: PyTree, lifetime: PPOLifetime) -> tuple[PPOLifetime, Metrics, Acted]:
        """A rollout, then some epochs of gradient steps on the rule's surrogate, the value loss and the entropy."""
        key, act_key, shuffle_key = jax.random.split(lifetime.key, 3)
        params, policy, settings = lifetime.params, self.policy, self.settings
        worlds, steps, episodes = rollout(
            act_key,
            self.environment,
            lifetime.environment_params,
            lifetime.worlds,
            Policy(policy.draw, partial(policy.act, params)),
            self.horizon,
        )
        scaled = steps._replace(reward=steps.reward / lifetime.reward_scale)
        values = policy.value(params, steps.observation)  # [T, B]
        next_values = policy.value(params, steps.next_observation)
        targets = lambda_returns(scaled, next_values, self.discount, settings.lambda_)
        log_old = policy.log_probability(params, steps.observation, steps.action)
        data = (steps.observation, steps.action, log_old, targets - values, targets)
        data = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), data)  # [T B, ...]

        def loss(params: PyTree, batch: Any) -> jax.Array:
            observation, action, log_old, advantages, targets = batch
            advantages = (advantages - jnp.mean(advantages)) / (jnp.std(advantages) + 1e-8)
            log_ratio = policy.log_probability(params, observation, action) - log_old
            surrogate = rule.surrogate(weights, log_ratio, advantages)
            value_loss = 0.5 * (policy.value(params, observation) - targets) ** 2
            bonus = lifetime.hyperparameters["entropy_weight"] * policy.entropy(params, observation)
            return jnp.mean(surrogate + settings.value_weight * value_loss - bonus)

        def one_step(carry: tuple[PyTree, PyTree], rows: jax.Array) -> tuple[tuple[PyTree, PyTree], None]:
            params, optimiser = carry
            gradient = jax.grad(loss)(params, jax.tree.map(lambda leaf: leaf[rows], data))
            gradient, _ = clip_by_norm(gradient, settings.gradient_clip)
            updates, optimiser = self.optimiser.update(gradient, optimiser)
            rate = lifetime.hyperparameters["learning_rate"]
            return (jax.tree.map(lambda p, u: p - rate * u, params, updates), optimiser), None

        keys = jax.random.split(shuffle_key, settings.epochs)
        shuffled = jax.vmap(lambda k: jax.random.permutation(k, targets.size))(keys)
        size = max(targets.size // settings.minibatches, 1)
        shuffled = shuffled[:, : targets.size // size * size]  # each pass leaves out a few that fill no minibatch
        rows = shuffled.reshape(-1, size)
        (params, optimiser), _ = jax.lax.scan(one_step, (params, lifetime.optimiser), rows)
        changes = {"key": key, "params": params, "optimiser": optimiser, "updates": lifetime.updates + 1}
        lifetime = lifetime.lived(worlds, steps.reward, **changes)
        return lifetime, {}, Acted(jnp.mean(steps.reward), episodes)

    def acting(self, lifetime: PPOLifetime) -> Policy:
        if self.test_environments:
            return without_noise(partial(self.policy.best, lifetime.params))
        return Policy(self.policy.draw, partial(self.policy.act, lifetime.params))

    def test(self, lifetime: PPOLifetime, at_random: bool = False) -> Episodes | None:
        """Episodes by the action in the middle, or by uniform ones; None where agents are taken as they act."""
        if not self.test_environments:
            return None
        assert isinstance(self.environment, ScaledActions)
        key = stream(lifetime.key, "test")
        act = None if at_random else partial(self.policy.best, lifetime.params)
        return tested(key, self.environment, lifetime.environment_params, act, self.test_environments)


def ppo_agents(
    *, rollout_steps: int, discount: float, settings: PPOSettings, agent: AgentSettings | None = None
) -> Callable[[Entry, Environment], PPO]:
    """Programs of PPO agents.

    Args:
        rollout_steps: of the agents that are compared with.
        discount: gamma.
        settings: of PPO.
        agent: for continuous actions: the networks, the start at random and the tests of the off-policy agents that are
            compared with. Of discrete ones the entry's agent tells the networks.
    """

    def make(entry: Entry, environment: Environment) -> PPO:
        horizon = settings.horizon_of(entry.updates * rollout_steps)
        if isinstance(environment.action_space, Discrete):
            if entry.agent.torso not in ("dense", "conv"):
                raise UserError(f"agent.torso: {entry.agent.torso} given; PPO's agents are dense or conv")
            shape = environment.observation_space.shape
            policy = CategoricalPolicy(shape, environment.action_space.n, entry.agent)
            return PPO(environment, policy, entry.num_environments, horizon, discount, settings)
        scaled, of = ScaledActions(environment), agent or AgentSettings()
        normal = NormalPolicy(of.hidden, of.layer_norm, scaled.action_space.shape[0], settings.first_spread)
        return PPO(
            scaled,
            normal,
            entry.num_environments,
            horizon,
            discount,
            settings,
            random_rows=of.random_rows(entry.num_environments, rollout_steps),
            scale_rewards=of.scale_rewards,
            test_environments=of.test_environments,
        )

    return make
