"""Through what does a learned LPG bootstrap?

In the prediction y, in the policy pi, or in the value function V where the rule reads it: see
`common.evaluation.credit`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.delayed_chain import ChainParams, DelayedChain
from metaobj.common.environments.protocol import Discrete
from metaobj.common.environments.splits import Split
from metaobj.common.evaluation.credit import (
    KINDS,
    Bootstrapping,
    Variant,
    all_cuts,
    chains,
    draw_chains,
    live_in_chains,
)
from metaobj.common.evaluation.grown import born, grown
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.on_policy import OnPolicy
from metaobj.common.lifetimes.population import Family
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import PRNGKey
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.cut import CHANNELS, Cut
from metaobj.lpg.inspection_data import Size
from metaobj.lpg.objective import LPG
from metaobj.lpg.programs import programs

_LONGER = 30
"""Chains have at most so many steps more than a rollout."""
_NEAREST = 16
"""From how many states y is taken where it is told."""
_USUAL = {"learning_rate": 80.0, "kl_weight": 0.5}
_PLAIN = "chain/long"
SETTLED = {"plain": _PLAIN, "costly": "chain/long_costly", "narrow": "chain/short_narrow"}
"""From where a kind of chains takes the settings that meta-training came to."""


def variants(rule: LPG) -> list[Variant]:
    """The rule as it is, every way to cut it, and with y told."""
    channels = [name for name in CHANNELS if name != "V" or rule.config.value_inputs]
    return [*all_cuts(channels), Variant(told=True)]


def bootstrapping(
    loaded: Loaded[LPGTraining, LPG], size: Size, key: PRNGKey, asked: Sequence[Variant] = ()
) -> Bootstrapping:
    """Train fresh tables by the rule and by its variants, all or those `asked`, each in the same held-out chains."""
    T = loaded.config.rollout_steps
    long = _chains(loaded, (T + 1, T + _LONGER), "held_out", tuple(KINDS))
    worlds_key, told_key, lives_key = jax.random.split(key, 3)
    worlds = draw_chains(long, worlds_key, size.chain_agents)
    each = [loaded.settled((SETTLED[kind], _PLAIN), _USUAL) for kind in KINDS]
    setting = {name: np.repeat([chosen[name] for chosen in each], size.chain_agents) for name in each[0]}
    asked = asked or variants(loaded.objective)
    space = long.program.environment.observation_space
    assert isinstance(space, Discrete)
    told = np.zeros((len(setting["learning_rate"]), space.n, 1), np.float32)  # broadcasts
    if any(variant.told for variant in asked):
        short = _chains(loaded, (1, T), "any", ("plain",))
        told = _told(loaded, short, worlds.params, each[0], size, told_key)  # [n, S, m]
    settings = {variant: {**setting, **_knobs(variant, told)} for variant in asked}
    rule = Cut(loaded.objective, long.program.lambda_)
    return live_in_chains(rule, loaded.eta, long, worlds, size.chain_updates, settings, lives_key)


def _chains(
    loaded: Loaded[LPGTraining, LPG], length: tuple[int, int], split: Split, kinds: Sequence[str]
) -> Family[OnPolicy]:
    chain = DelayedChain(loaded.config.rollout_steps + _LONGER)
    return chains(programs(loaded.config, loaded.objective)(Entry(_PLAIN), chain), chain, length, split, kinds)


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
    fresh = born(short, keys, hyperparameters, updates)
    agents = grown(loaded.objective, short.program, loaded.eta, fresh, updates)
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
