"""What an agent is to the rest of the project.

An agent owns a policy over a discrete action space and whatever further *heads* the update rule declares. Its learning
step asks the rule for two pure functions, `targets` and `loss`, and is differentiable with respect to the learner that
it starts from and to `weights` (the rule's own parameters): that is what meta-gradients go through.
"""

from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.errors import check_numbers, check_widths
from metaobj.common.experience.batches import Batch
from metaobj.common.types import Metrics, PRNGKey, PyTree

Heads: TypeAlias = dict[str, jax.Array]
"""Head name to its outputs [..., size]; "policy" holds action logits."""


@dataclass(frozen=True)
class AgentConfig:
    """An agent's network and optimiser; the learning rate is a hyperparameter and lives elsewhere."""

    torso: Literal["tabular", "dense", "conv", "actor-critic"] = "tabular"
    hidden: tuple[int, ...] = (32,)
    """Widths of the dense layers after the torso (dense and conv)."""
    channels: tuple[int, ...] = (16,)
    """Channels of the 3x3 convolutions (conv)."""
    optimiser: Literal["sgd", "adam", "rmsprop"] = "sgd"
    apart: tuple[str, ...] = ()
    """Heads that have a torso of their own, where the rule declares them (dense and conv)."""
    apart_rate: float = 1.0
    """Their learning rate, as a multiple of the others'."""
    adam_eps_root: float = 1e-8
    """Added under Adam's square root, so that the meta-gradient through it stays finite at a zero gradient."""

    def __post_init__(self) -> None:
        check_widths(self, "hidden channels", prefix="agent.")
        check_numbers(self, "adam_eps_root apart_rate", at_least=0, prefix="agent.")


def log_probability(logits: jax.Array, action: jax.Array) -> jax.Array:
    """Log pi(a|s) [...] of actions [...], from action logits [..., A]."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)[..., 0]


def entropy(logits: jax.Array) -> jax.Array:
    """H of the categorical distributions with these logits [..., n], in nats, [...]."""
    log_p = jax.nn.log_softmax(logits)
    return -jnp.sum(jnp.exp(log_p) * log_p, -1)


def kl_divergence(log_p: jax.Array, log_q: jax.Array) -> jax.Array:
    """KL(p || q) = sum p (log p - log q) over the last axis."""
    return jnp.sum(jnp.exp(log_p) * (log_p - log_q), -1)


@struct.dataclass
class Learner:
    """What learning changes in an agent."""

    params: PyTree
    optimiser: PyTree
    memory: PyTree = ()  # what the rule remembers of it, see `Remembering`


class TargetRule(Protocol):
    """What an agent's learning step asks of an update rule."""

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        """Targets for the agent, and scalars about them.

        The targets are constants for the agent's gradient. Gradients with respect to `weights` and the heads must flow
        through both results: that is the meta-gradient.

        Args:
            weights: the rule's own parameters; () where it has none.
            heads: the agent's outputs at the rollout's observations [T, B, size].
            next_heads: likewise at the true successors.
            batch: the rollout and what else is constant.
        """

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        """The scalar that the agent descends; a mean over the rollout's steps."""


@runtime_checkable
class Remembering(Protocol):
    """A rule that carries something from one update of an agent to the next: it finds it as `batch.memory`."""

    def first_memory(self) -> PyTree:
        """Of an agent that has not learned yet."""

    def remember(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch, targets: PyTree) -> PyTree:
        """What is remembered after an update. Gradients with respect to all that is given flow through it, and through
        `batch.memory` into what comes later.
        """


@runtime_checkable
class Summarised(Protocol):
    """A rule whose weights come to a few numbers, which an agent's network may be told; see `conditioned.py`."""

    @property
    def summary_size(self) -> int:
        """How many there are."""

    def summary(self, weights: PyTree, memory: PyTree) -> jax.Array:
        """What they come to with what is remembered of an agent, [summary_size]; 0 where they are still fresh."""


def targets_and_memory(
    rule: TargetRule, weights: PyTree, memory: PyTree, heads: Heads, next_heads: Heads, batch: Batch
) -> tuple[PyTree, Metrics, PyTree]:
    """What a rule says of a rollout, and what it remembers then: (targets, metrics, memory)."""
    batch = batch._replace(memory=memory)
    targets, about = rule.targets(weights, heads, next_heads, batch)
    if isinstance(rule, Remembering):
        memory = rule.remember(weights, heads, next_heads, batch, targets)
    return targets, about, memory


class Agent(Protocol):
    """A frozen dataclass: what fixes shapes and program. See `tabular.py` and `network.py`."""

    def init(self, key: PRNGKey) -> Learner:
        """Before the first update."""

    def apply(self, params: PyTree, observation: jax.Array) -> Heads:
        """Heads at observations of any leading shape."""

    def learn(
        self, learner: Learner, rule: TargetRule, weights: PyTree, batch: Batch, remat: bool = False
    ) -> tuple[Learner, Metrics]:
        """One step down the rule's loss, towards its targets: (learner, what the rule said of the targets).

        Args:
            learner: what is changed; differentiated.
            rule: tells targets and loss.
            weights: of the rule; differentiated.
            batch: constant for every gradient; the step size is its hyperparameter "learning_rate".
            remat: recompute the rule's forward pass in a reverse pass through this step instead of keeping it.
        """
