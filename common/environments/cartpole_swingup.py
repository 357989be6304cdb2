"""A pole on a cart that hangs down and is to be swung up and held: a task with four state variables and one action.

The dynamics of a cart and a uniform rigid pole without friction (Barto, Sutton & Anderson 1983), integrated by
semi-implicit Euler steps. The reward of a step is (cos(angle) - 1) / 2 minus a little for being off centre; the cart is
stopped at the ends of the track, and an episode is cut after 200 steps.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.mechanics import cart_and_pole
from metaobj.common.environments.protocol import Box
from metaobj.common.environments.splits import Split
from metaobj.common.environments.varied import draw_factors, factor_spec
from metaobj.common.types import PRNGKey, PyTree

SWINGUP_NAMES = ("control/cartpole_swingup", "control/cartpole_swingup/varied")
_TIME_STEP = 0.04
_GRAVITY = 9.8
_TRACK = 2.4
_FORCE = 15.0


@struct.dataclass
class SwingUpParams:
    """The physics of a lifetime."""

    cart: jax.Array  # [] mass
    pole: jax.Array  # [] mass
    length: jax.Array  # [] half of the pole's


@struct.dataclass
class SwingUpState:
    """An episode in progress."""

    cart: jax.Array  # [2] position and velocity
    pole: jax.Array  # [2] angle, 0 upright, and angular velocity
    time: jax.Array  # [] int32


def make_swingup(name: str, split: Split) -> tuple["CartPoleSwingUp", PyTree]:
    """The environment and its distribution; "/varied" changes masses and length."""
    return CartPoleSwingUp(), factor_spec(name.endswith("/varied"), split)


@dataclass(frozen=True)
class CartPoleSwingUp:
    """Observes the cart's position and velocity, cosine and sine of the angle, and angular velocity, [5]."""

    @property
    def observation_space(self) -> Box:
        """See the class."""
        return Box((5,))

    @property
    def action_space(self) -> Box:
        """The force on the cart."""
        return Box((1,), -1.0, 1.0)

    @property
    def time_limit(self) -> int:
        """Steps per episode."""
        return 200

    def sample_params(self, key: PRNGKey, spec: PyTree) -> SwingUpParams:
        """Masses 1 and 0.1 and half-length 0.5, varied as `spec` says."""
        factors = draw_factors(key, spec, 3)
        return SwingUpParams(cart=factors[0], pole=0.1 * factors[1], length=0.5 * factors[2])

    def reset(self, key: PRNGKey, params: SwingUpParams) -> tuple[jax.Array, SwingUpState]:
        """Near the middle, the pole hanging."""
        small = jax.random.uniform(key, (4,), minval=-0.1, maxval=0.1)
        state = SwingUpState(small[:2], jnp.stack([jnp.pi + small[2], small[3]]), jnp.int32(0))
        return self._observe(state), state

    def step(
        self, key: PRNGKey, state: SwingUpState, action: jax.Array, params: SwingUpParams
    ) -> tuple[jax.Array, SwingUpState, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """1/25 of a second; `truncated` at the time limit, never terminated."""
        force = _FORCE * jnp.clip(action[0], -1.0, 1.0)
        (x, v), (angle, spin) = state.cart, state.pole
        sine, cosine = jnp.sin(angle), jnp.cos(angle)
        total = params.cart + params.pole
        pushed = (force + params.pole * params.length * spin**2 * sine) / total
        turning = (_GRAVITY * sine - cosine * pushed) / (params.length * (4 / 3 - params.pole * cosine**2 / total))
        pulled = pushed - params.pole * params.length * turning * cosine / total
        v = v + _TIME_STEP * pulled
        x = x + _TIME_STEP * v
        v = jnp.where(jnp.abs(x) > _TRACK, 0.0, v)
        x = jnp.clip(x, -_TRACK, _TRACK)
        spin = jnp.clip(spin + _TIME_STEP * turning, -20.0, 20.0)
        angle = angle + _TIME_STEP * spin
        state = SwingUpState(jnp.stack([x, v]), jnp.stack([angle, spin]), state.time + 1)
        reward = (jnp.cos(angle) - 1) / 2 - 0.05 * x**2
        return self._observe(state), state, reward, jnp.bool_(False), state.time >= self.time_limit, {}

    def render(self, state: SwingUpState, params: SwingUpParams) -> np.ndarray:
        """The cart on its track, and the pole."""
        return cart_and_pole(float(state.cart[0]), float(state.pole[0]), 2 * float(params.length), _TRACK)

    def _observe(self, state: SwingUpState) -> jax.Array:
        angle, spin = state.pole
        return jnp.stack([*state.cart, jnp.cos(angle), jnp.sin(angle), spin])
