"""Does a learned LPG bootstrap, and through what?

    python -m experiments.bootstrap OBJECTIVE [--seeds 16]

Fresh tables on held-out Markov chains that are longer than a rollout, so that credit for the first action has
to be kept somewhere until its payment. Four times: the rule as it is, with y cut (it sees uniform predictions), with pi
cut (it sees a uniform policy), and with both cut. What it needs y for, it loses with y.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from metaobj.common.agents.agent import Heads
from metaobj.common.devices import use_all_cores
from metaobj.common.environments.delayed_chain import CHAIN, chain_spec
from metaobj.common.evaluation.training import Record, train_agents
from metaobj.common.evaluation.worlds import draw_worlds
from metaobj.common.experience.batches import Batch
from metaobj.common.keys import stream
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.population import make_families
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import Metrics, PyTree
from metaobj.lpg.objective import LPG
from metaobj.lpg.plugin import plugin

BINS = 25


@dataclass(frozen=True)
class Cut:
    """A rule that does not see all of the agent's heads: those in `blind` look uniform to it."""

    rule: LPG
    blind: tuple[str, ...]

    def heads(self, num_actions: int) -> dict[str, int]:
        return self.rule.heads(num_actions)

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        """Of what it sees."""
        seen, next_seen = (
            {name: jnp.zeros_like(logits) if name in self.blind else logits for name, logits in both.items()}
            for both in (heads, next_heads)
        )
        return self.rule.targets(weights, seen, next_seen, batch)

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        return self.rule.loss(heads, targets, batch)


CUTS: dict[str, tuple[str, ...]] = {
    "reads y and pi": (),
    "y cut": ("prediction",),
    "pi cut": ("policy",),
    "both cut": ("prediction", "policy"),
}


def on_chains(loaded: Loaded[Any, LPG], seeds: int, rate: float, kl_weight: float, updates: int) -> dict[str, Record]:
    """Fresh agents on chains of 24 to 48 steps, by what the rule is kept from seeing."""
    longer = chain_spec(CHAIN, (loaded.config.rollout_steps + 1, CHAIN.max_length), split="held_out")
    entry = Entry("chain/long", updates=updates, split="held_out")
    (family,) = make_families([entry], plugin.programs(loaded.config, loaded.objective))
    family = replace(family, specs=jax.tree.map(lambda leaf: np.asarray(leaf)[None], longer))
    worlds = draw_worlds(family, entry.environment, stream(0, "evaluation"), seeds)
    setting = {"learning_rate": rate, "kl_weight": kl_weight}
    return {
        name: train_agents(
            Cut(loaded.objective, blind), loaded.eta, family, worlds, updates, [setting], jax.random.key(1), BINS
        )
        for name, blind in CUTS.items()
    }


def tell(name: str, record: Record) -> None:
    """Means over agents: the last tenth of their lives, and the whole."""
    last = record.returns[:, -max(BINS // 10, 1) :].mean(1)
    whole = record.returns.mean()
    spread = last.std(ddof=1) / np.sqrt(len(last))
    print(f"{name}: final {last.mean():.3f} +- {spread:.3f}, mean over the lifetime {whole:.3f}", flush=True)


@dataclass(frozen=True)
class Arguments:
    """Does a learned LPG bootstrap?"""

    objective: tyro.conf.Positional[str]
    """A file, a run folder or pretrained:NAME."""
    seeds: int = 16
    """Agents of each kind."""
    chain_rate: float = 80.0
    """Learning rate of the tables."""
    kl_weight: float = 0.5
    """Weight of the tables' prediction loss."""
    updates: int = 250
    """Of an agent."""


def main() -> None:
    """See the module."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    loaded = load_objective(arguments.objective, "lpg")
    records = on_chains(loaded, arguments.seeds, arguments.chain_rate, arguments.kl_weight, arguments.updates)
    for name, record in records.items():
        tell(f"chains of more than a rollout, {name}", record)


if __name__ == "__main__":
    main()
