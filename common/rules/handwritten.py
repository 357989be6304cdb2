"""Update rules that people wrote. They take part in everything but meta-training."""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, entropy, log_probability
from metaobj.common.experience.batches import Batch, Experience
from metaobj.common.experience.windows import mean_valid
from metaobj.common.rules.off_policy import HYPERPARAMETERS
from metaobj.common.types import Metrics, PyTree

A2C_ENTROPY_WEIGHT = 0.003
"""What is usual for A2C's policies that are networks."""


@dataclass(frozen=True)
class A2C:
    """Advantage actor-critic (Mnih et al. 2016, arXiv 1602.01783), synchronous.

    The critic is the lifetime's own value function and the advantages its generalised estimates, so a comparison with
    a learned objective has the same networks, rollouts and environment steps on both sides.
    """

    entropy_weight: float | None = None
    """Where it is not a hyperparameter of the agent's."""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return ("learning_rate", "entropy_weight") if self.entropy_weight is None else ("learning_rate",)

    def heads(self, num_actions: int) -> dict[str, int]:
        return {"policy": num_actions}

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        return batch.advantages, {}

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        log_pi_a = log_probability(heads["policy"], batch.rollout.action)
        weight = batch.hyperparameters["entropy_weight"] if self.entropy_weight is None else self.entropy_weight
        bonus = weight * entropy(heads["policy"])
        chex.assert_rank(log_pi_a, 2)
        chex.assert_equal_shape([log_pi_a, targets, bonus])
        return -jnp.mean(log_pi_a * targets + bonus)


@dataclass(frozen=True)
class CriticAscent:
    """The deterministic policy gradient (Silver et al. 2014): go where the critic says that actions are better."""

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return HYPERPARAMETERS

    @property
    def reads_windows(self) -> bool:
        return False

    def loss(self, weights: PyTree, actions: jax.Array, experience: Experience, judged: jax.Array) -> jax.Array:
        return -mean_valid(judged, experience.valid)


def clipped_surrogate(log_ratio: jax.Array, advantage: jax.Array, clip: float = 0.2) -> jax.Array:
    """-min(r A, clip(r, 1 - eps, 1 + eps) A) of each step (Schulman et al. 2017, equation 7).

    Args:
        log_ratio: log pi(a|s) - log pi_old(a|s) [...].
        advantage: A [...].
        clip: eps.

    Raises:
        AssertionError: shapes differ.
    """
    chex.assert_equal_shape([log_ratio, advantage])
    ratio = jnp.exp(log_ratio)
    return -jnp.minimum(ratio * advantage, jnp.clip(ratio, 1.0 - clip, 1.0 + clip) * advantage)


def dpo_surrogate(log_ratio: jax.Array, advantage: jax.Array, alpha: float = 2.0, beta: float = 0.6) -> jax.Array:
    """-(r A - f) of each step, discovered policy optimisation (Lu et al. 2022, "Discovered Policy Optimisation", arXiv
    2210.05639): what a learned drift function came to, as a formula.

    f = relu((r - 1) A - alpha tanh((r - 1) A / alpha)) where A >= 0, and relu(log r A - beta tanh(log r A / beta))
    elsewhere. Its value and slope are 0 at r = 1, so that the first step is the policy gradient's.

    Args:
        log_ratio: log pi(a|s) - log pi_old(a|s) [...].
        advantage: A [...].
        alpha: how far good actions go freely.
        beta: how far bad ones do.

    Raises:
        AssertionError: shapes differ.
    """
    chex.assert_equal_shape([log_ratio, advantage])
    ratio = jnp.exp(log_ratio)
    good, bad = (ratio - 1.0) * advantage, log_ratio * advantage
    drift_good = jax.nn.relu(good - alpha * jnp.tanh(good / alpha))
    drift_bad = jax.nn.relu(bad - beta * jnp.tanh(bad / beta))
    return jnp.where(advantage >= 0, drift_good, drift_bad) - ratio * advantage
