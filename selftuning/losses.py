"""Losses of actor-critics: the one that an agent descends, and the one that it is judged by.

Returns are differentiated in their discount, lambda and leak; values, ratios and advantages' baselines are not.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import chex
import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, entropy, kl_divergence, log_probability
from metaobj.common.errors import UserError, check_numbers
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.returns import OffPolicyReturns, leaky_vtrace
from metaobj.common.types import Metrics, PyTree

Distance: TypeAlias = Literal["policy", "policy and value"]
"""From a target: KL of the policies, and half the squared difference of the values."""


@dataclass(frozen=True)
class Outer:
    """What agents are judged by: the loss of an actor-critic whose numbers stay. Its discount is the program's."""

    lambda_: float = 0.95
    policy_weight: float = 1.0
    value_weight: float = 0.0
    entropy_weight: float = 0.0
    kl_weight: float = 0.0
    """Of KL(mu || pi), from the policy that acted to the one that is judged."""
    critic: Literal["agent", "outer"] = "agent"
    """Whose values the outer advantages are measured by: the agent's own, which are learnt at the inner discount, or
    the lifetime's value function, learnt at the outer one (Bonnet et al. 2022, "Debiasing Meta-Gradient Reinforcement
    Learning by Learning the Outer Value Function", arXiv 2211.10550).
    """

    def __post_init__(self) -> None:
        check_numbers(self, "lambda_", at_least=0, at_most=1, prefix="outer.")
        weights = "policy_weight value_weight entropy_weight kl_weight"
        check_numbers(self, weights, at_least=0, prefix="outer.")
        if self.critic not in ("agent", "outer"):
            raise UserError(f"outer.critic: {self.critic!r} given; must be agent or outer")


@dataclass(frozen=True)
class Guide:
    """Descends the outer loss; without weights."""

    outer: Outer

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        return _outer_returns(self.outer, heads, next_heads, batch), {}

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        return _judged(self.outer, heads, targets, batch)


def meta_loss(
    outer: Outer, heads: Heads, next_heads: Heads, batch: Batch, target: Heads | None, distance: Distance = "policy"
) -> tuple[jax.Array, Metrics]:
    """The outer loss or, where there is a target, the distance from it; and scalars to log."""
    metrics = {"policy_entropy": jnp.mean(entropy(heads["policy"]))}
    if target is None:
        return outer_loss(outer, heads, next_heads, batch), metrics
    loss = jnp.mean(kl_divergence(*map(jax.nn.log_softmax, (target["policy"], heads["policy"]))))
    if distance == "policy and value":
        loss += 0.5 * jnp.mean((target["value"] - heads["value"]) ** 2)
    return loss, metrics


def outer_loss(outer: Outer, heads: Heads, next_heads: Heads, batch: Batch) -> jax.Array:
    """How well an agent does on a rollout, to be descended."""
    return _judged(outer, heads, jax.lax.stop_gradient(_outer_returns(outer, heads, next_heads, batch)), batch)


def _outer_returns(outer: Outer, heads: Heads, next_heads: Heads, batch: Batch) -> OffPolicyReturns:
    """Of the agent's values; advantages by the outer value function where it judges."""
    own = own_returns("", heads, next_heads, batch, batch.discount, outer.lambda_, 1.0)
    if outer.critic == "agent":
        return own
    values = (batch.values, batch.next_values)
    by_outer = leaky_vtrace(batch.rollout, *values, _log_ratio("", heads, batch), batch.discount, outer.lambda_)
    return own._replace(advantages=by_outer.advantages)


def _judged(outer: Outer, heads: Heads, returns: OffPolicyReturns, batch: Batch) -> jax.Array:
    weights = (outer.policy_weight, outer.value_weight, outer.entropy_weight)
    loss = actor_critic_loss("", heads, returns, batch, *weights)
    if outer.kl_weight:
        assert batch.behaviour is not None
        loss += outer.kl_weight * jnp.mean(kl_divergence(batch.behaviour, jax.nn.log_softmax(heads["policy"])))
    return loss


def own_returns(
    suffix: str,
    heads: Heads,
    next_heads: Heads,
    batch: Batch,
    discount: jax.Array | float,
    lambda_: jax.Array | float,
    leak: jax.Array | float,
) -> OffPolicyReturns:
    """Of a head's values; differentiable in the three numbers alone."""
    values, next_values = jax.lax.stop_gradient(
        (heads[f"value{suffix}"][..., 0], next_heads[f"value{suffix}"][..., 0])
    )  # [T, B] each
    return leaky_vtrace(batch.rollout, values, next_values, _log_ratio(suffix, heads, batch), discount, lambda_, leak)


def _log_ratio(suffix: str, heads: Heads, batch: Batch) -> jax.Array:
    """Log pi(a|s) - log mu(a|s) [T, B] of a head's policy and the one that acted; constant, 0 where none is known."""
    if batch.behaviour is None:
        return jnp.zeros_like(batch.rollout.reward)
    ours, theirs = (log_probability(x, batch.rollout.action) for x in (heads[f"policy{suffix}"], batch.behaviour))
    return jax.lax.stop_gradient(ours - theirs)


def actor_critic_loss(
    suffix: str,
    heads: Heads,
    returns: OffPolicyReturns,
    batch: Batch,
    policy_weight: jax.Array | float,
    value_weight: jax.Array | float,
    entropy_weight: jax.Array | float,
) -> jax.Array:
    """-w_p E[log pi(a|s) A] + w_v E[(v_s - V(s))^2 / 2] - w_e E[H(pi)]."""
    logits, value = heads[f"policy{suffix}"], heads[f"value{suffix}"][..., 0]
    log_pi_a = log_probability(logits, batch.rollout.action)  # [T, B]
    chex.assert_equal_shape([log_pi_a, returns.advantages, returns.values, value])
    error = 0.5 * (returns.values - value) ** 2
    return jnp.mean(-policy_weight * log_pi_a * returns.advantages + value_weight * error) - entropy_weight * jnp.mean(
        entropy(logits)
    )
