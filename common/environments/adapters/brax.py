"""Brax's locomotion tasks behind this project's protocol.

Brax is an optional extra (`brax`). Its tasks end by themselves where the body falls; time
limits are not Brax's own but its training wrappers', so they are kept here, and told apart from the ends.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.adapters.extras import import_extra
from metaobj.common.environments.drawing import PLANES
from metaobj.common.environments.kept import kept
from metaobj.common.environments.mechanics import Scene
from metaobj.common.environments.protocol import Box
from metaobj.common.environments.splits import Split
from metaobj.common.environments.varied import draw_factors, factor_spec
from metaobj.common.types import PRNGKey, PyTree

TASKS = (
    "ant",
    "halfcheetah",
    "hopper",
    "humanoid",
    "humanoidstandup",
    "inverted_pendulum",
    "inverted_double_pendulum",
    "pusher",
    "reacher",
    "walker2d",
)
"""All that can be made: Brax's swimmer asks NumPy for an argument that it no longer takes."""
BACKENDS = ("spring", "generalized", "positional", "mjx")
BRAX_NAMES = tuple(
    f"brax/{task}{suffix}" for task in TASKS for suffix in ("", *(f"/{backend}" for backend in BACKENDS), "/varied")
)
TIME_LIMITS = {"reacher": 50, "pusher": 100}
"""Steps per episode where they are not 1000; those of the MuJoCo tasks that Brax rebuilds."""

FACTORS = {"ant": "gravity actuator", "hopper": "gravity actuator", "pusher": "actuator", "reacher": "mass actuator"}
"""What varies where not all three do: the spring backend gives ants, hoppers and pushers unit masses whatever their own
are, and gravity is at right angles to a reacher's plane and holds a pusher's object to its table."""


@struct.dataclass
class BraxParams:
    """What may differ between lifetimes: factors on the task's own constants."""

    gravity: jax.Array  # []
    mass: jax.Array  # [] of all bodies, their inertia included
    actuator: jax.Array  # [] strength


@struct.dataclass
class BraxState:
    """An episode in progress."""

    pipeline: PyTree
    time: jax.Array  # [] int32


def make_brax(name: str, split: Split) -> tuple["BraxEnvironment", PyTree]:
    """The environment called "brax/TASK", "brax/TASK/BACKEND" or "brax/TASK/varied", and its distribution.

    What varies is gravity, masses and actuator strength, as far as the task feels them. The backend is spring, the
    fastest, unless told.

    Raises:
        UserError: Brax is not installed.
    """
    import_extra(name, "brax.envs")
    _, task, *rest = name.split("/")
    varied = rest == ["varied"]
    backend = rest[0] if rest and not varied else "spring"
    names = FACTORS.get(task, "gravity mass actuator").split() if varied else ()
    return BraxEnvironment(task, backend, tuple(names)), factor_spec(varied, split)


@dataclass(frozen=True)
class BraxEnvironment:
    """One of Brax's tasks on one of its backends."""

    task: str
    backend: str = "spring"
    varied: tuple[str, ...] = ()
    """Names in `BraxParams` of what differs between lifetimes."""

    @property
    def observation_space(self) -> Box:
        """A vector without bounds."""
        return Box((_make(self.task, self.backend).observation_size,))

    @property
    def action_space(self) -> Box:
        """[-1, 1] for each actuator."""
        return Box((_make(self.task, self.backend).action_size,), -1.0, 1.0)

    @property
    def time_limit(self) -> int:
        """Steps of the longest episode."""
        return TIME_LIMITS.get(self.task, 1000)

    def sample_params(self, key: PRNGKey, spec: PyTree) -> BraxParams:
        """Factors on gravity, masses and actuators, drawn as `spec` says."""
        one = jnp.ones(())
        drawn = dict(zip(self.varied, draw_factors(key, spec, len(self.varied)), strict=True))
        return BraxParams(**{"gravity": one, "mass": one, "actuator": one, **drawn})

    def reset(self, key: PRNGKey, params: BraxParams) -> tuple[jax.Array, BraxState]:
        """Start an episode."""
        state = self._with(params).reset(key)
        return state.obs, BraxState(state.pipeline_state, jnp.int32(0))

    def step(
        self, key: PRNGKey, state: BraxState, action: jax.Array, params: BraxParams
    ) -> tuple[jax.Array, BraxState, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step. `truncated` at the time limit, unless the world ended in that step."""
        environment = self._with(params)
        before = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), _example(self.task, self.backend))
        after = environment.step(before.replace(pipeline_state=state.pipeline), action)
        terminated = after.done > 0.5
        time = state.time + 1
        truncated = (time >= self.time_limit) & ~terminated
        pipeline = jax.tree.map(lambda new, old: new.astype(old.dtype), after.pipeline_state, state.pipeline)
        return after.obs, BraxState(pipeline, time), after.reward, terminated, truncated, {}

    def render(self, state: BraxState, params: BraxParams) -> np.ndarray:
        """The body's capsules and balls from the side, on the ground; a reacher's and a pusher's from above."""
        model = _make(self.task, self.backend).sys.mj_model
        places, turns = np.asarray(state.pipeline.x.pos), np.asarray(state.pipeline.x.rot)
        flat = self.task in ("reacher", "pusher")
        up = 1 if flat else 2
        scene = Scene(*((1.0, (0.0, 0.0)) if flat else (4.0, (float(places[0, 0]), 0.8))))
        if not flat:
            scene.level(0.0)
        for geom in range(model.ngeom):
            link = model.geom_bodyid[geom] - 1
            if link < 0 or model.geom_type[geom] not in (_BALL, _CAPSULE):
                continue  # the world's own: its ground and walls
            size = model.geom_size[geom]
            along = _turned(model.geom_quat[geom], np.array([0.0, 0.0, size[1]])) * (model.geom_type[geom] == _CAPSULE)
            ends = [places[link] + _turned(turns[link], model.geom_pos[geom] + sign * along) for sign in (-1, 1)]
            points = [(float(end[0]), float(end[up])) for end in ends]
            colour = PLANES[link % len(PLANES)]
            scene.draw.line([scene.at(point) for point in points], fill=colour, width=round(2 * size[0] * scene.scale))
            for point in points:
                scene.disc(point, float(size[0]) * scene.scale, colour)
        return scene.array()

    def _with(self, params: BraxParams) -> Any:
        """The task with its physics changed; a copy, since Brax keeps its system in the environment."""
        environment = _make(self.task, self.backend)
        system = environment.sys
        inertia = system.link.inertia
        system = system.replace(
            gravity=system.gravity * params.gravity,
            opt=system.opt.replace(gravity=system.opt.gravity * params.gravity),
            link=system.link.replace(
                inertia=inertia.replace(mass=inertia.mass * params.mass, i=inertia.i * params.mass)
            ),
            actuator=system.actuator.replace(gain=system.actuator.gain * params.actuator),
        )
        changed = object.__new__(type(environment))
        changed.__dict__.update(environment.__dict__)
        changed.sys = system
        return changed


_BALL, _CAPSULE = 2, 3
"""MuJoCo's numbers of what bodies are made of."""


def _turned(quaternion: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """A vector turned by a unit quaternion (w, x, y, z)."""
    w, axis = quaternion[0], quaternion[1:]
    across = 2 * np.cross(axis, vector)
    return vector + w * across + np.cross(axis, across)


@kept
def _make(task: str, backend: str) -> Any:
    from brax import envs

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return envs.get_environment(task, backend=backend)


@kept
def _example(task: str, backend: str) -> Any:
    return jax.eval_shape(_make(task, backend).reset, jax.random.key(0))
