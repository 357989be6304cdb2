"""gymnax environments behind this project's protocol: nothing resets by itself, the end is told by its kind.

All five MinAtar games are there (Asterix, Breakout, Freeway, Seaquest, SpaceInvaders). Only MNISTBandit-bsuite is left
out: it downloads images when it is made.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gymnax
import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.adapters.arrays import bound, floats, strong
from metaobj.common.environments.adapters.gymnax_pictures import PICTURES
from metaobj.common.environments.drawing import render_array
from metaobj.common.environments.kept import kept
from metaobj.common.environments.measured import uniform_returns
from metaobj.common.environments.protocol import Box, Discrete, Space
from metaobj.common.environments.splits import Split
from metaobj.common.environments.varied import draw_factors, factor_spec
from metaobj.common.errors import UserError
from metaobj.common.types import PRNGKey, PyTree

GYMNAX_NAMES = tuple(name for name in gymnax.registered_envs if name != "MNISTBandit-bsuite")
_BINARY = tuple(name for name in GYMNAX_NAMES if name.endswith("-MinAtar"))
"""Games whose planes are zeros and ones, which gymnax hands out as float32."""


RETURNS = {
    "CartPole-v1": (22.2, 500.0),
    "Catch-bsuite": (-0.6, 1.0),
    "DeepSea-bsuite": (-0.28 / 256, 0.99),
    "UmbrellaChain-bsuite": (0.0, 1.0),
    "DiscountingChain-bsuite": (1.02, 1.1),
    "MemoryChain-bsuite": (0.0, 1.0),
}
"""(random, optimal). CartPole: the mean of 10^5 simulated episodes; 500 steps of reward 1, which a linear controller
reaches in all varied worlds too. Catch: the ball falls in one of five columns, whatever the paddle does. DeepSea 8x8:
one path in 256 finds the reward of 1; every move right costs 0.01 / 8, and half of a random path's moves go right.
Umbrella and memory: the one action that counts is right, 1, or wrong, -1; the umbrella's chain pays 0 on the way, in
the mean. Discounting: one of five chains pays 1.1, the others 1; gymnax makes it the one that pays at once."""

LONGEST = {"Catch-bsuite": 9, "DeepSea-bsuite": 8, "UmbrellaChain-bsuite": 10, "MemoryChain-bsuite": 6}
"""Steps of every episode of worlds that end long before gymnax's limit."""
ENDS_AT_LIMIT = ("DiscountingChain-bsuite",)
"""Where the limit is the world's own end, as bsuite has it, and gymnax calls it a truncation."""
BOUNDS = {"MemoryChain-bsuite": (-1.0, 1.0)}
"""Of observations that leave the space which gymnax declares."""

VARIED = {
    "Pendulum-v1": ("g", "m", "l"),
    "MountainCarContinuous-v0": ("power", "gravity"),
    "Reacher-misc": ("torque_scale",),
    "CartPole-v1": ("gravity", "masscart", "masspole", "length", "force_mag"),
}
"""Physical constants that may vary between lifetimes, each by a factor of its own."""
DERIVED: dict[str, dict[str, Callable[[Any], jax.Array]]] = {
    "CartPole-v1": {
        "total_mass": lambda params: params.masscart + params.masspole,
        "polemass_length": lambda params: params.masspole * params.length,
    }
}
"""Constants that gymnax computes of others once and for all: they have to follow what varies."""
VARIATIONS = tuple(f"{name}/varied" for name in VARIED)


NOT_IN_64_BITS = ("Freeway-MinAtar", "DiscountingChain-bsuite", "MetaMaze-misc", "GaussianBandit-misc")
"""gymnax mixes 32 and 64 bits there, which JAX does not let pass."""


def make_gymnax(name: str, split: Split) -> tuple["GymnaxEnvironment", PyTree]:
    """A gymnax environment and its distribution; with "/varied" behind its name its physics differ.

    Raises:
        UserError: it does not run with JAX as it is configured.
    """
    name, _, varied = name.partition("/")
    if name in NOT_IN_64_BITS and jax.config.values["jax_enable_x64"]:
        raise UserError(f"environment: {name!r} does not run with 64-bit types; unset JAX_ENABLE_X64")
    return GymnaxEnvironment(name, VARIED[name] if varied else ()), factor_spec(bool(varied), split)


@dataclass(frozen=True)
class GymnaxEnvironment:
    """A gymnax environment by name, with gymnax's default parameters but for those in `varied`.

    Continuous actions appear as a `Box`; what needs discrete ones refuses that. MinAtar's planes are observed as bool,
    a quarter of the memory.

    Raises:
        UserError: gymnax has no environment of this name.
    """

    name: str
    varied: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in GYMNAX_NAMES:
            raise UserError(f"gymnax environment: {self.name!r} is unknown; choose from {', '.join(GYMNAX_NAMES)}")

    @property
    def observation_space(self) -> Space:
        """As gymnax declares it, with the shape that is really observed."""
        environment, params = _make(self.name)
        with jax.ensure_compile_time_eval():
            space = environment.observation_space(params)
            if hasattr(space, "n"):
                return Discrete(int(space.n))
            shape = jax.eval_shape(environment.reset_env, jax.random.key(0), params)[0].shape
            low, high = BOUNDS.get(self.name, (space.low, space.high))
            return Box(tuple(shape), bound(low), bound(high))

    @property
    def action_space(self) -> Space:
        """As gymnax declares it."""
        environment, params = _make(self.name)
        with jax.ensure_compile_time_eval():  # bounds may be arrays, made anew in each call
            space = environment.action_space(params)
            if hasattr(space, "n"):
                return Discrete(int(space.n))
            return Box(tuple(space.shape), bound(space.low), bound(space.high))

    @property
    def time_limit(self) -> int:
        """Steps of the longest episode."""
        return LONGEST.get(self.name) or int(_make(self.name)[1].max_steps_in_episode)

    def sample_params(self, key: PRNGKey, spec: PyTree = (0.0, 0.0)) -> PyTree:
        """The default parameters as arrays, varied as `spec` says."""
        params = jax.tree.map(jnp.asarray, _make(self.name)[1])
        factors = draw_factors(key, spec, len(self.varied))
        params = params.replace(**{name: getattr(params, name) * factors[i] for i, name in enumerate(self.varied)})
        if not self.varied:
            return params
        return params.replace(**{name: of(params) for name, of in DERIVED.get(self.name, {}).items()})

    def reset(self, key: PRNGKey, params: PyTree) -> tuple[jax.Array, PyTree]:
        """Start an episode."""
        observation, state = _make(self.name)[0].reset_env(key, params)
        return self._narrow(observation), jax.tree.map(strong, state)

    def step(
        self, key: PRNGKey, state: PyTree, action: jax.Array, params: PyTree
    ) -> tuple[jax.Array, PyTree, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step. `truncated` at `params.max_steps_in_episode`, unless the world ended in that step."""
        environment = _make(self.name)[0]
        observation, new_state, reward, terminated, _ = environment.step_env(key, state, action, params)
        at_limit = environment.is_truncated(new_state, params)
        if self.name in ENDS_AT_LIMIT:
            terminated = terminated | at_limit
        truncated = at_limit & jnp.logical_not(terminated)
        # Some environments let a number's type drift in their first step, which a scan would not accept.
        new_state = jax.tree.map(lambda new, old: jnp.asarray(new, old.dtype), new_state, state)
        return (
            self._narrow(observation),
            new_state,
            floats(reward),
            jnp.asarray(terminated, bool),
            truncated,
            {},
        )

    def reference_returns(self, params: PyTree) -> tuple[np.ndarray, np.ndarray] | None:
        """Of the environments in `RETURNS`; where worlds vary, what uniform actions make in each is measured."""
        if self.name not in RETURNS:
            return None
        number = jax.tree.leaves(params)[0].shape[0]
        random, optimal = RETURNS[self.name]
        measured = uniform_returns(self, params) if self.varied else np.full(number, random)
        return measured.astype(np.float32), np.full(number, optimal, np.float32)

    def render(self, state: PyTree, params: PyTree) -> np.ndarray:
        """A picture of its own, or the observation of the state: planes, or bars."""
        if self.name in PICTURES:
            return PICTURES[self.name](state, params)
        return render_array(_make(self.name)[0].observe(jax.random.key(0), state, None, params))

    def _narrow(self, observation: jax.Array) -> jax.Array:
        return observation.astype(bool) if self.name in _BINARY else observation


@kept
def _make(name: str) -> tuple[Any, PyTree]:
    """(gymnax environment, default parameters)."""
    return gymnax.make(name)
