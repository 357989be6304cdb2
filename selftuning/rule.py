"""An actor-critic whose discount, lambda, loss weights and correction of old data are tuned by meta-gradients.

Xu et al. 2018 ("Meta-Gradient Reinforcement Learning", arXiv 1805.09801) tune the discount and lambda of the returns;
Zahavy et al. 2020 ("A Self-Tuning Deep Reinforcement Learning Algorithm", arXiv 2002.12928) all weights of the loss and
how much V-trace truncates (STAC), and give auxiliary heads numbers of their own (STACX).
"""

from dataclasses import dataclass, field, fields

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, TargetRule
from metaobj.common.errors import MOST, check_numbers
from metaobj.common.experience.batches import Batch
from metaobj.common.rules.bounded import Bounded
from metaobj.common.types import Metrics, PRNGKey, PyTree
from metaobj.selftuning.losses import Distance, Guide, Outer, actor_critic_loss, meta_loss, own_returns


def _fixed(value: float, high: float = 1.0) -> Bounded:
    return Bounded(value, 0.0, high, tuned=False)


@dataclass(frozen=True)
class Numbers:
    """What the inner loss is made of."""

    discount: Bounded = Bounded(0.95)
    lambda_: Bounded = Bounded(0.95)
    policy_weight: Bounded = _fixed(1.0)
    value_weight: Bounded = _fixed(0.25)
    entropy_weight: Bounded = _fixed(0.01)
    leak: Bounded = _fixed(1.0)
    """a of leaky V-trace: 1 truncates importance weights at 1, 0 not at all."""

    def __post_init__(self) -> None:
        for each in fields(self):
            getattr(self, each.name).check(f"inner.{each.name}")

    def items(self) -> list[tuple[str, Bounded]]:
        """By name."""
        return [(each.name, getattr(self, each.name)) for each in fields(self)]


@dataclass(frozen=True)
class SelfTuning:
    """See `common.rules.on_policy.LearnedObjective`. eta is {name: [1 + auxiliary heads]}, unconstrained."""

    inner: Numbers = field(default_factory=Numbers)
    outer: Outer = field(default_factory=Outer)
    auxiliary: int = 0
    """Further policies and values that learn by numbers of their own and never act."""
    distance: Distance = "policy"
    """From a target, where there is one."""

    def __post_init__(self) -> None:
        check_numbers(self, "auxiliary", at_least=0, at_most=MOST)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return ("learning_rate",)

    def heads(self, num_actions: int) -> dict[str, int]:
        sizes = {"policy": num_actions, "value": 1}
        for at in range(1, self.auxiliary + 1):
            sizes |= {f"policy_{at}": num_actions, f"value_{at}": 1}
        return sizes

    def init(self, key: PRNGKey) -> PyTree:
        return {name: jnp.full(1 + self.auxiliary, number.unconstrained) for name, number in self.inner.items()}

    def values(self, eta: PyTree) -> dict[str, jax.Array]:
        """The numbers themselves, {name: [1 + auxiliary heads]}."""
        return {name: number.value(eta[name]) for name, number in self.inner.items()}

    def in_force(self, eta: PyTree, memory: PyTree) -> PyTree:
        """Eta as an agent with such a memory learns by it."""
        return eta

    @property
    def summary_size(self) -> int:
        """See `common.agents.agent.Summarised`."""
        return (1 + self.auxiliary) * sum(number.tuned for _, number in self.inner.items())

    def summary(self, weights: PyTree, memory: PyTree) -> jax.Array:
        """How far each tuned number has moved, unconstrained: a discount near 1 may mean ten steps or a thousand."""
        eta = self.in_force(weights, memory)
        moved = [eta[name] - number.unconstrained for name, number in self.inner.items() if number.tuned]
        return jnp.concatenate(moved)

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        values, targets = self.values(self.in_force(weights, batch.memory)), {}
        for at, suffix in enumerate(self._suffixes):
            one = {name: value[at] for name, value in values.items()}
            returns = own_returns(suffix, heads, next_heads, batch, one["discount"], one["lambda_"], one["leak"])
            targets[f"head{suffix}"] = (returns, one)
        told = {
            f"{name}{suffix}": value[at] for name, value in values.items() for at, suffix in enumerate(self._suffixes)
        }
        return targets, told

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        total = jnp.zeros((), batch.rollout.reward.dtype)
        for suffix in self._suffixes:
            returns, one = targets[f"head{suffix}"]
            weights = (one["policy_weight"], one["value_weight"], one["entropy_weight"])
            total += actor_critic_loss(suffix, heads, returns, batch, *weights)
        return total

    @property
    def guide(self) -> TargetRule:
        return Guide(self.outer)

    def meta_loss(
        self, heads: Heads, next_heads: Heads, batch: Batch, updates: Metrics, target: Heads | None = None
    ) -> tuple[jax.Array, Metrics]:
        return meta_loss(self.outer, heads, next_heads, batch, target, self.distance)

    @property
    def _suffixes(self) -> list[str]:
        return ["", *(f"_{at}" for at in range(1, self.auxiliary + 1))]
