"""A point mass in the plane that is to be brought to rest at the origin: the smallest task with two action dimensions.

Force along each axis, linear drag. The reward of a step is minus the distance to the origin and a tenth of the speed;
an episode starts anywhere in the unit square and is cut after 100 steps.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from common.environments.grid_specs import Split
from common.environments.protocol import Box
from common.types import PRNGKey, PyTree

POINT_MASS_NAMES = ("control/point_mass", "control/point_mass/varied")
_FACTORS = {"training": (1.0, 1.3), "held_out": (1.3, 1.6), "any": (1.0, 1.6)}
_TIME_STEP = 0.1


@struct.dataclass
class PointMassParams:
    """The physics of a lifetime."""

    mass: jax.Array  # []
    drag: jax.Array  # [] per second and unit of mass


@struct.dataclass
class PointMassState:
    """An episode in progress."""

    position: jax.Array  # [2]
    velocity: jax.Array  # [2]
    time: jax.Array  # [] int32


def make_point_mass(name: str, split: Split) -> tuple["PointMass", PyTree]:
    """The environment and its distribution: "/varied" multiplies or divides mass and drag by factors in [1, 1.3] in
    training, in [1.3, 1.6] held out.
    """
    spec = np.log(_FACTORS[split]) if name.endswith("/varied") else np.zeros(2)
    return PointMass(), spec.astype(np.float32)


@dataclass(frozen=True)
class PointMass:
    """Observes position and velocity, [4]; acts by a force in [-1, 1] along each axis."""

    @property
    def observation_space(self) -> Box:
        """Position and velocity."""
        return Box((4,))

    @property
    def action_space(self) -> Box:
        """A force along each axis."""
        return Box((2,), -1.0, 1.0)

    @property
    def time_limit(self) -> int:
        """Steps per episode."""
        return 100

    def sample_params(self, key: PRNGKey, spec: PyTree) -> PointMassParams:
        """Mass 1 and drag 0.5, each times or over a factor whose logarithm lies within `spec`."""
        factor_key, sign_key = jax.random.split(key)
        low, high = jnp.asarray(spec)
        size = jax.random.uniform(factor_key, (2,), minval=low, maxval=high)
        factors = jnp.exp(jnp.where(jax.random.bernoulli(sign_key, shape=(2,)), size, -size))
        return PointMassParams(mass=factors[0], drag=0.5 * factors[1])

    def reset(self, key: PRNGKey, params: PointMassParams) -> tuple[jax.Array, PointMassState]:
        """At rest, anywhere in [-1, 1] x [-1, 1]."""
        position = jax.random.uniform(key, (2,), minval=-1.0, maxval=1.0)
        state = PointMassState(position, jnp.zeros(2), jnp.int32(0))
        return self._observe(state), state

    def step(
        self, key: PRNGKey, state: PointMassState, action: jax.Array, params: PointMassParams
    ) -> tuple[jax.Array, PointMassState, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One tenth of a second; `truncated` at the time limit, never terminated."""
        force = jnp.clip(action, -1.0, 1.0)
        velocity = state.velocity + _TIME_STEP * (force / params.mass - params.drag * state.velocity)
        position = state.position + _TIME_STEP * velocity
        state = PointMassState(position, velocity, state.time + 1)
        reward = -jnp.linalg.norm(position) - 0.1 * jnp.linalg.norm(velocity)
        return self._observe(state), state, reward, jnp.bool_(False), state.time >= self.time_limit, {}

    def _observe(self, state: PointMassState) -> jax.Array:
        return jnp.concatenate([state.position, state.velocity])
