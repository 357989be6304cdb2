"""The optimiser of agents that learn by Disco103: Adam, each entry of whose step is then clipped."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from metaobj.common.types import PyTree

_B1, _B2, _EPSILON, _LIMIT = 0.9, 0.999, 1e-8, 1.0


class AdamState(NamedTuple):
    """Running moments of the gradient."""

    steps: jax.Array  # [] int32
    first: PyTree
    second: PyTree


def clipped_adam() -> optax.GradientTransformation:
    """Without the learning rate. The second moments, which steps are divided by, are constant to gradients."""

    def init(params: Any) -> AdamState:
        zeros = jax.tree.map(jnp.zeros_like, params)
        return AdamState(jnp.int32(0), zeros, zeros)

    def update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, AdamState]:
        steps = state.steps + 1
        first = jax.tree.map(lambda m, g: _B1 * m + (1.0 - _B1) * g, state.first, gradient)
        second = jax.tree.map(
            lambda v, g: _B2 * v + (1.0 - _B2) * jax.lax.stop_gradient(g) ** 2, state.second, gradient
        )

        def step(m: jax.Array, v: jax.Array) -> jax.Array:
            m, v = m / (1.0 - _B1**steps), v / (1.0 - _B2**steps)
            return jnp.clip(m / (jnp.sqrt(v) + _EPSILON), -_LIMIT, _LIMIT)

        return jax.tree.map(step, first, second), AdamState(steps, first, second)

    return optax.GradientTransformation(init, update)
