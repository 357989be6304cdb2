"""The lifetime of an agent that learns from its latest rollout."""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.agents.agent import Agent
from metaobj.common.agents.make import make_agent
from metaobj.common.agents.value_function import ValueConfig, ValueFunction, make_value_function
from metaobj.common.environments.protocol import Environment
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.experience.rollout import Episodes, reset, rollout, sampled
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth, Lifetime, ProgramMaker
from metaobj.common.rules.on_policy import Batch, LearnedObjective, UpdateRule
from metaobj.common.types import Metrics, PRNGKey, PyTree


@struct.dataclass
class OnPolicyLifetime(Lifetime):
    """With the agent and the value function that its advantages come from."""

    agent: PyTree
    optimiser: PyTree
    value: PyTree


class RolloutStatistics(NamedTuple):
    """What one rollout showed."""

    reward: jax.Array  # [] mean per environment step
    episodes: Episodes
    value_loss: jax.Array  # [] mean squared error before this rollout's value update


@dataclass(frozen=True)
class OnPolicy:
    """See `common.lifetimes.lifetime.MetaProgram`."""

    environment: Environment
    agent: Agent
    value_function: ValueFunction
    num_environments: int
    rollout_steps: int
    discount: float
    lambda_: float
    remat: bool = False
    """Recompute the rule's forward pass in the meta-gradient's reverse pass instead of keeping it."""

    @property
    def first_steps(self) -> int:
        return 0

    @property
    def steps_per_update(self) -> int:
        return self.rollout_steps * self.num_environments

    def steps_per_meta_update(self, inner_updates: int) -> int:
        return self.steps_per_update * (inner_updates + 1)

    def start(self, key: PRNGKey, birth: Birth) -> OnPolicyLifetime:
        """A new agent in `birth.environment_params`, before its first update."""
        agent_key, value_key, reset_key, key = jax.random.split(key, 4)
        agent, optimiser = self.agent.init(agent_key)
        return OnPolicyLifetime.begin(
            key,
            birth,
            reset(reset_key, self.environment, birth.environment_params, self.num_environments),
            jnp.zeros(0),
            agent=agent,
            optimiser=optimiser,
            value=self.value_function.init(value_key),
        )

    def act(self, lifetime: OnPolicyLifetime) -> tuple[OnPolicyLifetime, Batch, RolloutStatistics]:
        """Roll the agent out, estimate advantages, then let the value function learn from the same steps."""
        key, rollout_key = jax.random.split(lifetime.key)
        agent = jax.lax.stop_gradient(lifetime.agent)
        worlds, steps, episodes = rollout(
            rollout_key,
            self.environment,
            lifetime.environment_params,
            lifetime.worlds,
            sampled(lambda observation: self.agent.apply(agent, observation)["policy"]),
            self.rollout_steps,
        )
        values = self.value_function.apply(lifetime.value, steps.observation)  # [T, B]
        next_values = self.value_function.apply(lifetime.value, steps.next_observation)  # [T, B]
        returns = lambda_returns(steps, next_values, self.discount, self.lambda_)
        batch = Batch(
            rollout=steps,
            advantages=returns - values,
            rewards_to_go=lambda_returns(steps, jnp.zeros_like(values), self.discount, 1.0),
            hyperparameters=lifetime.hyperparameters,
            discount=jnp.asarray(self.discount, values.dtype),
            progress=lifetime.updates / lifetime.length,
            log_length=jnp.log(lifetime.length),
        )
        statistics = RolloutStatistics(jnp.mean(steps.reward), episodes, jnp.mean((returns - values) ** 2))
        value = self.value_function.update(lifetime.value, steps.observation, returns)
        lifetime = lifetime.lived(worlds, steps.reward, key=key, value=value)
        return lifetime, batch, statistics

    def update(
        self, rule: UpdateRule, weights: PyTree, lifetime: OnPolicyLifetime
    ) -> tuple[OnPolicyLifetime, dict[str, jax.Array], RolloutStatistics]:
        """One inner update: a rollout, the rule's targets, one step of the agent towards them.

        Differentiable with respect to `weights` and to the agent it starts from.
        """
        lifetime, batch, statistics = self.act(lifetime)
        agent, optimiser, about = self.agent.learn(
            lifetime.agent,
            lifetime.optimiser,
            lifetime.hyperparameters["learning_rate"],
            batch.rollout.observation,
            batch.rollout.next_observation,
            weights,
            batch,
            rule.targets,
            rule.loss,
            self.remat,
        )
        return replace(lifetime, agent=agent, optimiser=optimiser, updates=lifetime.updates + 1), about, statistics

    def test(self, lifetime: OnPolicyLifetime, at_random: bool = False) -> None:
        """An on-policy agent acts as it learns."""

    def meta_loss(
        self, objective: LearnedObjective, inner_updates: int, eta: PyTree, lifetime: OnPolicyLifetime, step: jax.Array
    ) -> tuple[jax.Array, tuple[OnPolicyLifetime, Metrics]]:
        """K updates by the objective, then a rollout that judges the agent."""

        def one_update(lifetime: OnPolicyLifetime, _: None) -> tuple[OnPolicyLifetime, Any]:
            lifetime, about, statistics = self.update(objective, eta, lifetime)
            return lifetime, (about, statistics)

        lifetime, (about, statistics) = jax.lax.scan(one_update, lifetime, None, length=inner_updates)
        about, statistics = jax.tree.map(lambda x: jnp.mean(x, 0), (about, statistics))
        lifetime, batch, judged = self.act(lifetime)
        heads = self.agent.apply(lifetime.agent, batch.rollout.observation)
        loss, metrics = objective.meta_loss(heads, batch, about)
        episodes = jax.tree.map(lambda mean, last: mean * inner_updates + last, statistics.episodes, judged.episodes)
        metrics = {
            "meta_loss": loss,
            "reward": (statistics.reward * inner_updates + judged.reward) / (inner_updates + 1),
            "value_loss": judged.value_loss,
            "episodes": episodes.number.astype(loss.dtype),
            "episode_return": episodes.total_return,
            **about,
            **metrics,
        }
        return loss, (lifetime, metrics)


def on_policy(
    rule: UpdateRule, *, rollout_steps: int, discount: float, value: ValueConfig, remat: bool = False
) -> ProgramMaker:
    """Programs of on-policy agents with the heads that `rule` declares."""

    def make(entry: Entry, environment: Environment) -> OnPolicy:
        agent = make_agent(entry.agent, environment.observation_space, environment.action_space, rule.heads)
        return OnPolicy(
            environment=environment,
            agent=agent,
            value_function=make_value_function(value, agent),
            num_environments=entry.num_environments,
            rollout_steps=rollout_steps,
            discount=discount,
            lambda_=value.lambda_,
            remat=remat,
        )

    return make
