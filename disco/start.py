"""A start for Disco's weights: a policy improvement that people wrote, distilled into the network.

The teacher is the clipped maximum a posteriori policy of Muesli (Hessel et al. 2021, "Muesli: combining improvements in
policy optimization", arXiv 2104.06159), pi_CMPO(a|s) proportional to pi_target(a|s) exp(clip(A(s, a), -c, c)), with A
in units of the advantages' running deviation: of the action that was taken what its Retrace return says, which tells of
it long before its action value does, and of the others the agent's action values relative to the state's. The network
is given all of these. What y and z are to become is left to meta-training.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import jax
import jax.numpy as jnp
from rich.console import Console

from metaobj.common.agents.agent import Heads, kl_divergence
from metaobj.common.experience.batches import Batch
from metaobj.common.lifetimes.distributions import Entry, make_distribution
from metaobj.common.objectives.teaching import Distillation, Lessons
from metaobj.common.types import Metrics, PyTree
from metaobj.disco.config import DISTRIBUTIONS, RATES, WIDE, DiscoTraining
from metaobj.disco.objective import Disco, Memory, Targets, see
from metaobj.disco.programs import trials

LARGEST = 1.0
"""c."""
_GRIDS = (Entry("grid/moving_any_small", 4, 8, 400, RATES, WIDE, split="held_out"),)
"""Worlds that no training can draw, to tell how well the teacher has been learnt."""


@dataclass(frozen=True)
class Muesli:
    """The teacher; see `common.objectives.teaching.Teacher`."""

    discount: float
    """gamma of the agents' action values."""
    errors: ClassVar[tuple[str, ...]] = ("policy_error",)

    def wanted(self, given: Targets, heads: Heads, next_heads: Heads, batch: Batch) -> Targets:
        seen, _ = see(heads, next_heads, batch, self.discount)
        taken = jax.nn.one_hot(batch.rollout.action, seen.values.relative.shape[-1])  # [T, B, A]
        advantages = jnp.where(taken > 0, seen.values.advantages[..., None], seen.values.relative[:-1])
        advantages = seen.advantages.normalise(advantages)
        prior = jax.nn.log_softmax(seen.target["policy"][:-1])
        return given._replace(said=given.said._replace(policy=prior + jnp.clip(advantages, -LARGEST, LARGEST)))

    def compare(self, given: Targets, wanted: Targets) -> Metrics:
        """KL(wanted || given) of the policies, in nats."""
        policies = (jax.nn.log_softmax(targets.said.policy) for targets in (wanted, given))
        return {"policy_error": jnp.mean(kl_divergence(*policies))}


@dataclass(frozen=True)
class DiscoDistillation(Distillation[Disco]):
    """With what is remembered of agents."""

    def first_memory(self) -> Memory:
        return self.student.first_memory()

    def remember(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch, targets: Targets) -> Memory:
        return self.student.remember(weights, heads, next_heads, batch, targets)


def distil(config: DiscoTraining, console: Console, devices: int | None = None) -> PyTree:
    """Weights eta that say what `Muesli` says, as nearly as their network can; how near they are is told.

    Args:
        config: of the run that starts from them; `start_updates` tells how long.
        console: where progress is shown.
        devices: over how many devices agents are spread; all that fit by default.

    Raises:
        UserError: what was learnt is not finite.
    """
    entries = make_distribution(config.distribution, config.scale, DISTRIBUTIONS, config.life)
    lessons = Lessons(
        DiscoDistillation(Disco(config.network, config.meta_loss), Muesli(config.network.discount)),
        trials,
        {},
        {"policy_error": "policy's error {:.3f}"},
    )
    updates = config.start_updates
    way = replace(config, meta_updates=updates, checkpoint_every=updates, lifetime_adam=False, family_adam=False)
    eta, found = lessons.learn(way, entries, _GRIDS, console, devices, "learning the start from Muesli")
    told = f"on held-out grids the policy's targets differ by {found['policy_error']:.3f} nats"
    console.print(f"started from Muesli: {told}", highlight=False, soft_wrap=True)
    return eta
