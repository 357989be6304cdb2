"""What a rule of LPG's kind tells an agent: (pi_hat [T, B], log y_hat [T, B, m]); what agents make of it, and how far
two rules are apart.
"""

import chex
import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, kl_divergence, log_probability
from metaobj.common.experience.batches import Batch
from metaobj.common.types import Metrics, PyTree

NOTHING = 1e-3
"""Where a rollout's policy targets are as small as this in the mean square there is little to be told."""


def agent_loss(heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
    """What agents descend: alpha_y KL(y || y_hat) - log pi(a|s) pi_hat, the mean over the rollout's steps."""
    pi_hat, log_y_hat = targets
    log_pi_a = log_probability(heads["policy"], batch.rollout.action)
    kl = kl_divergence(jax.nn.log_softmax(heads["prediction"]), log_y_hat)
    chex.assert_rank(log_pi_a, 2)
    chex.assert_equal_shape([log_pi_a, pi_hat, kl])
    return jnp.mean(batch.hyperparameters["kl_weight"] * kl - log_pi_a * pi_hat)


def errors(given: PyTree, wanted: PyTree) -> Metrics:
    """How far a rule's targets are from another's: the share of the policy target's mean square, at most about 1 for a
    rule that says nothing, and KL(wanted || given) of the predictions in nats.
    """
    square = jnp.mean(wanted[0] ** 2)
    return {
        "policy_error": jnp.mean((given[0] - wanted[0]) ** 2) / (square + NOTHING),
        "prediction_error": jnp.mean(kl_divergence(wanted[1], given[1])),
    }
