"""Delayed chains: the first of many actions decides what is paid at the end (Oh et al. 2020, LPG).

Two actions. The first one of an episode earns +1 at its end if it is the right one and -1 if not; the others do
nothing. Which one is right is drawn once per lifetime: drawn per episode, nothing could tell before it is too late.
"""

from dataclasses import dataclass
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


@struct.dataclass
class ChainParams:
    """One chain."""

    length: jax.Array  # [] int32 steps per episode
    correct_action: jax.Array  # [] int32, 0 or 1
    noisy: jax.Array  # [] bool, +1 or -1 at random in the steps strictly between the first and the last


@struct.dataclass
class ChainSpec:
    """A distribution of chains: lengths are uniform. Lengths that are 0 modulo 4 are held out."""

    length: np.ndarray  # [2] int32 least and most
    noisy: np.ndarray  # [] bool
    split: np.ndarray  # [] int32: ANY, TRAINING or HELD_OUT of `splits`


@struct.dataclass
class ChainState:
    """An episode in progress."""

    time: jax.Array  # [] int32 steps taken
    first_correct: jax.Array  # [] bool, whether the first action was right


@dataclass(frozen=True)
class DelayedChain:
    """All chains of at most `max_length` steps.

    The observation is the number of steps taken. With `distractors` it is instead two bits, "this is the first step"
    and "this is the last step", followed by so many random bits, as float32; the sources do not say which two bits
    the paper's chain shows. None of the observations tells what the first action was.
    """

    max_length: int
    distractors: int = 0

    @property
    def observation_space(self) -> Space:
        """Steps taken (up to and including the length), or bits."""
        if self.distractors:
            return Box((2 + self.distractors,), 0.0, 1.0)
        return Discrete(self.max_length + 1)

    @property
    def action_space(self) -> Discrete:
        """Two actions."""
        return Discrete(2)

    def sample_params(self, key: PRNGKey, spec: ChainSpec) -> ChainParams:
        """Draw a chain: length and right action."""
        length_u, action_u = jax.random.uniform(key, (2,))
        lengths = jnp.arange(self.max_length + 1)
        low, high = jnp.asarray(spec.length)
        held_out = lengths % 4 == 0
        split = jnp.asarray(spec.split)
        fits = (split == ANY) | ((split == HELD_OUT) & held_out) | ((split == TRAINING) & ~held_out)
        # The length is that of the rank-th length that fits.
        order = jnp.cumsum(fits & (lengths >= low) & (lengths <= high))  # [max_length + 1]
        rank = jnp.minimum(jnp.floor(length_u * order[-1]), order[-1] - 1)
        return ChainParams(
            length=jnp.searchsorted(order, rank + 1).astype(jnp.int32),
            correct_action=(action_u < 0.5).astype(jnp.int32),
            noisy=jnp.asarray(spec.noisy),
        )

    def reset(self, key: PRNGKey, params: ChainParams) -> tuple[jax.Array, ChainState]:
        """Start an episode."""
        state = ChainState(jnp.zeros((), jnp.int32), jnp.zeros((), bool))
        return self._observe(jax.random.uniform(key, (self.distractors,)), state, params), state

    def step(self, key: PRNGKey, state: ChainState, action: jax.Array, params: ChainParams) -> Step:
        """One step; `terminated` with the payment after `params.length` steps, never truncated."""
        u = jax.random.uniform(key, (1 + self.distractors,))
        right = jnp.where(state.time == 0, action == params.correct_action, state.first_correct)
        between = params.noisy & (state.time > 0) & (state.time < params.length - 1)
        noise = jnp.where(between, jnp.where(u[0] < 0.5, 1.0, -1.0), 0.0)
        state = ChainState(state.time + 1, right)
        terminated = state.time >= params.length
        reward = jnp.where(terminated, jnp.where(right, 1.0, -1.0), noise)
        return self._observe(u[1:], state, params), state, reward, terminated, jnp.zeros_like(terminated), {}

    def reference_returns(self, params: ChainParams) -> tuple[np.ndarray, np.ndarray]:
        """0 and 1: the noise has mean zero."""
        number = params.length.shape[0]
        return np.zeros(number), np.ones(number)

    def render(self, state: ChainState, params: ChainParams) -> np.ndarray:
        """The steps, the current one blue, past ones grey, and the end in the colour of what will be paid."""
        length, time = int(params.length), int(state.time)
        columns, size = min(length + 1, 17), CELL * 3 // 4
        rows = -(-(length + 1) // columns)
        image, draw = canvas(max(columns * size + 8, 250), rows * size + 8)
        pays = GOOD if bool(state.first_correct) else BAD
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
            number = str(i) if i < length else "?" if time == 0 else "+1" if bool(state.first_correct) else "-1"
            ink = PAPER if i == time else INK
            draw.text((x + size / 2, y + size / 2), number, fill=ink, font=font(11), anchor="mm")
        noisy = ", noisy" if bool(params.noisy) else ""
        caption(draw, f"step {time} of {length}, right first action: {int(params.correct_action)}{noisy}")
        return np.asarray(image)

    def _observe(self, u: jax.Array, state: ChainState, params: ChainParams) -> jax.Array:
        """`u` [distractors] uniform in [0, 1)."""
        if not self.distractors:
            return state.time
        relevant = jnp.stack([state.time == 0, state.time == params.length - 1])
        return jnp.concatenate([relevant, u < 0.5]).astype(jnp.float32)


def chain_spec(
    environment: DelayedChain, length: int | tuple[int, int], noisy: bool = False, split: Split = "any"
) -> ChainSpec:
    """A distribution of chains for `environment`.

    Args:
        environment: the environment that holds them.
        length: steps per episode, a number or (low, high).
        noisy: random rewards between the first and the last step.
        split: "training" and "held_out" have no length in common.

    Raises:
        UserError: no length fits.
    """
    low, high = (length, length) if isinstance(length, int) else length
    if split not in SPLITS:
        raise UserError(f"split: {split!r} is unknown; choose from {', '.join(SPLITS)}")
    if not 1 <= low <= high <= environment.max_length:
        raise UserError(f"length: {length} is not a number or (low, high) within 1 to {environment.max_length}")
    if split != "any" and not any((n % 4 == 0) == (split == "held_out") for n in range(low, high + 1)):
        raise UserError(f"split: no length of {length} is {split}; held-out lengths are the multiples of 4")
    return ChainSpec(np.array([low, high], np.int32), np.array(noisy), np.array(SPLITS[split], np.int32))


CHAIN = DelayedChain(max_length=50)
"""Holds the four chains that are observed as a step index."""
DISTRACTED_CHAIN = DelayedChain(max_length=50, distractors=20)

_CHAINS: dict[str, tuple[DelayedChain, tuple[int, int], bool]] = {
    "short": (CHAIN, (5, 30), False),
    "long": (CHAIN, (5, 50), False),
    "short_noisy": (CHAIN, (5, 30), True),
    "long_noisy": (CHAIN, (5, 50), True),
    "state_distractor": (DISTRACTED_CHAIN, (5, 30), False),
}
CHAIN_NAMES = tuple(_CHAINS)


def make_chain(name: str, split: Split = "any") -> tuple[DelayedChain, ChainSpec]:
    """The environment and the distribution of chains of a name in `CHAIN_NAMES`.

    Raises:
        UserError: the name or the split is unknown.
    """
    if name not in _CHAINS:
        raise UserError(f"chain: {name!r} is unknown; choose from {', '.join(CHAIN_NAMES)}")
    environment, length, noisy = _CHAINS[name]
    return environment, chain_spec(environment, length, noisy, split)
