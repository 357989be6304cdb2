"""An actor-critic whose returns are learnt: FRODO (Xu et al. 2020, "Meta-Gradient Reinforcement Learning with an
Objective Discovered Online", arXiv 2007.08433).

From the end of a rollout to its start, an LSTM gives each step a return G_t. Values go towards it, the policy along
G_t - V(s_t). It is tuned online by a loss of the usual kind, and held to be consistent with itself: G_t is to be near
r_t + gamma G_{t+1}.
"""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, TargetRule, log_probability
from metaobj.common.errors import MOST, check_numbers
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.returns import OffPolicyReturns
from metaobj.common.networks.dense import apply_dense, init_dense
from metaobj.common.networks.lstm import backward_lstm, init_lstm
from metaobj.common.types import Metrics, PRNGKey, PyTree
from metaobj.selftuning.losses import Guide, Outer, actor_critic_loss, meta_loss

_FEATURES = 7


@dataclass(frozen=True)
class Frodo:
    """See `common.rules.on_policy.LearnedObjective`."""

    outer: Outer = field(default_factory=Outer)
    """What agents are judged by."""
    units: int = 32
    """Of the LSTM."""
    value_weight: float = 0.25
    """Of (G - V(s))^2 / 2 in the agents' loss."""
    entropy_weight: float = 0.01
    policy_weight: float = 1.0
    consistency_weight: float = 0.1
    """Of (G_t - r_t - gamma G_{t+1})^2 in the meta-loss, whose gradient stops at G_{t+1}."""
    residual: bool = False
    """G_t = r_t + gamma V(s_{t+1}) + the network's output, which is 0 at first; without, it is the output alone."""

    def __post_init__(self) -> None:
        check_numbers(self, "units", at_least=1, at_most=MOST)
        check_numbers(self, "value_weight entropy_weight policy_weight consistency_weight", at_least=0)

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return ("learning_rate",)

    def heads(self, num_actions: int) -> dict[str, int]:
        return {"policy": num_actions, "value": 1}

    def init(self, key: PRNGKey) -> PyTree:
        lstm_key, output_key = jax.random.split(key)
        output = init_dense(output_key, self.units, 1)
        if self.residual:
            output = jax.tree.map(jnp.zeros_like, output)
        return {"lstm": init_lstm(lstm_key, _FEATURES, self.units), "output": output}

    def returns(self, eta: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> jax.Array:
        """G [T, B], differentiable in eta alone."""
        rollout = batch.rollout
        heads, next_heads = jax.lax.stop_gradient((heads, next_heads))
        values = heads["value"][..., 0]  # [T, B]
        next_values = jnp.where(rollout.terminated, 0.0, next_heads["value"][..., 0])
        pi = jnp.exp(log_probability(heads["policy"], rollout.action))
        mu = pi if batch.behaviour is None else jnp.exp(log_probability(batch.behaviour, rollout.action))
        continues = jnp.where(rollout.terminated, 0.0, batch.discount)
        error = rollout.reward + continues * next_values - values
        x = jnp.stack([rollout.reward, continues, next_values, values, error, pi, mu], -1)  # [T, B, D]
        keep = 1.0 - (rollout.terminated | rollout.truncated).astype(x.dtype)
        hidden = backward_lstm(eta["lstm"], x, keep)  # [T, B, H]
        said = apply_dense(eta["output"], hidden)[..., 0]
        return said + rollout.reward + continues * next_values if self.residual else said

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        returns = self.returns(weights, heads, next_heads, batch)
        advantages = returns - jax.lax.stop_gradient(heads["value"][..., 0])
        about = {"inconsistency": inconsistency(returns, batch), "return": jnp.mean(returns)}
        return OffPolicyReturns(returns, advantages), about

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        weights = (self.policy_weight, self.value_weight, self.entropy_weight)
        return actor_critic_loss("", heads, targets, batch, *weights)

    @property
    def judges_updates(self) -> bool:
        """See `common.meta.online.Online`."""
        return self.consistency_weight > 0

    @property
    def guide(self) -> TargetRule:
        return Guide(self.outer)

    def meta_loss(
        self, heads: Heads, next_heads: Heads, batch: Batch, updates: Metrics, target: Heads | None = None
    ) -> tuple[jax.Array, Metrics]:
        loss, metrics = meta_loss(self.outer, heads, next_heads, batch, target)
        if self.judges_updates:
            loss += self.consistency_weight * updates["inconsistency"]
        return loss, metrics


def inconsistency(returns: jax.Array, batch: Batch) -> jax.Array:
    """Mean of (G_t - r_t - gamma G_{t+1})^2 over steps whose next one is at hand, or which end an episode for good."""
    rollout = batch.rollout
    following = jax.lax.stop_gradient(jnp.concatenate([returns[1:], jnp.zeros_like(returns[:1])]))
    following = jnp.where(rollout.terminated, 0.0, following)
    known = (~rollout.truncated).at[-1].set(False) | rollout.terminated
    error = returns - rollout.reward - batch.discount * following
    return jnp.sum(jnp.where(known, error, 0.0) ** 2) / jnp.maximum(jnp.sum(known), 1)
