"""A learned Disco that is kept from seeing some of what agents predict."""

from dataclasses import dataclass

import jax.numpy as jnp

from metaobj.common.agents.agent import Heads
from metaobj.common.experience.batches import Batch
from metaobj.common.types import Hyperparameters, Metrics, PyTree
from metaobj.disco.agent import TARGET
from metaobj.disco.objective import Disco, Memory, Targets, see

CHANNELS: dict[str, str] = {"y": "sees_y", "z": "sees_z", "q": "sees_q"}
"""Through what a rule can carry credit from rollout to rollout, and the hyperparameter that says whether it may."""


@dataclass(frozen=True)
class Cut:
    """The rule, with what it sees decided by each agent's hyperparameters, so that all cuts are one program.

    Where a hyperparameter in `CHANNELS` is 0, that prediction looks uniform to the rule, the agent's and its target's;
    of q all values are then 0, and advantages those of the rollout's rewards alone. The agent's own heads learn as
    ever.
    """

    rule: Disco

    def first_memory(self) -> Memory:
        return self.rule.first_memory()

    def remember(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch, targets: Targets) -> Memory:
        return targets.memory

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[Targets, Metrics]:
        """Of what is seen; action values go to their own returns all the same."""
        knobs = batch.hyperparameters
        targets, about = self.rule.targets(weights, _seen(knobs, heads), _seen(knobs, next_heads), batch)
        own, _ = see(heads, next_heads, batch, self.rule.config.discount)
        return targets._replace(returns=own.values.returns), about

    def loss(self, heads: Heads, targets: Targets, batch: Batch) -> jnp.ndarray:
        return self.rule.loss(heads, targets, batch)


def _seen(knobs: Hyperparameters, heads: Heads) -> Heads:
    def shown(name: str) -> jnp.ndarray:
        knob = CHANNELS.get(name.removeprefix(TARGET))
        return heads[name] if knob is None else jnp.where(knobs[knob] > 0, heads[name], 0.0)

    return {name: shown(name) for name in heads}
