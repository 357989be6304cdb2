"""The lifetime of an agent that learns from its latest rollout."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.agents.agent import Agent, Learner, Remembering
from metaobj.common.agents.make import AgentMaker, make_agent
from metaobj.common.agents.value_function import ValueConfig, ValueFunction, make_value_function
from metaobj.common.environments.protocol import Environment
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.returns import lambda_returns, running_square
from metaobj.common.experience.rollout import Acted, Policy, reset, rollout, sampled
from metaobj.common.keys import stream
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth, Lifetime
from metaobj.common.rules.on_policy import LearnedObjective, UpdateRule
from metaobj.common.types import Metrics, PRNGKey, PyTree

RETURNS_RATE, ADVANTAGES_RATE = 0.01, 0.05
"""How fast the running sizes of returns and of advantages fall, per rollout."""
SMALLEST = 1e-6
"""Where returns are smaller, rewards are as good as none."""


@struct.dataclass
class OnPolicyLifetime(Lifetime):
    """With the agent and the value function that its advantages come from."""

    learner: Learner
    value: PyTree
    squares: jax.Array  # [2] running mean squares of its returns, as they were paid, and of its advantages


@dataclass(frozen=True)
class OnPolicy:
    """See `lifetimes.lifetime.MetaProgram`."""

    environment: Environment
    agent: Agent
    value_function: ValueFunction
    num_environments: int
    rollout_steps: int
    discount: float
    lambda_: float
    critic_learning_rate: float
    """Of the value function, where the lifetime's hyperparameters tell none."""
    scale_rewards: bool = False
    """See `ValueConfig`."""
    remembering: Remembering | None = None
    """The rule, where it carries something from update to update."""
    remat: bool = False
    """Recompute the rule's forward pass in the meta-gradient's reverse pass instead of keeping it."""

    @property
    def first_steps(self) -> int:
        return 0

    @property
    def early_steps(self) -> int:
        return 0

    @property
    def steps_per_update(self) -> int:
        return self.rollout_steps * self.num_environments

    def steps_per_meta_update(self, gathers: int) -> int:
        return self.steps_per_update * gathers

    def start(self, key: PRNGKey, birth: Birth) -> OnPolicyLifetime:
        """A new agent in `birth.environment_params`, before its first update."""
        agent_key, value_key, reset_key, key = jax.random.split(key, 4)
        learner = self.agent.init(agent_key)
        if self.remembering is not None:
            learner = replace(learner, memory=self.remembering.first_memory())
        return OnPolicyLifetime.begin(
            key,
            birth,
            reset(reset_key, self.environment, birth.environment_params, self.num_environments),
            jnp.zeros(0),
            learner=learner,
            value=self.value_function.init(value_key),
            squares=jnp.zeros(2),
        )

    def act(self, lifetime: OnPolicyLifetime) -> tuple[OnPolicyLifetime, Batch, Acted]:
        """Roll the agent out, estimate advantages, then let the value function learn from the same steps."""
        key, rollout_key = jax.random.split(lifetime.key)
        params = jax.lax.stop_gradient(lifetime.learner.params)
        worlds, steps, episodes = rollout(
            rollout_key,
            self.environment,
            lifetime.environment_params,
            lifetime.worlds,
            self.acting(lifetime),
            self.rollout_steps,
        )
        values = self.value_function.apply(lifetime.value, steps.observation)  # [T, B]
        next_values = self.value_function.apply(lifetime.value, steps.next_observation)  # [T, B]
        returns = lambda_returns(steps, next_values, self.discount, self.lambda_)
        square_of_returns, square_of_advantages = lifetime.squares
        square_of_returns = running_square(square_of_returns, returns, RETURNS_RATE)
        unit = jnp.maximum(jnp.sqrt(square_of_returns), SMALLEST) if self.scale_rewards else 1.0
        advantages = (returns - values) / unit
        square_of_advantages = running_square(square_of_advantages, advantages, ADVANTAGES_RATE)
        batch = Batch(
            rollout=steps._replace(reward=steps.reward / unit),
            values=values / unit,
            next_values=jnp.where(steps.terminated, 0.0, next_values / unit),
            advantages=advantages,
            advantage_size=jnp.sqrt(square_of_advantages),
            rewards_to_go=lambda_returns(steps, jnp.zeros_like(values), self.discount, 1.0) / unit,
            behaviour=jax.nn.log_softmax(self.agent.apply(params, steps.observation)["policy"]),
            hyperparameters=lifetime.hyperparameters,
            discount=jnp.asarray(self.discount, values.dtype),
            progress=lifetime.updates / lifetime.length,
            log_length=jnp.log(lifetime.length),
        )
        rate = lifetime.hyperparameters.get("critic_learning_rate", self.critic_learning_rate)
        value = self.value_function.update(lifetime.value, steps.observation, returns, rate)
        squares = jnp.stack([square_of_returns, square_of_advantages])
        lifetime = lifetime.lived(worlds, steps.reward, key=key, value=value, squares=squares)
        return lifetime, batch, Acted(jnp.mean(steps.reward), episodes)

    def update(
        self, rule: UpdateRule, weights: PyTree, lifetime: OnPolicyLifetime
    ) -> tuple[OnPolicyLifetime, Metrics, Acted]:
        """One inner update: a rollout, the rule's targets, one step of the agent towards them.

        Differentiable with respect to `weights` and to the agent it starts from.
        """
        lifetime, batch, acted = self.act(lifetime)
        lifetime, about = self.learn(rule, weights, lifetime, batch)
        return lifetime, about, acted

    def learn(
        self, rule: UpdateRule, weights: PyTree, trial: OnPolicyLifetime, batch: Batch
    ) -> tuple[OnPolicyLifetime, Metrics]:
        learner, about = self.agent.learn(trial.learner, rule, weights, batch, self.remat)
        return replace(trial, learner=learner, updates=trial.updates + 1), about

    def acting(self, lifetime: OnPolicyLifetime) -> Policy:
        params = jax.lax.stop_gradient(lifetime.learner.params)
        return sampled(lambda observation: self.agent.apply(params, observation)["policy"])

    def test(self, lifetime: OnPolicyLifetime, at_random: bool = False) -> None:
        """An on-policy agent acts as it learns."""

    def begin_trial(
        self, rule: UpdateRule, inner_updates: int, eta: PyTree, lifetime: OnPolicyLifetime, step: jax.Array
    ) -> tuple[OnPolicyLifetime, Metrics]:
        return lifetime, {}

    def gather(self, trial: OnPolicyLifetime) -> tuple[OnPolicyLifetime, Batch, Metrics]:
        trial, batch, (reward, episodes) = self.act(trial)
        number = episodes.number.astype(reward.dtype)
        return trial, batch, {"reward": reward, "episodes": number, "episode_return": episodes.total_return}

    def judge(
        self,
        rule: LearnedObjective,
        trial: OnPolicyLifetime,
        batch: Batch,
        updates: Metrics,
        target: Learner | None = None,
    ) -> tuple[jax.Array, Metrics]:
        rollout = batch.rollout
        heads = self.agent.apply(trial.learner.params, rollout.observation)
        next_heads = self.agent.apply(trial.learner.params, rollout.next_observation)
        there = () if target is None else (self.agent.apply(target.params, rollout.observation),)
        loss, metrics = rule.meta_loss(heads, next_heads, batch, updates, *there)
        # Before this rollout's update of the value function.
        return loss, {"value_loss": jnp.mean(batch.advantages**2), **metrics}

    def end_trial(self, trial: OnPolicyLifetime) -> OnPolicyLifetime:
        return trial

    def learner(self, trial: OnPolicyLifetime) -> Learner:
        return trial.learner

    def with_learner(self, trial: OnPolicyLifetime, learner: Learner) -> OnPolicyLifetime:
        return replace(trial, learner=learner)

    def parameters(self, learner: Learner) -> PyTree:
        return learner.params

    def forked(self, trial: OnPolicyLifetime) -> OnPolicyLifetime:
        return replace(trial, key=stream(trial.key, "ahead"))


def on_policy(
    rule: UpdateRule,
    *,
    rollout_steps: int,
    discount: float,
    value: ValueConfig,
    remat: bool = False,
    agents: AgentMaker = make_agent,
    kind: Callable[..., OnPolicy] = OnPolicy,
) -> Callable[[Entry, Environment], OnPolicy]:
    """Programs of on-policy agents with the heads that `rule` declares.

    Args:
        rule: what they are to learn by.
        rollout_steps: T.
        discount: gamma of their value functions.
        value: those.
        remat: see `OnPolicy`.
        agents: how an agent is made.
        kind: of programs.
    """

    def make(entry: Entry, environment: Environment) -> OnPolicy:
        agent = agents(entry.agent, environment.observation_space, environment.action_space, rule.heads)
        return kind(
            environment=environment,
            agent=agent,
            value_function=make_value_function(value, entry.agent, environment.observation_space),
            num_environments=entry.num_environments,
            rollout_steps=rollout_steps,
            discount=discount,
            lambda_=value.lambda_,
            critic_learning_rate=value.learning_rate,
            scale_rewards=value.scale_rewards,
            remembering=rule if isinstance(rule, Remembering) else None,
            remat=remat,
        )

    return make
