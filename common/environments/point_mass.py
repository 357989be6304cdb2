"""A point mass in the plane that is to be brought to rest at the origin: the smallest task with two action dimensions.

Force along each axis, linear drag, walls at 2 that take the speed. The reward of a step is minus the
distance to the origin and a tenth of the speed; an episode starts within 1 of the origin along each axis and is cut
after 100 steps.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.mechanics import plane
from metaobj.common.environments.protocol import Box
from metaobj.common.environments.splits import Split
from metaobj.common.environments.varied import draw_factors, factor_spec
from metaobj.common.types import PRNGKey, PyTree

POINT_MASS_NAMES = ("control/point_mass", "control/point_mass/varied")
_TIME_STEP = 0.1
_WALL = 2.0


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
    """The environment and its distribution; "/varied" changes mass and drag."""
    return PointMass(), factor_spec(name.endswith("/varied"), split)


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
        """Mass 1 and drag 0.5, varied as `spec` says."""
        factors = draw_factors(key, spec, 2)
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
        velocity = jnp.where(jnp.abs(position) > _WALL, 0.0, velocity)
        position = jnp.clip(position, -_WALL, _WALL)
        state = PointMassState(position, velocity, state.time + 1)
        reward = -jnp.linalg.norm(position) - 0.1 * jnp.linalg.norm(velocity)
        return self._observe(state), state, reward, jnp.bool_(False), state.time >= self.time_limit, {}

    def render(self, state: PointMassState, params: PointMassParams) -> np.ndarray:
        """The mass between the walls, where it goes, and where it is to rest."""
        return plane(np.asarray(state.position).tolist(), np.asarray(state.velocity).tolist(), _WALL)

    def _observe(self, state: PointMassState) -> jax.Array:
        return jnp.concatenate([state.position, state.velocity])
