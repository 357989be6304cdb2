"""Does a learned rule bootstrap, and through what?

On chains that are longer than a rollout, credit for the first action has to be kept somewhere until it is paid for: in
what agents predict, or in the policy, whose later actions do nothing in a plain chain. What a rule needs, fresh agents
lose when the rule is kept from seeing it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.delayed_chain import COST, DelayedChain, chain_spec
from metaobj.common.environments.protocol import reference_returns
from metaobj.common.environments.splits import Split
from metaobj.common.evaluation.bootstrap import Interval, stratified_bootstrap
from metaobj.common.evaluation.method import Settings
from metaobj.common.evaluation.statistics import mean
from metaobj.common.evaluation.training import train_agents
from metaobj.common.evaluation.worlds import DrawnWorlds
from metaobj.common.lifetimes.population import Family
from metaobj.common.types import PRNGKey, PyTree

LEARNS, LEARNS_IN_PART = 0.8, 0.3
"""A rule bootstraps, or does in part, whose agents earn at least this share of the optimal return."""
NEEDED = 0.5
"""A channel is needed if without it less than this share is left of what agents earn."""

KINDS: dict[str, dict[str, Any]] = {"plain": {}, "costly": {"cost": COST}, "narrow": {"narrow": True}}
"""Of chains: how they differ from a plain one. In all but the first what the policy does later matters, so that it is
not free to say what the first action was.
"""


@dataclass(frozen=True)
class Variant:
    """What a rule sees."""

    cut: tuple[str, ...] = ()
    """The channels that it is kept from seeing."""
    told: bool = False
    """Whether it sees, in place of the agent's prediction, one that tells the state's true value."""

    @property
    def name(self) -> str:
        if self.told:
            return "y told"
        return f"{' and '.join(self.cut)} cut" if self.cut else "as it is"


@dataclass(frozen=True, eq=False)
class Bootstrapping:
    """What agents earned in the last tenth of their lives, by what their rule saw, in each kind of chain."""

    scores: Mapping[tuple[Variant, str], Interval]
    """Share of the optimal return, by variant and kind: 1 is the best. 0 is earned by who knows everything but the
    first action; below 0 later actions are wrong too.
    """
    seeds: int
    """Agents behind each."""
    lengths: tuple[int, int]
    """Of the shortest and the longest chain."""


def all_cuts(channels: Sequence[str]) -> list[Variant]:
    """The rule as it is, and every way to cut it."""
    return [Variant(cut) for number in range(len(channels) + 1) for cut in combinations(channels, number)]


def chains(
    program: Any, chain: DelayedChain, length: tuple[int, int], split: Split, kinds: Sequence[str]
) -> Family[Any]:
    """Chains of these kinds and lengths.

    Args:
        program: how agents live there: in `chain`, or in what shows it.
        chain: holds them.
        length: the least and the most steps.
        split: of them.
        kinds: of `KINDS`.
    """
    specs = [chain_spec(chain, length, split=split, **KINDS[kind]) for kind in kinds]
    return Family(
        program=program,
        tasks=tuple(range(len(kinds))),
        specs=jax.tree.map(lambda *leaves: np.stack(leaves), *specs),
        updates=np.zeros(len(kinds), np.int32),
        lifetimes=np.arange(len(kinds)),
    )


def draw_chains(family: Family[Any], key: PRNGKey, count: int) -> DrawnWorlds:
    """`count` worlds of each kind, kinds in their order."""
    kinds = len(family.tasks)
    members = jnp.repeat(jnp.arange(kinds), count)
    params = jax.jit(jax.vmap(family.draw_params))(jax.random.split(key, kinds * count), members)
    return DrawnWorlds(kinds * count, params, reference_returns(family.program.environment, params))


def live_in_chains(
    rule: Any,
    eta: PyTree,
    family: Family[Any],
    worlds: DrawnWorlds,
    updates: int,
    settings: Mapping[Variant, Settings],
    key: PRNGKey,
) -> Bootstrapping:
    """Train fresh agents by a rule and by its variants, each in the same chains.

    Args:
        rule: that sees what an agent's hyperparameters say.
        eta: its weights.
        family: of `chains`.
        worlds: of `draw_chains`.
        updates: of each agent.
        settings: hyperparameters by variant, as `train_agents` takes them.
        key: of agents.
    """
    record = train_agents(rule, eta, family, worlds, updates, list(settings.values()), key, bins=min(10, updates))
    assert record.random is not None and record.optimal is not None
    # Who has diverged is worth as much as uniform actions.
    last = np.where(record.diverged[:, -1], record.random, record.returns[:, -1]) / record.optimal
    kinds = list(KINDS)[: len(family.tasks)]
    seeds = worlds.count // len(kinds)
    shares = last.reshape(len(settings), len(kinds), 1, seeds)
    scores = {
        (variant, kind): stratified_bootstrap(shares[i, j], mean)
        for i, variant in enumerate(settings)
        for j, kind in enumerate(kinds)
    }
    lengths = np.asarray(worlds.params.length)
    return Bootstrapping(scores, seeds, (int(lengths.min()), int(lengths.max())))


def verdict(found: Bootstrapping) -> str:
    """One line: whether the rule bootstraps by the thresholds above, and through what."""
    first = next(iter(KINDS))
    plain = {variant: float(score.point) for (variant, kind), score in found.scores.items() if kind == first}
    earned = plain[Variant()]
    chains = f"{earned:.2f} of optimal on chains of {found.lengths[0]} to {found.lengths[1]} steps"
    if earned < LEARNS_IN_PART:
        told = plain.get(Variant(told=True))
        said = f"does not bootstrap: {chains}, longer than a rollout"
        return said if told is None else f"{said}; {told:.2f} if y tells the states' true values"
    needed = _needed(plain)
    word = "bootstraps" if earned >= LEARNS else "bootstraps in part"
    if needed:
        without = ", ".join(f"{plain[Variant(cut)]:.2f} without {' and '.join(cut)}" for cut in needed)
        through = " and ".join(" or ".join(cut) for cut in needed)
    else:
        everything = max((variant.cut for variant in plain), key=len)
        without = f"{plain[Variant(everything)]:.2f} without {' and '.join(everything)}"
        through = f"none of {', '.join(everything)}"
    elsewhere = ", ".join(
        f"{float(score.point):.2f} on {kind} ones"
        for (variant, kind), score in found.scores.items()
        if variant == Variant() and kind != first
    )
    return f"{word} through {through}: {chains}, {without}" + (f"; {elsewhere}" if elsewhere else "")


def _needed(scores: Mapping[Variant, float]) -> list[tuple[str, ...]]:
    """The smallest sets of channels without which too little is left: of each at least one is needed."""
    least = NEEDED * scores[Variant()]
    cuts = [variant.cut for variant, score in scores.items() if variant.cut and score < least]
    return [cut for cut in cuts if not any(set(other) < set(cut) for other in cuts)]
