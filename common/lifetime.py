"""One agent's lifetime: its state, its start, one update of it. A population is lifetimes on a leading axis."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct

from common.agents.agent import Agent, Hyperparameters
from common.environments.protocol import Environment
from common.objective import Batch, UpdateRule
from common.returns import lambda_returns
from common.rollout import Episodes, Worlds, reset, rollout
from common.types import PRNGKey, PyTree
from common.value_function import ValueFunction


@dataclass(frozen=True)
class Program:
    """All that is static in a lifetime: lifetimes with equal programs are compiled, vmapped and sharded together."""

    environment: Environment
    agent: Agent
    value_function: ValueFunction
    num_environments: int
    rollout_steps: int
    discount: float
    lambda_: float
    remat: bool = False
    """Recompute the rule's forward pass in the meta-gradient's reverse pass instead of keeping it."""


@struct.dataclass
class Lifetime:
    """Everything that one lifetime carries from update to update."""

    key: PRNGKey
    task: jax.Array  # [] int32, index of its environment in the distribution
    setting: jax.Array  # [] int32, index of its hyperparameters in the environment's grid
    hyperparameters: Hyperparameters  # scalars
    environment_params: PyTree
    worlds: Worlds  # [B, ...]
    agent: PyTree
    optimiser: PyTree
    value: PyTree
    updates: jax.Array  # [] int32, agent updates so far
    length: jax.Array  # [] int32, agent updates in all
    counts: jax.Array  # [] bool, whether its return goes to the sampler (a shortened first life's does not)
    reward_sum: jax.Array  # [] of all steps of all environments
    steps: jax.Array  # [] float, environment steps so far


class RolloutStatistics(NamedTuple):
    """What one rollout showed."""

    reward: jax.Array  # [] mean per environment step
    episodes: Episodes
    value_loss: jax.Array  # [] mean squared error before this rollout's value update


def start(
    key: PRNGKey,
    program: Program,
    environment_params: PyTree,
    task: jax.Array,
    setting: jax.Array,
    hyperparameters: Hyperparameters,
    length: jax.Array,
    counts: jax.Array,
) -> Lifetime:
    """A new agent in `environment_params`, before its first update."""
    agent_key, value_key, reset_key, key = jax.random.split(key, 4)
    agent, optimiser = program.agent.init(agent_key)
    return Lifetime(
        key=key,
        task=task,
        setting=setting,
        hyperparameters=hyperparameters,
        environment_params=environment_params,
        worlds=reset(reset_key, program.environment, environment_params, program.num_environments),
        agent=agent,
        optimiser=optimiser,
        value=program.value_function.init(value_key),
        updates=jnp.int32(0),
        length=length,
        counts=counts,
        reward_sum=jnp.zeros(()),
        steps=jnp.zeros(()),
    )


def act(program: Program, lifetime: Lifetime) -> tuple[Lifetime, Batch, RolloutStatistics]:
    """Roll the agent out, estimate advantages, then let the value function learn from the same steps."""
    key, rollout_key = jax.random.split(lifetime.key)
    agent = jax.lax.stop_gradient(lifetime.agent)
    worlds, steps, episodes = rollout(
        rollout_key,
        program.environment,
        lifetime.environment_params,
        lifetime.worlds,
        lambda observation: program.agent.apply(agent, observation)["policy"],
        program.rollout_steps,
    )
    values = program.value_function.apply(lifetime.value, steps.observation)  # [T, B]
    next_values = program.value_function.apply(lifetime.value, steps.next_observation)  # [T, B]
    returns = lambda_returns(steps, next_values, program.discount, program.lambda_)
    batch = Batch(
        rollout=steps,
        advantages=returns - values,
        rewards_to_go=lambda_returns(steps, jnp.zeros_like(values), program.discount, 1.0),
        hyperparameters=lifetime.hyperparameters,
        discount=jnp.asarray(program.discount, values.dtype),
        progress=lifetime.updates / lifetime.length,
        log_length=jnp.log(lifetime.length),
    )
    statistics = RolloutStatistics(jnp.mean(steps.reward), episodes, jnp.mean((returns - values) ** 2))
    lifetime = replace(
        lifetime,
        key=key,
        worlds=worlds,
        value=program.value_function.update(lifetime.value, steps.observation, returns),
        reward_sum=lifetime.reward_sum + jnp.sum(steps.reward),
        steps=lifetime.steps + steps.reward.size,
    )
    return lifetime, batch, statistics


def update(
    program: Program, rule: UpdateRule, weights: PyTree, lifetime: Lifetime
) -> tuple[Lifetime, dict[str, jax.Array], RolloutStatistics]:
    """One inner update: a rollout, the rule's targets, one step of the agent towards them.

    Differentiable with respect to `weights` and to the agent it starts from.
    """
    lifetime, batch, statistics = act(program, lifetime)
    agent, optimiser, about = program.agent.learn(
        lifetime.agent,
        lifetime.optimiser,
        lifetime.hyperparameters["learning_rate"],
        batch.rollout.observation,
        batch.rollout.next_observation,
        weights,
        batch,
        rule.targets,
        rule.loss,
        program.remat,
    )
    return replace(lifetime, agent=agent, optimiser=optimiser, updates=lifetime.updates + 1), about, statistics
