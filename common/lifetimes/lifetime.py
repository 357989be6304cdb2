"""What one agent's lifetime is to the rest of the project. A population is lifetimes on a leading axis.

How an agent lives (on-policy in `on_policy.py`, from a replay in `off_policy.py`) is its program's; whoever maps over
lifetimes, renews or evaluates them knows only what is here.
"""

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.environments.protocol import Environment
from metaobj.common.experience.rollout import Acted, Episodes, Policy, Worlds
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.types import Hyperparameters, Metrics, PRNGKey, PyTree


class Birth(NamedTuple):
    """What a new agent is given."""

    environment_params: PyTree
    hyperparameters: Hyperparameters  # scalars
    length: jax.Array | int  # [] agent updates in all
    task: jax.Array | int = 0  # [] index of its environment in the distribution
    setting: jax.Array | int = 0  # [] index of its hyperparameters in the environment's grid
    reports: jax.Array | bool = True  # [] whether its return goes to the sampler (a shortened first life's does not)
    world: jax.Array | None = None  # [] index of its world among the run's, where these are chosen by regret


@struct.dataclass
class Lifetime:
    """What every lifetime carries from update to update; programs add their agent's parts."""

    key: PRNGKey
    task: jax.Array  # [] int32, index of its environment in the distribution
    setting: jax.Array  # [] int32, index of its hyperparameters in the environment's grid
    hyperparameters: Hyperparameters  # scalars
    environment_params: PyTree
    worlds: Worlds  # [B, ...]
    updates: jax.Array  # [] int32, agent updates so far
    length: jax.Array  # [] int32, agent updates in all
    reports: jax.Array  # [] bool, whether its return goes to the sampler
    reward_mean: jax.Array  # [] of all steps of all environments; a sum would stand still after 2^24 of them
    steps: jax.Array  # [] int32, environment steps so far; stays at its largest number rather than wrap around
    world: jax.Array | None  # [] int32, index of its world among the run's, where these are chosen by regret

    @classmethod
    def begin(cls, key: PRNGKey, birth: Birth, worlds: Worlds, rewards: jax.Array, **parts: PyTree) -> Self:
        """Before the first update, after steps with these `rewards` (of any shape), with the agent's own `parts`."""
        return cls(
            key=key,
            task=jnp.asarray(birth.task, jnp.int32),
            setting=jnp.asarray(birth.setting, jnp.int32),
            hyperparameters=birth.hyperparameters,
            environment_params=birth.environment_params,
            worlds=worlds,
            updates=jnp.int32(0),
            length=jnp.asarray(birth.length, jnp.int32),
            reports=jnp.asarray(birth.reports),
            reward_mean=jnp.mean(rewards) if rewards.size else jnp.zeros((), rewards.dtype),
            steps=jnp.int32(rewards.size),
            world=birth.world,
            **parts,
        )

    def lived(self, worlds: Worlds, rewards: jax.Array, **changes: PyTree) -> Self:
        """After more steps, with these `rewards` (of any shape), and what else has changed."""
        most = jnp.iinfo(self.steps.dtype).max
        steps = jnp.minimum(self.steps, most - rewards.size) + rewards.size
        share = (rewards.size / steps).astype(self.reward_mean.dtype)
        mean = self.reward_mean + share * (jnp.mean(rewards) - self.reward_mean)
        return replace(self, worlds=worlds, reward_mean=mean, steps=steps, **changes)

    @property
    def own(self) -> PyTree:
        """What is the agent's own: its networks, their optimisers, its experience. The world may hold what it likes."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: part for name, part in parts.items() if name not in ("environment_params", "worlds")}


Life = TypeVar("Life", bound=Lifetime)
Rule = TypeVar("Rule", contravariant=True)
ProgramType = TypeVar("ProgramType", bound="Program[Any, Any]", covariant=True)


class Program(Protocol[Life, Rule]):
    """All that is static in a lifetime: lifetimes with equal programs are compiled, vmapped and sharded together.

    A frozen dataclass, hashable and compared by value.
    """

    @property
    def environment(self) -> Environment: ...

    @property
    def first_steps(self) -> int:
        """Environment steps of a lifetime before its first update."""

    @property
    def early_steps(self) -> int:
        """Those of the first steps that the rule learns from as from all others: part of a life, and not before it."""

    @property
    def steps_per_update(self) -> int:
        """Environment steps of one update of one agent."""

    def start(self, key: PRNGKey, birth: Birth) -> Life:
        """A new agent before its first update: its lifetime."""

    def update(self, rule: Rule, weights: PyTree, lifetime: Life) -> tuple[Life, Metrics, Acted]:
        """Act, and one update of the agent by `rule`."""

    def acting(self, lifetime: Life) -> Policy:
        """The agent as one would use it, or as it learns where it is taken as it acts."""

    def test(self, lifetime: Life, at_random: bool = False) -> Episodes | None:
        """Episodes of the agent as one would use it, on fresh environments, or of uniform actions there; None where its
        own episodes tell.
        """


class MetaProgram(Program[Life, Rule], Protocol[Life, Rule]):
    """A program in which a learned objective can be trained.

    What K updates are tried on is a *trial*: of agents that learn from what they have just seen, their lifetime itself.
    `meta/objectives.py` makes a loss of it.
    """

    def steps_per_meta_update(self, gathers: int) -> int:
        """Environment steps of one agent in one meta-update whose trial gathers so often."""

    def begin_trial(
        self, rule: Rule, inner_updates: int, eta: PyTree, lifetime: Life, step: jax.Array
    ) -> tuple[Any, Metrics]:
        """What K updates are tried on, and scalars about what was lived before; nothing here is differentiated.

        `step` is the number of meta-updates so far.
        """

    def gather(self, trial: Any) -> tuple[Any, PyTree, Metrics]:
        """What the agent learns from next: (trial, batch, scalars about it).

        Where it is lived for, scalars are "reward" (per environment step), "episodes" and "episode_return" (number and
        sum); else those are among what `begin_trial` tells.
        """

    def learn(self, rule: Rule, weights: PyTree, trial: Any, batch: PyTree) -> tuple[Any, Metrics]:
        """One update by the rule on a batch, differentiable with respect to `weights` and the trial's agent."""

    def judge(
        self, rule: Rule, trial: Any, batch: PyTree, updates: Metrics, target: PyTree | None = None
    ) -> tuple[jax.Array, Metrics]:
        """How well the agent does on what it gathered last, to be descended, and scalars about it.

        `updates` is what the rule said of the updates before, averaged. With a `target` learner, how near the agent is
        to it.
        """

    def end_trial(self, trial: Any) -> Life:
        """The lifetime that goes on."""

    def learner(self, trial: Any) -> PyTree:
        """What learning changes in the trial's agent."""

    def with_learner(self, trial: Any, learner: PyTree) -> Any:
        """The trial with another one."""

    def parameters(self, learner: PyTree) -> PyTree:
        """Without what an optimiser remembers."""

    def forked(self, trial: Any) -> Any:
        """The same with keys of its own."""


ProgramMaker: TypeAlias = Callable[[Entry, Environment], ProgramType]
"""How agents live in an entry's environment; UserError where they cannot."""
