"""A pendulum that is pushed left, not at all or right: two small tasks for agents with discrete actions.

`control/balance/varied` starts near the top and pays 1 for every step until the pendulum has fallen;
`control/swing/varied` hangs at first and costs 1 for every step until its tip is high enough. Physics are drawn for
each lifetime, and so are what the agent sees of the state, a linear map of it to four numbers, and which action pushes
where: nothing can be known before it is tried. An episode is cut after 200 steps.

The angle t from hanging obeys t'' = -g sin t - d t' + u a + noise, integrated by semi-implicit Euler steps.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.drawing import AGENT, BANNER, INK, LINE, canvas, caption
from metaobj.common.environments.protocol import Box, Discrete
from metaobj.common.environments.splits import Split
from metaobj.common.environments.varied import draw_factors, factor_spec
from metaobj.common.types import PRNGKey

TORQUE_NAMES = ("control/balance/varied", "control/swing/varied")
SEEN = 4
"""Numbers that the agent sees."""
_TIME_STEP = 0.05


@struct.dataclass
class TorqueSpec:
    """One of the two tasks."""

    factors: np.ndarray  # [2] of `varied.factor_spec`
    start: np.ndarray  # [] the angle near which episodes start
    spread: np.ndarray  # [] how near
    lowest: np.ndarray  # [] height of the tip below which an episode ends
    highest: np.ndarray  # [] and above which it does, from -1 to 1
    reward: np.ndarray  # [] of every step
    torque: np.ndarray  # [] in units of gravity


@struct.dataclass
class TorqueParams:
    """The pendulum of a lifetime."""

    gravity: jax.Array  # []
    damping: jax.Array  # []
    torque: jax.Array  # []
    noise: jax.Array  # [] standard deviation of a step's random acceleration
    start: jax.Array  # []
    spread: jax.Array  # []
    lowest: jax.Array  # []
    highest: jax.Array  # []
    reward: jax.Array  # []
    view: jax.Array  # [SEEN, 3] what is seen of (sine, cosine, angular velocity)
    pushes: jax.Array  # [3] -1, 0 and 1 in the order of the actions


@struct.dataclass
class TorqueState:
    """An episode in progress."""

    angle: jax.Array  # []
    spin: jax.Array  # []
    time: jax.Array  # [] int32


def make_torque(name: str, split: Split) -> tuple["TorquePendulum", TorqueSpec]:
    """The environment and the distribution of a name in `TORQUE_NAMES`."""
    balance = name == TORQUE_NAMES[0]
    numbers = {
        "start": np.pi if balance else 0.0,
        "spread": 0.05 if balance else 0.3,
        "lowest": float(np.cos(0.3)) if balance else -2.0,
        "highest": 2.0 if balance else 0.0,
        "reward": 1.0 if balance else -1.0,
        "torque": 0.6,
    }
    return TorquePendulum(), TorqueSpec(
        factor_spec(True, split), **{key: np.array(value, np.float32) for key, value in numbers.items()}
    )


@dataclass(frozen=True)
class TorquePendulum:
    """See the module."""

    @property
    def observation_space(self) -> Box:
        """Four linear combinations of sine, cosine and angular velocity."""
        return Box((SEEN,))

    @property
    def action_space(self) -> Discrete:
        """Three pushes."""
        return Discrete(3)

    @property
    def time_limit(self) -> int:
        """Steps per episode."""
        return 200

    def sample_params(self, key: PRNGKey, spec: TorqueSpec) -> TorqueParams:
        """Draw a pendulum: gravity 9, damping 0.1, the torque of the task and noise 1, varied as `spec` says."""
        factor_key, view_key, push_key = jax.random.split(key, 3)
        gravity, damping, torque, noise = draw_factors(factor_key, jnp.asarray(spec.factors), 4)
        return TorqueParams(
            gravity=9.0 * gravity,
            damping=0.1 * damping,
            torque=9.0 * torque * gravity * jnp.asarray(spec.torque),
            noise=noise,
            start=jnp.asarray(spec.start),
            spread=jnp.asarray(spec.spread),
            lowest=jnp.asarray(spec.lowest),
            highest=jnp.asarray(spec.highest),
            reward=jnp.asarray(spec.reward),
            view=jax.random.normal(view_key, (SEEN, 3)),
            pushes=jax.random.permutation(push_key, jnp.array([-1.0, 0.0, 1.0])),
        )

    def reset(self, key: PRNGKey, params: TorqueParams) -> tuple[jax.Array, TorqueState]:
        """Near where the task starts."""
        angle, spin = params.spread * jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
        state = TorqueState(params.start + angle, spin, jnp.zeros((), jnp.int32))
        return self._observe(state, params), state

    def step(
        self, key: PRNGKey, state: TorqueState, action: jax.Array, params: TorqueParams
    ) -> tuple[jax.Array, TorqueState, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """1/20 of a second; `terminated` where the task ends, else `truncated` at the time limit."""
        push = params.torque * params.pushes[action] + params.noise * jax.random.normal(key)
        turning = push - params.gravity * jnp.sin(state.angle) - params.damping * state.spin
        spin = jnp.clip(state.spin + _TIME_STEP * turning, -15.0, 15.0)
        state = TorqueState(state.angle + _TIME_STEP * spin, spin, state.time + 1)
        height = -jnp.cos(state.angle)
        terminated = (height < params.lowest) | (height > params.highest)
        truncated = (state.time >= self.time_limit) & ~terminated
        return self._observe(state, params), state, params.reward, terminated, truncated, {}

    def render(self, state: TorqueState, params: TorqueParams) -> np.ndarray:
        """The rod, the lines between which its tip may be, and the physics that were drawn."""
        side, reach = 200, 80
        image, draw = canvas(side, side)
        middle = (side / 2, BANNER + side / 2)
        for height in (float(params.lowest), float(params.highest)):
            if abs(height) <= 1:
                y = middle[1] - reach * height
                draw.line((0, y, side, y), fill=LINE, width=2)
        tip = middle[0] + reach * float(np.sin(state.angle)), middle[1] + reach * float(np.cos(state.angle))
        draw.line((*middle, *tip), fill=INK, width=6)
        draw.ellipse((tip[0] - 8, tip[1] - 8, tip[0] + 8, tip[1] + 8), fill=AGENT)
        pushes = " ".join(f"{push:+.0f}" for push in np.asarray(params.pushes))
        caption(draw, f"g {float(params.gravity):.1f}, torque {float(params.torque):.1f}, {pushes}")
        return np.asarray(image)

    def _observe(self, state: TorqueState, params: TorqueParams) -> jax.Array:
        # Angles of the order of the balance's limit are to be seen as well as the swing's.
        seen = jnp.stack([jnp.sin(state.angle), jnp.cos(state.angle), 0.3 * state.spin])
        return params.view @ seen
