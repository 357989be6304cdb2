"""Does a learned LPG bootstrap, and through what?

On chains that are longer than a rollout, credit for the first action has to be kept somewhere until it is paid for: in
the prediction y, in the policy pi, whose later actions do nothing in a plain chain, or in the value function V where
the rule reads it. What the rule needs, fresh agents lose when the rule is kept from seeing it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.delayed_chain import COST, ChainParams, DelayedChain, chain_spec
from metaobj.common.environments.protocol import Discrete, reference_returns
from metaobj.common.environments.splits import Split
from metaobj.common.evaluation.bootstrap import Interval, stratified_bootstrap
from metaobj.common.evaluation.statistics import mean
from metaobj.common.evaluation.training import train_agents
from metaobj.common.evaluation.worlds import DrawnWorlds
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.on_policy import OnPolicy
from metaobj.common.lifetimes.population import Family
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import PRNGKey
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.cut import CHANNELS, Cut
from metaobj.lpg.inspection_data import Size, begin, settled, train
from metaobj.lpg.objective import LPG
from metaobj.lpg.programs import programs

LEARNS, LEARNS_IN_PART = 0.8, 0.3
"""A rule bootstraps, or does in part, whose agents earn at least this share of the optimal return."""
NEEDED = 0.5
"""A channel is needed if without it less than this share is left of what agents earn."""

_LONGER = 30
"""Chains have at most so many steps more than a rollout."""
_NEAREST = 16
"""From how many states y is taken where it is told."""
_USUAL = {"learning_rate": 80.0, "kl_weight": 0.5}
_PLAIN = "chain/long"

WORLDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": (_PLAIN, {}),
    "costly": ("chain/long_costly", {"cost": COST}),
    "narrow": ("chain/short_narrow", {"narrow": True}),
}
"""Kinds of chains: whose settings are taken from meta-training, and how they differ from a plain one. In all but the
first what the policy does later matters, so that it is not free to say what the first action was.
"""


@dataclass(frozen=True)
class Variant:
    """What a rule sees."""

    cut: tuple[str, ...] = ()
    """Of `CHANNELS`."""
    told: bool = False
    """Whether it sees, in place of the agent's y, one that tells the state's true value."""

    @property
    def name(self) -> str:
        if self.told:
            return "y told"
        return f"{' and '.join(self.cut)} cut" if self.cut else "as it is"


@dataclass(frozen=True, eq=False)
class Bootstrapping:
    """What agents earned in the last tenth of their lives, by what their rule saw, in each kind of chain."""

    scores: Mapping[tuple[Variant, str], Interval]
    """Share of the optimal return, by variant and world: 1 is the best. 0 is earned by who knows everything but the
    first action; below 0 later actions are wrong too.
    """
    seeds: int
    """Agents behind each."""
    lengths: tuple[int, int]
    """Of the shortest and the longest chain."""


def variants(rule: LPG) -> list[Variant]:
    """The rule as it is, every way to cut it, and with y told."""
    channels = [name for name in CHANNELS if name != "V" or rule.config.value_inputs]
    cuts = [cut for number in range(len(channels) + 1) for cut in combinations(channels, number)]
    return [*map(Variant, cuts), Variant(told=True)]


def bootstrapping(
    loaded: Loaded[LPGTraining, LPG], size: Size, key: PRNGKey, asked: Sequence[Variant] = ()
) -> Bootstrapping:
    """Train fresh tables by the rule and by its variants, all or those `asked`, each in the same held-out chains."""
    T = loaded.config.rollout_steps
    long = _chains(loaded, (T + 1, T + _LONGER), "held_out", tuple(WORLDS))
    worlds_key, told_key, lives_key = jax.random.split(key, 3)
    worlds = _draw(long, worlds_key, size.chain_agents)
    each = [settled(loaded, (name, _PLAIN), _USUAL) for name, _ in WORLDS.values()]
    setting = {name: np.repeat([chosen[name] for chosen in each], size.chain_agents) for name in each[0]}
    asked = asked or variants(loaded.objective)
    space = long.program.environment.observation_space
    assert isinstance(space, Discrete)
    told = np.zeros((len(setting["learning_rate"]), space.n, 1), np.float32)  # broadcasts
    if any(variant.told for variant in asked):
        short = _chains(loaded, (1, T), "any", ("plain",))
        told = _told(loaded, short, worlds.params, each[0], size, told_key)  # [n, S, m]
    record = train_agents(
        Cut(loaded.objective, long.program.lambda_),
        loaded.eta,
        long,
        worlds,
        size.chain_updates,
        [{**setting, **_knobs(variant, told)} for variant in asked],
        lives_key,
        bins=min(10, size.chain_updates),
    )
    assert record.random is not None and record.optimal is not None
    # Who has diverged is worth as much as uniform actions.
    last = np.where(record.diverged[:, -1], record.random, record.returns[:, -1]) / record.optimal
    shares = last.reshape(len(asked), len(WORLDS), 1, size.chain_agents)
    scores = {
        (variant, world): stratified_bootstrap(shares[i, j], mean)
        for i, variant in enumerate(asked)
        for j, world in enumerate(WORLDS)
    }
    lengths = np.asarray(worlds.params.length)
    return Bootstrapping(scores, size.chain_agents, (int(lengths.min()), int(lengths.max())))


def verdict(found: Bootstrapping) -> str:
    """One line: whether the rule bootstraps by the thresholds above, and through what."""
    plain = {
        variant: float(score.point) for (variant, world), score in found.scores.items() if world == next(iter(WORLDS))
    }
    earned = plain[Variant()]
    chains = f"{earned:.2f} of optimal on chains of {found.lengths[0]} to {found.lengths[1]} steps"
    if earned < LEARNS_IN_PART:
        told = plain[Variant(told=True)]
        return f"does not bootstrap: {chains}, longer than a rollout; {told:.2f} if y tells the states' true values"
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
        f"{float(score.point):.2f} on {world} ones"
        for (variant, world), score in found.scores.items()
        if variant == Variant() and world != next(iter(WORLDS))
    )
    return f"{word} through {through}: {chains}, {without}; {elsewhere}"


def _needed(scores: Mapping[Variant, float]) -> list[tuple[str, ...]]:
    """The smallest sets of channels without which too little is left: of each at least one is needed."""
    least = NEEDED * scores[Variant()]
    cuts = [variant.cut for variant, score in scores.items() if variant.cut and score < least]
    return [cut for cut in cuts if not any(set(other) < set(cut) for other in cuts)]


def _chains(
    loaded: Loaded[LPGTraining, LPG], length: tuple[int, int], split: Split, worlds: Sequence[str]
) -> Family[OnPolicy]:
    config = loaded.config
    environment = DelayedChain(config.rollout_steps + _LONGER)
    specs = [chain_spec(environment, length, split=split, **WORLDS[world][1]) for world in worlds]
    return Family(
        program=programs(config, loaded.objective)(Entry(_PLAIN), environment),
        tasks=tuple(range(len(worlds))),
        specs=jax.tree.map(lambda *leaves: np.stack(leaves), *specs),
        updates=np.zeros(len(worlds), np.int32),
        lifetimes=np.arange(len(worlds)),
    )


def _draw(family: Family[OnPolicy], key: PRNGKey, count: int) -> DrawnWorlds:
    """`count` worlds of each kind, kinds in their order."""
    kinds = len(family.tasks)
    members = jnp.repeat(jnp.arange(kinds), count)
    params = jax.jit(jax.vmap(family.draw_params))(jax.random.split(key, kinds * count), members)
    return DrawnWorlds(kinds * count, params, reference_returns(family.program.environment, params))


def _knobs(variant: Variant, told: np.ndarray) -> dict[str, Any]:
    """The hyperparameters of `Cut`."""
    cut = ("y",) if variant.told else variant.cut
    sees = {knob: float(name not in cut) for name, knob in CHANNELS.items()}
    return {**sees, "told": told if variant.told else np.zeros_like(told)}


def _told(
    loaded: Loaded[LPGTraining, LPG],
    short: Family[OnPolicy],
    params: ChainParams,
    setting: Mapping[str, float],
    size: Size,
    key: PRNGKey,
) -> np.ndarray:
    """Logits of y that tell the true values in n chains, [n, S, m].

    What y means is the rule's to say, and phi(y) is no value. So it is what agents have learnt, by the rule as it is,
    in states of that value: on chains that are no longer than a rollout, where nothing need be bootstrapped.
    """
    hyperparameters = {name: jnp.float32(value) for name, value in setting.items()}
    keys = jax.random.split(key, size.chain_agents)
    updates = jnp.int32(size.chain_updates)
    agents = train(loaded.objective, short.program, loaded.eta, begin(short, keys, hyperparameters, updates), updates)
    learnt = np.asarray(agents.learner.params["prediction"])  # [agents, S, m]
    discount = short.program.discount
    states = learnt.shape[1]
    return nearest_predictions(
        learnt, chain_values(agents.environment_params, states, discount), chain_values(params, states, discount)
    )


def chain_values(params: ChainParams, states: int, discount: float) -> np.ndarray:
    """Values [n, S] of n chains' states under the best policy; 0 in states beyond a chain's end."""
    state = np.arange(states)
    steps, branch = (state + 1) // 2, (state + 1) % 2
    left = np.asarray(params.length)[:, None] - 1 - steps  # [n, S] before the step that pays
    # Before the first action the best one is still to come.
    right = (steps == 0) | (branch == np.asarray(params.correct_action)[:, None])
    return np.where(left >= 0, np.where(right, 1.0, -1.0) * discount ** np.maximum(left, 0.0), 0.0)


def nearest_predictions(learnt: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Median log y [n, S, m] of the learnt predictions whose states' values are nearest to those `wanted`.

    Args:
        learnt: logits [agents, S, m]; rows of zeros were never visited and do not count.
        values: [agents, S] of their states.
        wanted: [n, S].
    """
    met = np.any(learnt != 0, -1)
    log_y, values = np.asarray(jax.nn.log_softmax(learnt[met])), values[met]  # [states met, m], [states met]
    nearest = np.argsort(np.abs(wanted[..., None] - values), -1, kind="stable")[..., :_NEAREST]
    return np.median(log_y[nearest], -2)
