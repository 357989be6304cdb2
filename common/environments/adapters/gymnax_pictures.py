"""What gymnax's classic control and Catch look like; of all else the observation is drawn."""

from collections.abc import Callable
from typing import Any

import numpy as np

from metaobj.common.environments.drawing import AGENT, ORANGE
from metaobj.common.environments.mechanics import cart_and_pole, cells, hanging, hill


def _cartpole(state: Any, params: Any) -> np.ndarray:
    length = 2 * float(params.length)  # gymnax's is the half
    return cart_and_pole(float(state.x), float(state.theta), length, float(params.x_threshold))


def _acrobot(state: Any, params: Any) -> np.ndarray:
    first = float(state.joint_angle1)
    lengths = (float(params.link_length_1), float(params.link_length_2))
    return hanging((first, first + float(state.joint_angle2)), lengths, goal=1.0)


def _pendulum(state: Any, params: Any) -> np.ndarray:
    return hanging((float(state.theta) + np.pi,), (float(params.l),))


def _mountain_car(state: Any, params: Any) -> np.ndarray:
    low, high, goal = (float(getattr(params, f"{name}_position")) for name in ("min", "max", "goal"))
    return hill(float(state.position), low, high, goal)


def _catch(state: Any, params: Any) -> np.ndarray:
    ball, paddle = (int(state.ball_y), int(state.ball_x)), (int(state.paddle_y), int(state.paddle_x))
    return cells(10, 5, {paddle: AGENT, ball: ORANGE})


PICTURES: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "CartPole-v1": _cartpole,
    "Acrobot-v1": _acrobot,
    "Pendulum-v1": _pendulum,
    "MountainCar-v0": _mountain_car,
    "MountainCarContinuous-v0": _mountain_car,
    "Catch-bsuite": _catch,
}
"""By gymnax's name: (state, params) to an uint8 image."""
