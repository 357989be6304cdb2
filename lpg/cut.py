"""A learned LPG that is kept from seeing some of what it reads."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.types import Hyperparameters, Metrics, PyTree
from metaobj.lpg.objective import LPG

CHANNELS: dict[str, str] = {"y": "sees_prediction", "pi": "sees_policy", "V": "sees_values"}
"""Through what a rule can carry credit from rollout to rollout, and the hyperparameter that says whether it may."""


@dataclass(frozen=True)
class Cut:
    """The rule, with what it sees decided by each agent's hyperparameters, so that all cuts are one program.

    Where a hyperparameter in `CHANNELS` is 0, the prediction and the policy look uniform to the rule, and advantages,
    V(s) and V(s') are those under V = 0 (their running size stays: it is a unit). Onto the logits of y that are seen
    "told" [S, m] is added, by state. The agent's own heads learn as ever.
    """

    rule: LPG
    lambda_: float
    """Of the advantages."""

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        """Of what is seen."""
        knobs, steps = batch.hyperparameters, batch.rollout
        seen = self._heads(knobs, heads, steps.observation)
        next_seen = self._heads(knobs, next_heads, steps.next_observation)
        return self.rule.targets(weights, seen, next_seen, self._batch(knobs, batch))

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        return self.rule.loss(heads, targets, batch)

    def _heads(self, knobs: Hyperparameters, heads: Heads, states: jax.Array) -> Heads:
        return {
            "policy": jnp.where(knobs["sees_policy"] > 0, heads["policy"], 0.0),
            "prediction": jnp.where(knobs["sees_prediction"] > 0, heads["prediction"], 0.0) + knobs["told"][states],
        }

    def _batch(self, knobs: Hyperparameters, batch: Batch) -> Batch:
        if not self.rule.config.value_inputs:
            return batch
        nothing = jnp.zeros_like(batch.values)
        sees = knobs["sees_values"] > 0
        return batch._replace(
            values=jnp.where(sees, batch.values, nothing),
            next_values=jnp.where(sees, batch.next_values, nothing),
            advantages=jnp.where(
                sees, batch.advantages, lambda_returns(batch.rollout, nothing, batch.discount, self.lambda_)
            ),
        )
