"""Off-policy agents whose policy's loss is learned: K trial updates by it, judged by the agent's own critic."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeAlias

import chex
import jax
import jax.numpy as jnp
import optax
from flax import struct

from metaobj.common.agents.settings import AgentSettings
from metaobj.common.environments.protocol import Environment
from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.experience.batches import Experience
from metaobj.common.experience.windows import Windows, mean_valid
from metaobj.common.gradients import mixed_mode_gradient
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.off_policy import OffPolicy, OffPolicyLifetime
from metaobj.common.rules.handwritten import CriticAscent
from metaobj.common.rules.off_policy import PolicyRule
from metaobj.common.types import Metrics, PRNGKey, PyTree

InnerOptimiser: TypeAlias = Literal["sgd", "normalised", "adam"]


@dataclass(frozen=True)
class MetaSettings:
    """How the learned loss is judged."""

    inner_learning_rate: float = 0.05
    """Step size of the K updates of a policy that the meta-gradient goes through."""
    inner_optimiser: InnerOptimiser = "adam"
    """Step of those K updates: the gradient (sgd), the gradient over its norm (normalised), or the gradient weighed as
    the agent's own Adam weighs it, over its norm (adam)."""
    inner_step: Literal["mean", "sum"] = "mean"
    """Whether the loss of those K updates is the mean or the sum over a batch's steps."""
    judge_critic: Literal["first", "minimum"] = "first"
    """Which critic judges the updated policy."""
    judge_windows: Literal["fresh", "all"] = "fresh"
    """Judge on windows that no update saw, or on those of the updates too."""
    scale_judge: bool = True
    """Divide the judgement by the norm of its gradient with respect to the policy, so that environments count alike."""
    warm_start: int = 0
    """Meta-updates over which the policies go over from the critic's loss to the learned one; 0 for none."""
    warm_start_per: Literal["run", "lifetime"] = "run"
    """Whether policies go over to the learned loss once in the run, or in each lifetime."""

    def __post_init__(self) -> None:
        check_numbers(self, "inner_learning_rate", above=0, prefix="meta.")
        check_numbers(self, "warm_start", at_least=0, at_most=MOST, prefix="meta.")
        if self.inner_step == "sum" and self.inner_optimiser != "sgd":
            raise UserError(
                f"meta.inner_step: sum given; makes a difference to sgd only, not to {self.inner_optimiser}"
            )

    def learned_share(self, step: jax.Array, updates: jax.Array) -> jax.Array | None:
        """How much of the policies' loss is the learned one, of 1, after so many meta-updates of the run and updates of
        the agent; None where all of it is from the start.
        """
        if not self.warm_start:
            return None
        return jnp.minimum(((step if self.warm_start_per == "run" else updates) + 1) / self.warm_start, 1.0)


@dataclass(frozen=True)
class WarmStart:
    """A rule that goes over from the critic's judgement to a learned loss; its weights are (eta, share).

    The policy's loss is share x the learned one + (1 - share) x the critic's.
    """

    learned: PolicyRule

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return self.learned.hyperparameters

    @property
    def reads_windows(self) -> bool:
        return self.learned.reads_windows

    def loss(self, weights: PyTree, actions: jax.Array, experience: Experience, judged: jax.Array) -> jax.Array:
        eta, share = weights
        learned = self.learned.loss(eta, actions, experience, judged)
        return share * learned + (1.0 - share) * CriticAscent().loss((), actions, experience, judged)


@struct.dataclass
class Trial:
    """A policy that is tried on windows, beside the lifetime that goes on as it is."""

    lifetime: OffPolicyLifetime
    actor: PyTree
    first: PyTree  # the direction of the first update; zeros before it
    windows: Windows  # [K + 1, T, W, ...] of the updates and of the judgement
    seen: jax.Array  # [] int32, how many of them


@dataclass(frozen=True)
class MetaOffPolicy(OffPolicy):
    """See `lifetimes.lifetime.MetaProgram`."""

    meta: MetaSettings = field(default_factory=MetaSettings)

    def steps_per_meta_update(self, gathers: int) -> int:
        return self.steps_per_update

    def begin_trial(
        self, rule: PolicyRule, inner_updates: int, eta: PyTree, lifetime: OffPolicyLifetime, step: jax.Array
    ) -> tuple[Trial, Metrics]:
        """One update of the agent, which is not differentiated."""
        share = self.meta.learned_share(step, lifetime.updates)
        if share is None:
            lifetime, about, acted = self.update(rule, jax.lax.stop_gradient(eta), lifetime)
        else:
            lifetime, about, acted = self.update(WarmStart(rule), jax.lax.stop_gradient((eta, share)), lifetime)
        keys = jax.random.split(lifetime.key, 2 + inner_updates)
        number = acted.episodes.number.astype(acted.reward.dtype)
        told = {
            "reward": acted.reward,
            "episodes": number,
            "episode_return": acted.episodes.total_return,
            "learned_share": jnp.asarray(1.0 if share is None else share, acted.reward.dtype),
        }
        return self.trial(replace(lifetime, key=keys[0]), keys[1:]), told | about

    def trial(self, lifetime: OffPolicyLifetime, keys: PRNGKey) -> Trial:
        """Of K updates and a judgement on windows that `keys` [K + 1] draw."""
        actor = lifetime.learner.actor
        windows = jax.vmap(lambda k: self.sample(k, lifetime))(keys)
        return Trial(lifetime, actor, jax.tree.map(jnp.zeros_like, actor), windows, jnp.int32(0))

    def gather(self, trial: Trial) -> tuple[Trial, Windows, Metrics]:
        """The next windows."""
        return replace(trial, seen=trial.seen + 1), jax.tree.map(lambda leaf: leaf[trial.seen], trial.windows), {}

    def learn(self, rule: PolicyRule, weights: PyTree, trial: Trial, batch: Windows) -> tuple[Trial, Metrics]:
        """One update of the policy that is tried."""
        learner, settings = trial.lifetime.learner, self.meta

        def learned(actor: PyTree, context: PyTree, data: PyTree) -> jax.Array:
            eta, values, next_values = context
            (steps, valid), experience, critic = data
            experience = experience._replace(values=values, next_values=next_values)
            actions = self.agent.policy(actor, steps.observation)
            judged = self.agent.first(critic, steps.observation, actions)
            loss = rule.loss(eta, actions, experience, judged)
            return loss * jnp.sum(valid) if settings.inner_step == "sum" else loss

        # Constant for the step, but not for the meta-gradient: they are the values of a policy that eta has made.
        known = self.agent.experience(learner.critic, trial.actor, batch)
        data = (batch, jax.lax.stop_gradient(known), learner.critic)
        direction = mixed_mode_gradient(learned)(trial.actor, (weights, known.values, known.next_values), data)
        if settings.inner_optimiser == "adam":
            # As Adam weighs them; a constant, so that what is learned is where to go and not how to fool Adam.
            weigh = learner.actor_optimiser.nu
            direction = jax.tree.map(lambda g, nu: g / (jnp.sqrt(nu) + 1e-8), direction, weigh)
        if settings.inner_optimiser != "sgd":
            # Not the norm itself: it has no derivative where a loss does not answer to the actions at all.
            size = jnp.sqrt(optax.tree.norm(direction, squared=True) + 1e-12)
            direction = jax.tree.map(lambda d: d / size, direction)
        actor = jax.tree.map(lambda p, d: p - settings.inner_learning_rate * d, trial.actor, direction)
        is_first = trial.seen == 1
        first = jax.tree.map(lambda f, d: jnp.where(is_first, jax.lax.stop_gradient(d), f), trial.first, direction)
        return replace(trial, actor=actor, first=first), {}

    def judge(
        self, rule: PolicyRule, trial: Trial, batch: Windows, updates: Metrics, target: PyTree | None = None
    ) -> tuple[jax.Array, Metrics]:
        """What the critic thinks of the policy that was tried, to be descended; and metrics."""
        learner = trial.lifetime.learner
        if self.meta.judge_windows == "all":
            batch = jax.tree.map(lambda leaf: jnp.concatenate(leaf, axis=1), trial.windows)

        def judgement(actor: PyTree, windows: Windows) -> jax.Array:
            action = self.agent.policy(actor, windows.steps.observation)
            if self.meta.judge_critic == "first":
                value = self.agent.first(learner.critic, windows.steps.observation, action)
            else:
                value = jnp.min(self.agent.twins(learner.critic, windows.steps.observation, action), axis=0)
            chex.assert_equal_shape([value, windows.valid])
            return mean_valid(value, windows.valid)

        # Where nothing is divided by it, the critic's direction is for the metrics alone: a few windows tell enough.
        few = batch if self.meta.scale_judge else jax.tree.map(lambda leaf: leaf[:, :8], batch)
        uphill = jax.grad(judgement)(learner.actor, few)
        uphill_norm = optax.tree.norm(uphill)
        scale = 1.0 / jnp.maximum(uphill_norm, 1e-8) if self.meta.scale_judge else 1.0
        loss = -scale * judgement(trial.actor, batch)
        cosine = -optax.tree.vdot(trial.first, uphill) / jnp.maximum(optax.tree.norm(trial.first) * uphill_norm, 1e-12)
        return loss, {"cosine": cosine, "judgement_gradient_norm": uphill_norm}

    def end_trial(self, trial: Trial) -> OffPolicyLifetime:
        return trial.lifetime

    def learner(self, trial: Trial) -> PyTree:
        return trial.actor

    def with_learner(self, trial: Trial, learner: PyTree) -> Trial:
        return replace(trial, actor=learner)

    def parameters(self, learner: PyTree) -> PyTree:
        return learner

    def forked(self, trial: Trial) -> Trial:
        return trial


def meta_off_policy(
    *, rollout_steps: int, discount: float, agent: AgentSettings, meta: MetaSettings
) -> Callable[[Entry, Environment], MetaOffPolicy]:
    """Programs in which a learned loss is trained."""
    return partial(MetaOffPolicy.for_entry, rollout_steps=rollout_steps, discount=discount, agent=agent, meta=meta)
