"""A rule that a person wrote with LPG's heads and inputs alone: an actor-critic whose critic is the prediction y.

y is a categorical distribution over returns, on a grid that is even in sign(x) log(1 + |x|); V(s) is its mean. Its
target is a bell around the lambda-return that bootstraps from V, which is a softmax of something linear in the return;
the policy's target is the advantage, and a bonus on entropy. A network of LPG's shape can hold this rule nearly, which
is what `start.py` is for.
"""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, log_probability
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.networks.dense import sign_log
from metaobj.common.types import Metrics, PyTree
from metaobj.lpg.targets import agent_loss

LARGEST = math.expm1(2.0)
"""The largest return that y can tell, in units of the size that a lifetime's returns come to."""
WIDTH = 0.75
"""Of the bell around a return, in steps of the grid."""
ENTROPY_WEIGHT = 0.05
"""Of the bonus, in units of the rollout's advantages."""


@dataclass(frozen=True)
class ActorCritic:
    """See the module. It knows rewards scaled to returns of about 1 (`value.scale_rewards`)."""

    prediction_size: int
    lambda_: float = 0.95

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return ("learning_rate", "kl_weight")

    @property
    def grid(self) -> jax.Array:
        """Where the categories lie, [m], on the logarithmic scale."""
        top = math.log1p(LARGEST)
        return jnp.linspace(-top, top, self.prediction_size)

    def heads(self, num_actions: int) -> dict[str, int]:
        return {"policy": num_actions, "prediction": self.prediction_size}

    def values(self, logits: jax.Array) -> jax.Array:
        """V of predictions given as logits [..., m], [...]."""
        returns = jnp.sign(self.grid) * jnp.expm1(jnp.abs(self.grid))
        return jax.nn.softmax(logits) @ returns

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        values = self.values(heads["prediction"])  # [T, B]
        returns = lambda_returns(batch.rollout, self.values(next_heads["prediction"]), batch.discount, self.lambda_)
        steps = (sign_log(returns)[..., None] - self.grid) / (self.grid[1] - self.grid[0])  # [T, B, m]
        log_y_hat = jax.nn.log_softmax(-0.5 * (steps / WIDTH) ** 2)
        advantages = returns - values
        surprise = -log_probability(heads["policy"], batch.rollout.action)
        size = jnp.sqrt(jnp.mean(advantages**2))
        return (advantages + ENTROPY_WEIGHT * size * surprise, log_y_hat), {}

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        return agent_loss(heads, targets, batch)
