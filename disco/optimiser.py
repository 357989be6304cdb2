"""The optimiser of agents that learn by Disco103: Adam, each entry of whose step is then clipped."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

_B1, _B2, _EPSILON, _LIMIT = 0.9, 0.999, 1e-8, 1.0


def clipped_adam() -> optax.GradientTransformation:
    """Without the learning rate. Optax's Adam and clip, but that second moments, which steps are divided by, are
    constant to gradients.
    """
    adam = optax.scale_by_adam(_B1, _B2, _EPSILON)

    def update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, optax.ScaleByAdamState]:
        count = optax.safe_increment(state.count)
        mu = optax.tree.update_moment(gradient, state.mu, _B1, 1)
        nu = optax.tree.update_moment_per_elem_norm(jax.lax.stop_gradient(gradient), state.nu, _B2, 2)
        first, second = optax.tree.bias_correction(mu, _B1, count), optax.tree.bias_correction(nu, _B2, count)
        steps = jax.tree.map(lambda m, v: m / (jnp.sqrt(v) + _EPSILON), first, second)
        return optax.tree.clip(steps, -_LIMIT, _LIMIT), optax.ScaleByAdamState(count=count, mu=mu, nu=nu)

    return optax.GradientTransformation(adam.init, update)
