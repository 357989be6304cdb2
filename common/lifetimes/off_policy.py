"""The lifetime of a deterministic agent that learns from a replay, as in TD3 (Fujimoto et al. 2018)."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.agents.deterministic import ActorCriticLearner, DeterministicAgent
from metaobj.common.agents.settings import AgentSettings
from metaobj.common.environments.protocol import Environment
from metaobj.common.environments.scaled import ScaledActions
from metaobj.common.errors import UserError
from metaobj.common.experience import replay
from metaobj.common.experience.replay import Replay
from metaobj.common.experience.rollout import Acted, Episodes, Policy, rollout
from metaobj.common.experience.windows import Windows
from metaobj.common.keys import stream
from metaobj.common.lifetimes.continuous import normal_noise, random_start, tested, without_noise
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth, Lifetime
from metaobj.common.memory import memory
from metaobj.common.rules.off_policy import PolicyRule
from metaobj.common.types import Metrics, PRNGKey, PyTree


@struct.dataclass
class OffPolicyLifetime(Lifetime):
    """With policy, critics, their targets and optimisers, and the replay."""

    learner: ActorCriticLearner
    reward_scale: jax.Array  # [] rewards are divided by it before the critics see them
    replay: Replay


@dataclass(frozen=True)
class OffPolicy:
    """See `lifetimes.lifetime.Program`."""

    environment: ScaledActions
    agent: DeterministicAgent
    num_environments: int
    rollout_steps: int

    @classmethod
    def for_entry(
        cls,
        entry: Entry,
        environment: Environment,
        *,
        rollout_steps: int,
        discount: float,
        agent: AgentSettings,
        **more: Any,
    ) -> Self:
        """How agents live in an entry's environment; `more` is for the fields that a subclass adds.

        Raises:
            UserError: the environment's actions do not suit, or the replay does not fit.
        """
        scaled = ScaledActions(environment)
        deterministic = DeterministicAgent(agent, scaled.action_space.shape[0], discount)
        program = cls(scaled, deterministic, entry.num_environments, rollout_steps, **more)
        check_replay(program, entry.lifetimes)
        return program

    @property
    def random_rows(self) -> int:
        """Time steps with uniform actions."""
        return self.agent.settings.random_rows(self.num_environments, self.rollout_steps)

    @property
    def replay_rows(self) -> int:
        """Time steps that the replay holds: whole rollouts."""
        return self.agent.settings.replay_steps // self.num_environments // self.rollout_steps * self.rollout_steps

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
    def early_steps(self) -> int:
        return 0

    @property
    def steps_per_update(self) -> int:
        return self.rollout_steps * self.num_environments

    def start(self, key: PRNGKey, birth: Birth) -> OffPolicyLifetime:
        """A new agent, and its first environment steps, at random."""
        actor_key, critic_key, start_key, key = jax.random.split(key, 4)
        worlds, steps, size = random_start(
            start_key, self.environment, birth.environment_params, self.num_environments, self.random_rows
        )
        return OffPolicyLifetime.begin(
            key,
            birth,
            worlds,
            steps.reward,
            learner=self.agent.init(actor_key, critic_key, worlds.observation[:1]),
            reward_scale=size if self.agent.settings.scale_rewards else jnp.ones_like(size),
            replay=replay.add(replay.empty(jax.tree.map(lambda leaf: leaf[:1], steps), self.replay_rows), steps),
        )

    def act(self, lifetime: OffPolicyLifetime) -> tuple[OffPolicyLifetime, Acted]:
        """Act with noise; keep the steps in the replay."""
        key, act_key = jax.random.split(lifetime.key)
        noise_size = lifetime.hyperparameters["exploration_noise"]

        def noisy(observation: jax.Array, noise: jax.Array) -> jax.Array:
            action = self.agent.policy(lifetime.learner.actor, observation)
            return jnp.clip(action + noise_size * noise, -1.0, 1.0)

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

    def sample(self, key: PRNGKey, lifetime: OffPolicyLifetime, together: bool = True) -> Windows:
        """A batch from the replay, with scaled rewards: windows, or as many single steps drawn evenly."""
        number, length = self.agent.settings.windows, self.agent.settings.window_steps
        if together:
            steps, valid = replay.sample_windows(key, lifetime.replay, number, length)
        else:
            steps, valid = replay.sample_steps(key, lifetime.replay, number * length)
        return Windows(steps._replace(reward=steps.reward / lifetime.reward_scale), valid)

    def update(
        self, rule: PolicyRule, weights: PyTree, lifetime: OffPolicyLifetime
    ) -> tuple[OffPolicyLifetime, Metrics, Acted]:
        """Act, then learn from the replay: some steps of the critics for each of the policy's by the rule."""
        lifetime, acted = self.act(lifetime)
        settings, rates = self.agent.settings, lifetime.hyperparameters

        def learn_critic(lifetime: OffPolicyLifetime, key: PRNGKey) -> tuple[OffPolicyLifetime, jax.Array]:
            sample_key, noise_key = jax.random.split(key)
            windows = self.sample(sample_key, lifetime, together=False)
            rate = rates["critic_learning_rate"]
            learner, loss = self.agent.update_critic(noise_key, lifetime.learner, windows, rate)
            return replace(lifetime, learner=learner), loss

        def learn(lifetime: OffPolicyLifetime, _: None) -> tuple[OffPolicyLifetime, Metrics]:
            keys = jax.random.split(lifetime.key, 2 + settings.critic_updates)
            key, policy_key = keys[0], keys[1]
            lifetime, losses = jax.lax.scan(learn_critic, replace(lifetime, key=key), keys[2:])
            windows = self.sample(policy_key, lifetime, rule.reads_windows)
            rate = rates["learning_rate"]
            learner, about = self.agent.update_policy(lifetime.learner, rule, weights, windows, rate)
            return replace(lifetime, learner=learner), about | {"critic_loss": jnp.mean(losses)}

        lifetime, about = jax.lax.scan(learn, lifetime, None, length=settings.policy_updates)
        about = {name: jnp.mean(values) for name, values in about.items()}
        return replace(lifetime, updates=lifetime.updates + 1), about, acted

    def acting(self, lifetime: OffPolicyLifetime) -> Policy:
        return without_noise(partial(self.agent.policy, lifetime.learner.actor))

    def test(self, lifetime: OffPolicyLifetime, at_random: bool = False) -> Episodes:
        """One episode without noise in each of some fresh environments; or of uniform actions."""
        key = stream(lifetime.key, "test")
        act = None if at_random else partial(self.agent.policy, lifetime.learner.actor)
        number = self.agent.settings.test_environments
        return tested(key, self.environment, lifetime.environment_params, act, number)


def off_policy(
    *, rollout_steps: int, discount: float, agent: AgentSettings
) -> Callable[[Entry, Environment], OffPolicy]:
    """Programs of off-policy agents."""
    return partial(OffPolicy.for_entry, rollout_steps=rollout_steps, discount=discount, agent=agent)


def check_replay(program: OffPolicy, agents: int) -> None:
    """Before time is spent.

    Raises:
        UserError: the replay cannot hold what is drawn from it, or memory cannot hold the replays.
    """
    settings = program.agent.settings
    if program.replay_rows < settings.window_steps:
        raise UserError(
            f"agent.window_steps: {settings.window_steps} given; the replay holds {program.replay_rows} steps of "
            f"each of {program.num_environments} environments"
        )
    if program.replay_rows < program.random_rows:
        raise UserError(
            f"agent.random_steps: {settings.random_steps} given; the replay holds "
            f"{program.replay_rows * program.num_environments}"
        )
    if (needed := agents * program.replay_bytes) > memory():
        raise UserError(
            f"agent.replay_steps: {settings.replay_steps} given; the replays of {agents} agents take "
            f"{needed / 2**30:.0f} GiB, and there are {memory() / 2**30:.0f} GiB of memory"
        )
