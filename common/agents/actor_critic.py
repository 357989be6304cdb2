"""A deterministic policy and a critic for continuous actions."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp


class Torso(nn.Module):
    """Dense layers with ReLU, each normalised before it where asked."""

    hidden: Sequence[int]
    layer_norm: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for width in self.hidden:
            x = nn.Dense(width, param_dtype=x.dtype)(x)
            if self.layer_norm:
                x = nn.LayerNorm(param_dtype=x.dtype)(x)
            x = nn.relu(x)
        return x


class Actor(nn.Module):
    """Observations [..., D] to pre-activations [..., A]; their tanh is the action."""

    hidden: Sequence[int]
    layer_norm: bool
    action_size: int

    @nn.compact
    def __call__(self, observation: jax.Array) -> jax.Array:
        x = Torso(self.hidden, self.layer_norm)(observation.astype(jnp.result_type(float)))
        # Small first outputs: a new policy acts in the middle of the range, where tanh has a slope.
        small = nn.initializers.variance_scaling(1e-2, "fan_in", "truncated_normal")
        return nn.Dense(self.action_size, kernel_init=small, param_dtype=x.dtype)(x)


class Critic(nn.Module):
    """Observations [..., D] and actions [..., A] to Q [...]."""

    hidden: Sequence[int]
    layer_norm: bool

    @nn.compact
    def __call__(self, observation: jax.Array, action: jax.Array) -> jax.Array:
        dtype = jnp.result_type(float)
        x = Torso(self.hidden, self.layer_norm)(jnp.concatenate([observation.astype(dtype), action], -1))
        return nn.Dense(1, param_dtype=dtype)(x)[..., 0]
