"""An agent with a deterministic policy and twin critics, as in TD3 (Fujimoto et al. 2018, arXiv 1802.09477).

What the policy descends is the rule's: the critic's judgement (DDPG, TD3) or a learned loss. The critics learn by
temporal differences whatever the rule.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol

import chex
import jax
import jax.numpy as jnp
import optax
from flax import struct

from metaobj.common.agents.actor_critic import Actor, Critic
from metaobj.common.agents.settings import AgentSettings
from metaobj.common.experience.batches import Experience
from metaobj.common.experience.windows import Windows, mean_valid
from metaobj.common.gradients import clip_by_norm
from metaobj.common.types import Metrics, PRNGKey, PyTree, Rollout


class ActionLoss(Protocol):
    """What the policy's step asks of a rule."""

    def loss(self, weights: PyTree, actions: jax.Array, experience: Experience, judged: jax.Array) -> jax.Array:
        """The scalar loss of the policy's actions [T, W, A].

        Args:
            weights: the rule's own.
            actions: pi(s_t), the only path to the policy's parameters beside `judged`.
            experience: what else there is to know.
            judged: Q(s_t, pi(s_t)) [T, W] under the first critic, differentiable with respect to the actions.
        """


@struct.dataclass
class ActorCriticLearner:
    """What learning changes: the policy, the critics, their targets and their optimisers."""

    actor: PyTree
    actor_target: PyTree
    actor_optimiser: PyTree
    critic: PyTree  # [1 or 2, ...]
    critic_target: PyTree
    critic_optimiser: PyTree


@dataclass(frozen=True)
class DeterministicAgent:
    """Pure functions of an `ActorCriticLearner`; observations [..., D], actions [..., A] in [-1, 1]."""

    settings: AgentSettings
    action_size: int
    discount: float

    @cached_property
    def actor(self) -> Actor:
        return Actor(self.settings.hidden, self.settings.layer_norm, self.action_size)

    @cached_property
    def critic(self) -> Critic:
        return Critic(self.settings.hidden, self.settings.layer_norm)

    @cached_property
    def optimiser(self) -> optax.GradientTransformation:
        """Adam without the learning rate, which is data."""
        return optax.scale_by_adam()

    def init(self, actor_key: PRNGKey, critic_key: PRNGKey, observation: jax.Array) -> ActorCriticLearner:
        """Before the first update; `observation` [1, D] tells shapes."""
        actor = self.actor.init(actor_key, observation)
        action = jnp.zeros((1, self.action_size))
        twins = 2 if self.settings.twin else 1
        critic = jax.vmap(lambda k: self.critic.init(k, observation, action))(jax.random.split(critic_key, twins))
        return ActorCriticLearner(
            actor=actor,
            actor_target=actor,
            actor_optimiser=self.optimiser.init(actor),
            critic=critic,
            critic_target=critic,
            critic_optimiser=self.optimiser.init(critic),
        )

    def policy(self, actor: PyTree, observation: jax.Array) -> jax.Array:
        """Actions pi(s)."""
        return jnp.tanh(self.before_tanh(actor, observation))

    def before_tanh(self, actor: PyTree, observation: jax.Array) -> jax.Array:
        """The policy's pre-activations [..., A]."""
        return jnp.asarray(self.actor.apply(actor, observation))

    def twins(self, critic: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        """Q(s, a) under each critic, [1 or 2, ...]."""
        return jnp.asarray(jax.vmap(lambda params: self.critic.apply(params, observation, action))(critic))

    def first(self, critic: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        """Q(s, a) under the first critic, [...]."""
        params = jax.tree.map(lambda leaf: leaf[0], critic)
        return jnp.asarray(self.critic.apply(params, observation, action))

    def ended(self, steps: Rollout) -> jax.Array:
        """[T, W] after which steps there is nothing."""
        return steps.terminated | steps.truncated if self.settings.time_limits_end else steps.terminated

    def critic_targets(self, key: PRNGKey, learner: ActorCriticLearner, steps: Rollout) -> jax.Array:
        """Y = r + gamma (1 - d) min_i Q'_i(s', pi'(s') + clipped noise), [T, W]."""
        settings = self.settings
        action = self.policy(learner.actor_target, steps.next_observation)
        noise = settings.target_noise * jax.random.normal(key, action.shape, action.dtype)
        noise = jnp.clip(noise, -settings.target_noise_clip, settings.target_noise_clip)
        action = jnp.clip(action + noise, -1.0, 1.0)
        following = jnp.min(self.twins(learner.critic_target, steps.next_observation, action), axis=0)
        ended = self.ended(steps)
        chex.assert_equal_shape([steps.reward, following, ended])
        return steps.reward + settings.end_bonus * ended + self.discount * jnp.where(ended, 0.0, following)

    def update_critic(
        self, key: PRNGKey, learner: ActorCriticLearner, windows: Windows, learning_rate: jax.Array
    ) -> tuple[ActorCriticLearner, jax.Array]:
        """One step of the critics and of all targets; also the critics' loss."""
        steps, valid = windows
        targets = self.critic_targets(key, learner, steps)

        def loss(critic: PyTree) -> jax.Array:
            errors = self.twins(critic, steps.observation, steps.action) - targets  # [1 or 2, T, W]
            return 0.5 * jnp.sum(jax.vmap(mean_valid, (0, None))(errors**2, valid))

        value, gradient = jax.value_and_grad(loss)(learner.critic)
        updates, optimiser = self.optimiser.update(gradient, learner.critic_optimiser)
        critic = jax.tree.map(lambda p, u: p - learning_rate * u, learner.critic, updates)
        tau = self.settings.target_step_size
        return replace(
            learner,
            critic=critic,
            critic_optimiser=optimiser,
            critic_target=optax.incremental_update(critic, learner.critic_target, tau),
            actor_target=optax.incremental_update(learner.actor, learner.actor_target, tau),
        ), value

    def update_policy(
        self,
        learner: ActorCriticLearner,
        rule: ActionLoss,
        weights: PyTree,
        windows: Windows,
        learning_rate: jax.Array,
    ) -> tuple[ActorCriticLearner, Metrics]:
        """One step of the policy down the rule's loss, and scalars about it."""
        steps, valid = windows
        experience = self.experience(learner.critic, learner.actor, windows)

        def loss(actor: PyTree) -> tuple[jax.Array, jax.Array]:
            before = self.before_tanh(actor, steps.observation)  # [T, W, A]
            actions = jnp.tanh(before)
            judged = self.first(learner.critic, steps.observation, actions)
            total = rule.loss(weights, actions, experience, judged)
            excess = jnp.sum(jnp.maximum(jnp.abs(before) - 1.0, 0.0) ** 2, -1)
            total += self.settings.saturation_penalty * mean_valid(excess, valid)
            return total, jnp.mean(jnp.abs(actions) > 0.99)

        gradient, saturated = jax.grad(loss, has_aux=True)(learner.actor)
        gradient, norm = clip_by_norm(gradient, self.settings.policy_gradient_clip or jnp.inf)
        updates, optimiser = self.optimiser.update(gradient, learner.actor_optimiser)
        actor = jax.tree.map(lambda p, u: p - learning_rate * u, learner.actor, updates)
        return replace(learner, actor=actor, actor_optimiser=optimiser), {
            "value": mean_valid(experience.values, valid),
            "saturation": saturated,
            "policy_gradient_norm": norm,
        }

    def experience(self, critic: PyTree, actor: PyTree, windows: Windows) -> Experience:
        """What rules may know of windows."""
        steps, valid = windows
        values = self.first(critic, steps.observation, self.policy(actor, steps.observation))
        following = self.policy(actor, steps.next_observation)
        next_values = self.first(critic, steps.next_observation, following)
        return Experience(
            action=steps.action,
            reward=steps.reward,
            valid=valid,
            values=values,
            next_values=jnp.where(self.ended(steps), 0.0, next_values),
            discount=jnp.asarray(self.discount, values.dtype),
        )
