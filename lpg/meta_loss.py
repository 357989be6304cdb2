"""The loss that LPG's weights descend: how well the agent does after K updates, and regularisers.

Minus E[log pi(a|s) A + b0 H(pi) + b1 H(y) - b2 |pi_hat|^2 - b3 |y_hat|^2] (Oh et al. 2020, section 3.3). A is the
advantage under the lifetime's own value function; the entropies are the updated agent's, the two squares are means
over the steps of the K updates. The configuration tells what stands for E[log pi(a|s) A] where the loss looks ahead,
and what an anchor adds.
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, entropy, kl_divergence, log_probability
from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.experience.batches import Batch
from metaobj.common.types import Metrics

NEAR = 1e-3
"""A distance in nats between policies that is as good as none."""


@dataclass(frozen=True)
class MetaLossConfig:
    """What updated agents are judged by, and the regularisers' weights."""

    policy_entropy: float = 0.01
    """b0, the weight of the updated agent's policy entropy."""
    prediction_entropy: float = 0.001
    """b1, the weight of the entropy of the updated agent's prediction y."""
    policy_target: float = 0.001
    """b2, the weight against the squares of the policy targets pi_hat."""
    prediction_target: float = 0.001
    """b3, the weight against the squares of the prediction targets y_hat."""
    anchor: float = 0.0
    """Weight against departing from the hand-written rule of `lpg/actor_critic.py`: against the errors that `start`
    makes small. Its lambda is 0.95, its unit that of the advantages; 0 in the paper. Needs `value.scale_rewards`.
    """
    use_value: bool = True
    """Weigh actions by the advantage; without, by the rewards to go within the rollout, an ablation."""
    look_ahead: int = 0
    """L: instead of by its advantages, the updated agent is judged by how near it is to what L further updates by A2C
    make of it (bootstrapped meta-gradients, Flennerhag et al. 2022); 0 in the paper. Advantages are greedy: whatever
    exploring is for lies beyond K updates. The distance is relative, so that `scale_advantages` has no part in it, and
    `policy_entropy`, against a distance of 1, pulls away from the target.
    """
    scale_advantages: bool = False
    """Divide the advantages by their running size in the lifetime: worlds in which little is to be gained count as
    much as others, and entropy weighs the same in all.
    """

    def __post_init__(self) -> None:
        weights = "policy_entropy prediction_entropy policy_target prediction_target anchor"
        check_numbers(self, weights, prefix="meta_loss.")
        check_numbers(self, "look_ahead", at_least=0, at_most=MOST, prefix="meta_loss.")
        if self.look_ahead and not self.use_value:
            raise UserError(f"meta_loss.use_value: False given; must be True where look_ahead is {self.look_ahead}")


def meta_loss(
    config: MetaLossConfig, heads: Heads, batch: Batch, updates: Metrics, target: Heads | None = None
) -> tuple[jax.Array, Metrics]:
    """See `rules.on_policy.LearnedObjective.meta_loss`."""
    rollout = batch.rollout
    log_pi_a = log_probability(heads["policy"], rollout.action)  # [T, B]
    advantages = jax.lax.stop_gradient(batch.advantages if config.use_value else batch.rewards_to_go)  # [T, B]
    if config.scale_advantages:
        advantages = advantages / jnp.maximum(batch.advantage_size, 1e-6)
    chex.assert_rank(log_pi_a, 2)
    chex.assert_equal_shape([log_pi_a, advantages, rollout.reward])
    policy_entropy = jnp.mean(entropy(heads["policy"]))
    prediction_entropy = jnp.mean(entropy(heads["prediction"]))
    metrics = {"policy_entropy": policy_entropy, "prediction_entropy": prediction_entropy}
    if target is None:
        performance = jnp.mean(log_pi_a * advantages)
    else:
        # Relative, so that quick learners count as much as slow ones; its value is of no use, its gradient is.
        ours, theirs = (jax.nn.log_softmax(heads["policy"]) for heads in (heads, target))
        distance = jnp.mean(kl_divergence(theirs, ours))
        performance = -distance / (jax.lax.stop_gradient(distance) + NEAR)
        metrics["look_ahead_kl"] = distance
    gain = (
        performance
        + config.policy_entropy * policy_entropy
        + config.prediction_entropy * prediction_entropy
        - config.policy_target * updates["pi_hat_squared"]
        - config.prediction_target * updates["y_hat_squared"]
    )
    if config.anchor:
        gain -= config.anchor * (updates["policy_error"] + updates["prediction_error"])
    return -gain, metrics
