"""The lifetime of an agent with a deterministic policy, twin critics and a replay, as in TD3.

Fujimoto et al. 2018, "Addressing Function Approximation Error in Actor-Critic Methods" (arXiv 1802.09477). What the
policy descends is the rule's: the critic's judgement (DDPG, TD3) or a learned loss. The critics learn by temporal
differences whatever the rule.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property, partial

import jax
import jax.numpy as jnp
import optax
from flax import struct

from metaobj.common.agents.actor_critic import Actor, Critic
from metaobj.common.devices import memory
from metaobj.common.environments.protocol import Environment
from metaobj.common.environments.scaled import ScaledActions
from metaobj.common.errors import UserError
from metaobj.common.experience import replay
from metaobj.common.experience.replay import Replay
from metaobj.common.experience.rollout import Episodes, Policy, rollout
from metaobj.common.experience.windows import Windows, mean_valid
from metaobj.common.gradients import clip_by_norm
from metaobj.common.lifetimes.continuous import Acted, normal_noise, random_start, tested
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth, Lifetime, ProgramMaker
from metaobj.common.lifetimes.off_policy_settings import AgentSettings
from metaobj.common.rules.off_policy import Experience, PolicyRule
from metaobj.common.types import Metrics, PRNGKey, PyTree, Rollout


@struct.dataclass
class OffPolicyLifetime(Lifetime):
    """With policy, critics, their targets and optimisers, and the replay."""

    actor: PyTree
    actor_target: PyTree
    actor_optimiser: PyTree
    reward_scale: jax.Array  # [] rewards are divided by it before the critics see them
    critic: PyTree  # [1 or 2, ...]
    critic_target: PyTree
    critic_optimiser: PyTree
    replay: Replay


@dataclass(frozen=True)
class OffPolicy:
    """See `common.lifetimes.lifetime.Program`."""

    environment: ScaledActions
    num_environments: int
    rollout_steps: int
    discount: float
    agent: AgentSettings

    @cached_property
    def actor(self) -> Actor:
        return Actor(self.agent.hidden, self.agent.layer_norm, self.environment.action_space.shape[0])

    @cached_property
    def critic(self) -> Critic:
        return Critic(self.agent.hidden, self.agent.layer_norm)

    @property
    def random_rows(self) -> int:
        """Time steps with uniform actions."""
        return self.agent.random_rows(self.num_environments, self.rollout_steps)

    @property
    def replay_rows(self) -> int:
        """Time steps that the replay holds: whole rollouts."""
        return self.agent.replay_steps // self.num_environments // self.rollout_steps * self.rollout_steps

    @property
    def replay_bytes(self) -> int:
        """Memory of one agent's replay."""
        observation, action = self.environment.observation_space.shape, self.environment.action_space.shape
        numbers = 2 * math.prod(observation) + math.prod(action) + 1  # and two flags
        step = numbers * jnp.dtype(jnp.result_type(float)).itemsize + 2
        return self.replay_rows * self.num_environments * step

    @property
    def first_steps(self) -> int:
        return self.random_rows * self.num_environments

    @property
    def steps_per_update(self) -> int:
        return self.rollout_steps * self.num_environments

    def start(self, key: PRNGKey, birth: Birth) -> OffPolicyLifetime:
        """A new agent, and its first environment steps, at random."""
        actor_key, critic_key, start_key, key = jax.random.split(key, 4)
        worlds, steps, size = random_start(
            start_key, self.environment, birth.environment_params, self.num_environments, self.random_rows
        )
        observation = worlds.observation[:1]
        actor = self.actor.init(actor_key, observation)
        action = jnp.zeros((1, *self.environment.action_space.shape))
        twins = 2 if self.agent.twin else 1
        critic = jax.vmap(lambda k: self.critic.init(k, observation, action))(jax.random.split(critic_key, twins))
        return OffPolicyLifetime.begin(
            key,
            birth,
            worlds,
            steps.reward,
            actor=actor,
            actor_target=actor,
            actor_optimiser=_adam().init(actor),
            reward_scale=size if self.agent.scale_rewards else jnp.ones_like(size),
            critic=critic,
            critic_target=critic,
            critic_optimiser=_adam().init(critic),
            replay=replay.add(replay.empty(jax.tree.map(lambda leaf: leaf[:1], steps), self.replay_rows), steps),
        )

    def act(self, lifetime: OffPolicyLifetime) -> tuple[OffPolicyLifetime, Acted]:
        """Act with noise; keep the steps in the replay."""
        key, act_key = jax.random.split(lifetime.key)
        noise_size = lifetime.hyperparameters["exploration_noise"]

        def noisy(observation: jax.Array, noise: jax.Array) -> jax.Array:
            return jnp.clip(self.policy(lifetime.actor, observation) + noise_size * noise, -1.0, 1.0)

        worlds, steps, episodes = rollout(
            act_key,
            self.environment,
            lifetime.environment_params,
            lifetime.worlds,
            Policy(normal_noise(self.environment), noisy),
            self.rollout_steps,
        )
        lifetime = lifetime.lived(worlds, steps.reward, key=key, replay=replay.add(lifetime.replay, steps))
        return lifetime, Acted(jnp.mean(steps.reward), episodes)

    def sample(self, key: PRNGKey, lifetime: OffPolicyLifetime) -> Windows:
        """A batch of windows from the replay, with scaled rewards."""
        steps, valid = replay.sample(key, lifetime.replay, self.agent.windows, self.agent.window_steps)
        return Windows(steps._replace(reward=steps.reward / lifetime.reward_scale), valid)

    def critic_targets(self, key: PRNGKey, lifetime: OffPolicyLifetime, steps: Rollout) -> jax.Array:
        """Y = r + gamma (1 - d) min_i Q'_i(s', pi'(s') + clipped noise), [T, W]."""
        settings = self.agent
        action = self.policy(lifetime.actor_target, steps.next_observation)
        noise = settings.target_noise * jax.random.normal(key, action.shape, action.dtype)
        noise = jnp.clip(noise, -settings.target_noise_clip, settings.target_noise_clip)
        action = jnp.clip(action + noise, -1.0, 1.0)
        following = jnp.min(self.twins(lifetime.critic_target, steps.next_observation, action), axis=0)
        ended = self.ended(steps)
        return steps.reward + settings.end_bonus * ended + self.discount * jnp.where(ended, 0.0, following)

    def update_critic(self, key: PRNGKey, lifetime: OffPolicyLifetime) -> tuple[OffPolicyLifetime, jax.Array]:
        """One step of the critics and of all targets; also the critics' loss."""
        sample_key, noise_key = jax.random.split(key)
        steps, valid = self.sample(sample_key, lifetime)
        targets = self.critic_targets(noise_key, lifetime, steps)

        def loss(critic: PyTree) -> jax.Array:
            errors = self.twins(critic, steps.observation, steps.action) - targets  # [1 or 2, T, W]
            return 0.5 * jnp.sum(jax.vmap(mean_valid, (0, None))(errors**2, valid))

        value, gradient = jax.value_and_grad(loss)(lifetime.critic)
        updates, optimiser = _adam().update(gradient, lifetime.critic_optimiser)
        rate = lifetime.hyperparameters["critic_learning_rate"]
        critic = jax.tree.map(lambda p, u: p - rate * u, lifetime.critic, updates)
        tau = self.agent.target_step_size
        return replace(
            lifetime,
            critic=critic,
            critic_optimiser=optimiser,
            critic_target=optax.incremental_update(critic, lifetime.critic_target, tau),
            actor_target=optax.incremental_update(lifetime.actor, lifetime.actor_target, tau),
        ), value

    def update(
        self,
        rule: PolicyRule,
        weights: PyTree,
        lifetime: OffPolicyLifetime,
        share: jax.Array | None = None,
    ) -> tuple[OffPolicyLifetime, Metrics, Acted]:
        """Act, then learn; `share` of the policy's loss is the rule's, the rest the critic's (None: all the rule's)."""
        lifetime, acted = self.act(lifetime)

        def learn(lifetime: OffPolicyLifetime, _: None) -> tuple[OffPolicyLifetime, Metrics]:
            key, policy_key, *keys = jax.random.split(lifetime.key, 2 + self.agent.critic_updates)
            lifetime, critic_losses = jax.lax.scan(
                lambda life, key: self.update_critic(key, life), replace(lifetime, key=key), jnp.stack(keys)
            )
            lifetime, about = self.update_policy(policy_key, rule, weights, lifetime, share)
            return lifetime, about | {"critic_loss": jnp.mean(critic_losses)}

        lifetime, about = jax.lax.scan(learn, lifetime, None, length=self.agent.policy_updates)
        about = {name: jnp.mean(values) for name, values in about.items()}
        return replace(lifetime, updates=lifetime.updates + 1), about, acted

    def update_policy(
        self, key: PRNGKey, rule: PolicyRule, weights: PyTree, lifetime: OffPolicyLifetime, share: jax.Array | None
    ) -> tuple[OffPolicyLifetime, Metrics]:
        """One step of the policy."""
        steps, valid = self.sample(key, lifetime)
        experience = self.experience(lifetime.critic, lifetime.actor, steps, valid)

        def loss(actor: PyTree) -> tuple[jax.Array, jax.Array]:
            before = self.before_tanh(actor, steps.observation)  # [T, W, A]
            actions = jnp.tanh(before)
            judged = self.first(lifetime.critic, steps.observation, actions)
            total = rule.loss(weights, actions, experience, judged)
            if share is not None:
                total = share * total - (1.0 - share) * mean_valid(judged, valid)
            excess = jnp.sum(jnp.maximum(jnp.abs(before) - 1.0, 0.0) ** 2, -1)
            total += self.agent.saturation_penalty * mean_valid(excess, valid)
            return total, jnp.mean(jnp.abs(actions) > 0.99)

        gradient, saturated = jax.grad(loss, has_aux=True)(lifetime.actor)
        gradient, norm = clip_by_norm(gradient, self.agent.policy_gradient_clip or jnp.inf)
        updates, optimiser = _adam().update(gradient, lifetime.actor_optimiser)
        rate = lifetime.hyperparameters["learning_rate"]
        lifetime = replace(
            lifetime,
            actor=jax.tree.map(lambda p, u: p - rate * u, lifetime.actor, updates),
            actor_optimiser=optimiser,
        )
        return lifetime, {
            "value": mean_valid(experience.values, valid),
            "saturation": saturated,
            "policy_gradient_norm": norm,
        }

    def experience(self, critic: PyTree, actor: PyTree, steps: Rollout, valid: jax.Array) -> Experience:
        """What rules may know of windows."""
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

    def test(self, lifetime: OffPolicyLifetime, at_random: bool = False) -> Episodes:
        """One episode without noise in each of some fresh environments; or of uniform actions."""
        key = jax.random.fold_in(lifetime.key, 1)
        act = None if at_random else partial(self.policy, lifetime.actor)
        return tested(key, self.environment, lifetime.environment_params, act, self.agent.test_environments)

    def ended(self, steps: Rollout) -> jax.Array:
        """[T, W] after which steps there is nothing."""
        return steps.terminated | steps.truncated if self.agent.time_limits_end else steps.terminated

    def policy(self, actor: PyTree, observation: jax.Array) -> jax.Array:
        """Actions [..., A] in [-1, 1] at observations [..., D]."""
        return jnp.tanh(self.before_tanh(actor, observation))

    def before_tanh(self, actor: PyTree, observation: jax.Array) -> jax.Array:
        return jnp.asarray(self.actor.apply(actor, observation))

    def twins(self, critic: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        """[1 or 2, ...]."""
        return jnp.asarray(jax.vmap(lambda params: self.critic.apply(params, observation, action))(critic))

    def first(self, critic: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        params = jax.tree.map(lambda leaf: leaf[0], critic)
        return jnp.asarray(self.critic.apply(params, observation, action))


def off_policy(*, rollout_steps: int, discount: float, agent: AgentSettings) -> ProgramMaker:
    """Programs of off-policy agents."""

    def make(entry: Entry, environment: Environment) -> OffPolicy:
        program = OffPolicy(
            environment=ScaledActions(environment),
            num_environments=entry.num_environments,
            rollout_steps=rollout_steps,
            discount=discount,
            agent=agent,
        )
        check_replay(program, entry.lifetimes)
        return program

    return make


def check_replay(program: OffPolicy, agents: int) -> None:
    """Before time is spent.

    Raises:
        UserError: the replay cannot hold what is drawn from it, or memory cannot hold the replays.
    """
    agent = program.agent
    if program.replay_rows < agent.window_steps:
        raise UserError(
            f"agent.window_steps: {agent.window_steps} given; the replay holds {program.replay_rows} steps of "
            f"each of {program.num_environments} environments"
        )
    if program.replay_rows < program.random_rows:
        raise UserError(
            f"agent.random_steps: {agent.random_steps} given; the replay holds "
            f"{program.replay_rows * program.num_environments}"
        )
    if (needed := agents * program.replay_bytes) > memory():
        raise UserError(
            f"agent.replay_steps: {agent.replay_steps} given; the replays of {agents} agents take "
            f"{needed / 2**30:.0f} GiB, and there are {memory() / 2**30:.0f} GiB of memory"
        )


def _adam() -> optax.GradientTransformation:
    """Without the learning rate, which is data."""
    return optax.scale_by_adam()
