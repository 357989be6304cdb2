"""The lifetime of an agent that learns from its latest rollout."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.agents.agent import Agent, Learner
from metaobj.common.agents.make import make_agent
from metaobj.common.agents.value_function import ValueConfig, ValueFunction, make_value_function
from metaobj.common.environments.protocol import Environment
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.returns import lambda_returns, running_square
from metaobj.common.experience.rollout import Acted, reset, rollout, sampled
from metaobj.common.keys import stream
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth, Lifetime
from metaobj.common.rules.handwritten import A2C, A2C_ENTROPY_WEIGHT
from metaobj.common.rules.on_policy import LearnedObjective, UpdateRule
from metaobj.common.types import Metrics, PRNGKey, PyTree

RETURNS_RATE, ADVANTAGES_RATE = 0.01, 0.05
"""How fast the running sizes of returns and of advantages fall, per rollout."""
_GUIDE = A2C()
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
    remat: bool = False
    """Recompute the rule's forward pass in the meta-gradient's reverse pass instead of keeping it."""
    look_ahead: int = 0
    """L, updates by A2C that show the meta-loss where the agent might go after K updates, see `ahead`."""

    @property
    def first_steps(self) -> int:
        return 0

    @property
    def steps_per_update(self) -> int:
        return self.rollout_steps * self.num_environments

    def steps_per_meta_update(self, inner_updates: int) -> int:
        return self.steps_per_update * (inner_updates + max(self.look_ahead, 1))

    def start(self, key: PRNGKey, birth: Birth) -> OnPolicyLifetime:
        """A new agent in `birth.environment_params`, before its first update."""
        agent_key, value_key, reset_key, key = jax.random.split(key, 4)
        return OnPolicyLifetime.begin(
            key,
            birth,
            reset(reset_key, self.environment, birth.environment_params, self.num_environments),
            jnp.zeros(0),
            learner=self.agent.init(agent_key),
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
            sampled(lambda observation: self.agent.apply(params, observation)["policy"]),
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
        learner, about = self.agent.learn(lifetime.learner, rule, weights, batch, self.remat)
        return replace(lifetime, learner=learner, updates=lifetime.updates + 1), about, acted

    def test(self, lifetime: OnPolicyLifetime, at_random: bool = False) -> None:
        """An on-policy agent acts as it learns."""

    def ahead(self, lifetime: OnPolicyLifetime, batch: Batch) -> PyTree:
        """Parameters of the agent after `look_ahead` updates by A2C, on this batch first; constant.

        A bootstrapped target (Flennerhag et al. 2022, "Bootstrapped Meta-Learning"): rules that lead there sooner are
        better, however greedy others are. The agent's optimiser goes on from what it remembers of the rule's gradients.
        """

        def learn(learner: Learner, batch: Batch) -> Learner:
            entropy = {"entropy_weight": jnp.asarray(A2C_ENTROPY_WEIGHT, batch.rollout.reward.dtype)}
            batch = batch._replace(hyperparameters=batch.hyperparameters | entropy)
            return self.agent.learn(learner, _GUIDE, (), batch)[0]

        def further(lifetime: OnPolicyLifetime, _: None) -> tuple[OnPolicyLifetime, None]:
            lifetime, batch = self.act(lifetime)[:2]
            return replace(lifetime, learner=learn(lifetime.learner, batch)), None

        lifetime, batch = jax.lax.stop_gradient((lifetime, batch))
        # Keys of its own: the agent itself is not to meet what was seen ahead.
        lifetime = replace(lifetime, key=stream(lifetime.key, "ahead"), learner=learn(lifetime.learner, batch))
        return jax.lax.scan(further, lifetime, None, length=self.look_ahead - 1)[0].learner.params

    def meta_loss(
        self, objective: LearnedObjective, inner_updates: int, eta: PyTree, lifetime: OnPolicyLifetime, step: jax.Array
    ) -> tuple[jax.Array, tuple[OnPolicyLifetime, Metrics]]:
        """K updates by the objective, then a rollout that judges the agent; where it is compared with what further
        updates by A2C make of it, these are forgotten afterwards.
        """

        def one_update(lifetime: OnPolicyLifetime, _: None) -> tuple[OnPolicyLifetime, tuple[Metrics, Acted]]:
            lifetime, about, acted = self.update(objective, eta, lifetime)
            return lifetime, (about, acted)

        lifetime, (about, acted) = jax.lax.scan(one_update, lifetime, None, length=inner_updates)
        about, acted = jax.tree.map(lambda x: jnp.mean(x, 0), (about, acted))
        lifetime, batch, judged = self.act(lifetime)
        heads = self.agent.apply(lifetime.learner.params, batch.rollout.observation)
        if self.look_ahead:
            target = self.agent.apply(self.ahead(lifetime, batch), batch.rollout.observation)
            loss, metrics = objective.meta_loss(heads, batch, about, target)
        else:
            loss, metrics = objective.meta_loss(heads, batch, about)
        episodes = jax.tree.map(lambda mean, last: mean * inner_updates + last, acted.episodes, judged.episodes)
        metrics = {
            "meta_loss": loss,
            "reward": (acted.reward * inner_updates + judged.reward) / (inner_updates + 1),
            "value_loss": jnp.mean(batch.advantages**2),  # before this rollout's update of the value function
            "episodes": episodes.number.astype(loss.dtype),
            "episode_return": episodes.total_return,
            **about,
            **metrics,
        }
        return loss, (lifetime, metrics)


def on_policy(
    rule: UpdateRule,
    *,
    rollout_steps: int,
    discount: float,
    value: ValueConfig,
    remat: bool = False,
    look_ahead: int = 0,
) -> Callable[[Entry, Environment], OnPolicy]:
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
            critic_learning_rate=value.learning_rate,
            scale_rewards=value.scale_rewards,
            remat=remat,
            look_ahead=look_ahead,
        )

    return make
