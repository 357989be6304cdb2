"""An actor-critic whose entropy weight follows how much it has earned of late (Flennerhag et al. 2022, section 5.1).

A network reads the mean rewards of the last rollouts and gives the weight, so that an agent may learn to explore again
when its world has changed.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads
from metaobj.common.errors import MOST, check_numbers
from metaobj.common.experience.batches import Batch
from metaobj.common.networks.dense import apply_dense, init_dense
from metaobj.common.types import PRNGKey, PyTree
from metaobj.selftuning.rule import SelfTuning


@dataclass(frozen=True)
class RecentRewards(SelfTuning):
    """See `common.agents.agent.Remembering`. To the unconstrained entropy weight of all heads a network's output is
    added, 0 at first.
    """

    rollouts: int = 10
    """How many the network reads."""
    units: int = 32
    """Of its hidden layer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_numbers(self, "rollouts units", at_least=1, at_most=MOST)

    def init(self, key: PRNGKey) -> PyTree:
        number_key, hidden_key = jax.random.split(key)
        return {
            **super().init(number_key),
            "hidden": init_dense(hidden_key, self.rollouts, self.units),
            "output": jnp.zeros(self.units),
        }

    def in_force(self, eta: PyTree, memory: jax.Array) -> PyTree:
        """With the entropy weight as the rewards of the last rollouts have it; zeros before the first."""
        hidden = jax.nn.relu(apply_dense(eta["hidden"], memory))
        return {**eta, "entropy_weight": eta["entropy_weight"] + hidden @ eta["output"]}

    def first_memory(self) -> jax.Array:
        return jnp.zeros(self.rollouts)

    def remember(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch, targets: PyTree) -> jax.Array:
        return jnp.append(batch.memory[1:], jnp.mean(batch.rollout.reward))
