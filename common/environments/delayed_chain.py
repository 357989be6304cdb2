"""Delayed chains: the first of many actions decides what is paid at the end (Oh et al. 2020, LPG).

Two actions. The first one of an episode earns +1 at its end if it is the right one and -1 if not. Which one is right
is drawn once per lifetime: drawn per episode, nothing could tell before it is too late.

The chain is two branches, one for each first action, and the observation says on which one the episode is, so that its
states have values. An *aliased* chain shows the number of steps alone: what was done first can then be learnt only from
within the rollout that saw it, since no state tells it.

As a rule later actions do nothing, and what an agent does there is free to mean anything. In a *costly* chain each
state has a right action and the other costs a little; in a *narrow* one the other ends the episode at once and pays -2,
less than any chain pays at its end, so that a single action leads on whatever the branch.
"""

from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.drawing import AGENT, BAD, BANNER, CELL, GOOD, INK, LINE, PAPER, canvas, caption, font
from metaobj.common.environments.protocol import Box, Discrete, Space
from metaobj.common.environments.splits import ANY, HELD_OUT, SPLITS, TRAINING, Split
from metaobj.common.errors import UserError
from metaobj.common.types import PRNGKey

Step = tuple[jax.Array, "ChainState", jax.Array, jax.Array, jax.Array, dict[str, Any]]

LOST = -2.0
"""What a wrong action in a narrow chain pays."""


@struct.dataclass
class ChainParams:
    """One chain."""

    length: jax.Array  # [] int32 steps per episode
    correct_action: jax.Array  # [] int32, 0 or 1
    later_actions: jax.Array  # [2, max_length] int32, the right one after the first, by branch and steps taken
    cost: jax.Array  # [] what each wrong later action costs
    narrow: jax.Array  # [] bool, whether a wrong later action ends the episode
    noisy: jax.Array  # [] bool, +1 or -1 at random in the steps strictly between the first and the last


@struct.dataclass
class ChainSpec:
    """A distribution of chains: lengths are uniform. Lengths that are 0 modulo 4 are held out."""

    length: np.ndarray  # [2] int32 least and most
    cost: np.ndarray  # []
    narrow: np.ndarray  # [] bool
    noisy: np.ndarray  # [] bool
    split: np.ndarray  # [] int32: ANY, TRAINING or HELD_OUT of `splits`


@struct.dataclass
class ChainState:
    """An episode in progress."""

    time: jax.Array  # [] int32 steps taken
    branch: jax.Array  # [] int32, the first action; 0 before it


@dataclass(frozen=True)
class DelayedChain:
    """All chains of at most `max_length` steps.

    The observation is 0 at first and 2 t - 1 + branch after t steps. With `distractors` it is instead two bits, one per
    branch, both 0 at first, followed by so many random bits, as float32; the sources do not say which two bits the
    paper's chain shows. `aliased`, it is the number of steps taken, or the bits "this is the first step" and "this is
    the last step", and nothing tells the branch.
    """

    max_length: int
    distractors: int = 0
    aliased: bool = False

    @property
    def observation_space(self) -> Space:
        """States, or bits."""
        if self.distractors:
            return Box((2 + self.distractors,), 0.0, 1.0)
        return Discrete((self.max_length if self.aliased else 2 * self.max_length) + 1)

    @property
    def action_space(self) -> Discrete:
        """Two actions."""
        return Discrete(2)

    def sample_params(self, key: PRNGKey, spec: ChainSpec) -> ChainParams:
        """Draw a chain: length and right actions."""
        key, later_key = jax.random.split(key)
        length_u, action_u = jax.random.uniform(key, (2,))
        lengths = jnp.arange(self.max_length + 1)
        low, high = jnp.asarray(spec.length)
        held_out = lengths % 4 == 0
        split = jnp.asarray(spec.split)
        fits = (split == ANY) | ((split == HELD_OUT) & held_out) | ((split == TRAINING) & ~held_out)
        # The length is that of the rank-th length that fits.
        order = jnp.cumsum(fits & (lengths >= low) & (lengths <= high))  # [max_length + 1]
        rank = jnp.minimum(jnp.floor(length_u * order[-1]), order[-1] - 1)
        later = jax.random.bernoulli(later_key, shape=(2, self.max_length))
        return ChainParams(
            length=jnp.searchsorted(order, rank + 1).astype(jnp.int32),
            correct_action=(action_u < 0.5).astype(jnp.int32),
            later_actions=later.astype(jnp.int32),
            cost=jnp.asarray(spec.cost),
            narrow=jnp.asarray(spec.narrow),
            noisy=jnp.asarray(spec.noisy),
        )

    def reset(self, key: PRNGKey, params: ChainParams) -> tuple[jax.Array, ChainState]:
        """Start an episode."""
        state = ChainState(jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
        return self._observe(jax.random.uniform(key, (self.distractors,)), state, params), state

    def step(self, key: PRNGKey, state: ChainState, action: jax.Array, params: ChainParams) -> Step:
        """One step; `terminated` with the payment after `params.length` steps or before, never truncated."""
        u = jax.random.uniform(key, (1 + self.distractors,))
        first, last = state.time == 0, state.time >= params.length - 1
        action = jnp.asarray(action, jnp.int32)
        wrong = ~first & (action != params.later_actions[state.branch, state.time])
        lost = wrong & params.narrow
        state = ChainState(state.time + 1, jnp.where(first, action, state.branch))
        payment = jnp.where(state.branch == params.correct_action, 1.0, -1.0)
        noise = jnp.where(params.noisy & ~first, jnp.where(u[0] < 0.5, 1.0, -1.0), 0.0)
        reward = jnp.where(last, payment, noise) - jnp.where(wrong, params.cost, 0.0)
        reward = jnp.where(lost, LOST, reward)
        terminated = last | lost
        return self._observe(u[1:], state, params), state, reward, terminated, jnp.zeros_like(terminated), {}

    def reference_returns(self, params: ChainParams) -> tuple[np.ndarray, np.ndarray]:
        """The best policy earns 1. Uniform actions earn 0 by the first action and by noise; half of the later ones are
        wrong.
        """
        later = np.asarray(params.length) - 1
        random = np.where(params.narrow, LOST * (1 - 0.5**later), -np.asarray(params.cost) * later / 2)
        return random, np.ones(later.shape)

    def render(self, state: ChainState, params: ChainParams) -> np.ndarray:
        """The steps, the current one blue, past ones grey, and the end in the colour of what will be paid."""
        length, time = int(params.length), int(state.time)
        columns, size = min(length + 1, 17), CELL * 3 // 4
        rows = -(-(length + 1) // columns)
        image, draw = canvas(max(columns * size + 8, 250), rows * size + 8)
        right = int(state.branch) == int(params.correct_action)
        pays = GOOD if right else BAD
        for i in range(length + 1):
            x, y = 4 + (i % columns) * size, BANNER + 4 + (i // columns) * size
            # What is paid is settled by the first step; before it, the end has no colour.
            fill = AGENT if i == time else LINE if i < time else PAPER
            outline = pays if i == length and time > 0 else INK
            if i == length and time == length:
                fill = pays
            draw.ellipse(
                (x + 3, y + 3, x + size - 3, y + size - 3), fill=fill, outline=outline, width=3 if i == length else 1
            )
            number = str(i) if i < length else "?" if time == 0 else "+1" if right else "-1"
            ink = PAPER if i == time else INK
            draw.text((x + size / 2, y + size / 2), number, fill=ink, font=font(11), anchor="mm")
        noisy = ", noisy" if bool(params.noisy) else ""
        caption(draw, f"step {time} of {length}, right first action: {int(params.correct_action)}{noisy}")
        return np.asarray(image)

    def _observe(self, u: jax.Array, state: ChainState, params: ChainParams) -> jax.Array:
        """`u` [distractors] uniform in [0, 1)."""
        begun = state.time > 0
        if not self.distractors:
            states = state.time if self.aliased else 2 * state.time - begun + (begun & (state.branch == 1))
            return states.astype(jnp.int32)
        ends = jnp.stack([~begun, state.time == params.length - 1])
        relevant = ends if self.aliased else begun & (state.branch == jnp.arange(2))
        return jnp.concatenate([relevant, u < 0.5]).astype(jnp.float32)


def chain_spec(
    environment: DelayedChain,
    length: int | tuple[int, int],
    noisy: bool = False,
    split: Split = "any",
    cost: float = 0.0,
    narrow: bool = False,
) -> ChainSpec:
    """A distribution of chains for `environment`.

    Args:
        environment: the environment that holds them.
        length: steps per episode, a number or (low, high).
        noisy: random rewards between the first and the last step.
        split: "training" and "held_out" have no length in common.
        cost: of each wrong action after the first, at least 0.
        narrow: a wrong action after the first ends the episode and pays `LOST`.

    Raises:
        UserError: no length fits, or the cost is negative.
    """
    low, high = (length, length) if isinstance(length, int) else length
    if split not in SPLITS:
        raise UserError(f"split: {split!r} is unknown; choose from {', '.join(SPLITS)}")
    if not 1 <= low <= high <= environment.max_length:
        raise UserError(f"length: {length} is not a number or (low, high) within 1 to {environment.max_length}")
    if split != "any" and not any((n % 4 == 0) == (split == "held_out") for n in range(low, high + 1)):
        raise UserError(f"split: no length of {length} is {split}; held-out lengths are the multiples of 4")
    if not 0 <= cost < np.inf:
        raise UserError(f"cost: {cost} given; must be finite and at least 0")
    return ChainSpec(
        length=np.array([low, high], np.int32),
        cost=np.array(cost, np.float32),
        narrow=np.array(narrow),
        noisy=np.array(noisy),
        split=np.array(SPLITS[split], np.int32),
    )


CHAIN = DelayedChain(max_length=50)
"""Holds all chains that are observed as a state's index and are not aliased."""
DISTRACTED_CHAIN = DelayedChain(max_length=50, distractors=20)
COST = 0.05
"""Of a wrong action in the costly chains."""

_SHORT, _LONG = (5, 30), (5, 50)
_SHOWN: dict[str, tuple[DelayedChain, dict[str, Any]]] = {
    "short": (CHAIN, {"length": _SHORT}),
    "long": (CHAIN, {"length": _LONG}),
    "short_noisy": (CHAIN, {"length": _SHORT, "noisy": True}),
    "long_noisy": (CHAIN, {"length": _LONG, "noisy": True}),
    "state_distractor": (DISTRACTED_CHAIN, {"length": _SHORT}),
}
_CHAINS = {
    **_SHOWN,
    "short_costly": (CHAIN, {"length": _SHORT, "cost": COST}),
    "long_costly": (CHAIN, {"length": _LONG, "cost": COST}),
    "short_narrow": (CHAIN, {"length": _SHORT, "narrow": True}),
    **{f"aliased_{name}": (replace(chain, aliased=True), kind) for name, (chain, kind) in _SHOWN.items()},
}
CHAIN_NAMES = tuple(_CHAINS)


def make_chain(name: str, split: Split = "any") -> tuple[DelayedChain, ChainSpec]:
    """The environment and the distribution of chains of a name in `CHAIN_NAMES`.

    Raises:
        UserError: the name or the split is unknown.
    """
    if name not in _CHAINS:
        raise UserError(f"chain: {name!r} is unknown; choose from {', '.join(CHAIN_NAMES)}")
    environment, kind = _CHAINS[name]
    return environment, chain_spec(environment, **kind, split=split)
