"""Action values along a rollout, and the running moments that what is read of them is divided by."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.agents.agent import Heads, log_probability
from metaobj.disco.scalars import expected

LAMBDA, DECAY = 0.95, 0.99


@struct.dataclass
class Moments:
    """Running first and second moments of what comes in blocks."""

    first: jax.Array  # []
    second: jax.Array  # []
    unseen: jax.Array  # [] what a fresh average still weighs: DECAY to the power of the number of blocks

    @classmethod
    def fresh(cls) -> "Moments":
        """Before the first block."""
        return cls(jnp.zeros(()), jnp.zeros(()), jnp.ones(()))

    def with_block(self, x: jax.Array) -> "Moments":
        """After one more, of any shape."""
        block = (jnp.mean(x), jnp.mean(x**2), jnp.zeros(()))
        parts = (self.first, self.second, self.unseen)
        return Moments(*(DECAY * old + (1.0 - DECAY) * new for old, new in zip(parts, block, strict=True)))

    @property
    def mean(self) -> jax.Array:
        return self.first / (1.0 - self.unseen)

    @property
    def deviation(self) -> jax.Array:
        variance = jnp.maximum(self.second / (1.0 - self.unseen) - self.mean**2, 0.0)
        return jnp.sqrt(variance + 1e-12) + 1e-6

    def normalise(self, x: jax.Array) -> jax.Array:
        """(x - mean) / deviation."""
        return (x - self.mean) / self.deviation


class Values(NamedTuple):
    """What action values say of a rollout of T transitions, T + 1 time steps; constant."""

    online: jax.Array  # [T + 1, B] v = sum_a pi q
    target: jax.Array  # [T + 1, B] likewise of the target's action values, under the same policy
    target_q: jax.Array  # [T + 1, B, A]
    relative: jax.Array  # [T + 1, B, A] target_q - target
    returns: jax.Array  # [T, B] Retrace's
    advantages: jax.Array  # [T, B] returns - target
    errors: jax.Array  # [T, B] returns - q(s, a)


def value_outs(heads: Heads, target: Heads, behaviour: jax.Array, step: "Steps", discount: float) -> Values:
    """Retrace (Munos et al. 2016) over the target's values.

    G_t = r_t + g_t (v_{t+1} + c_{t+1} (G_{t+1} - q(s_{t+1}, a_{t+1}))), c = lambda min(1, pi / mu), where the last step
    has v alone.

    Args:
        heads: "policy" and "q" at T + 1 time steps.
        target: likewise of the target network.
        behaviour: log mu [T, B, A] of the policy that acted.
        step: what happened.
        discount: gamma.
    """
    policy, q, target_q = (jax.lax.stop_gradient(x) for x in (heads["policy"], heads["q"], target["q"]))
    q, target_q = expected(q), expected(target_q)  # [T + 1, B, A]
    pi = jax.nn.softmax(policy)
    online, of_target = jnp.sum(pi * q, -1), jnp.sum(pi * target_q, -1)
    chosen = step.action[..., None]  # [T, B, 1]
    ratio = jnp.exp(log_probability(policy[:-1], step.action) - log_probability(behaviour, step.action))
    c = LAMBDA * jnp.minimum(1.0, ratio)
    continues = discount * (1.0 - step.over)
    taken = jnp.take_along_axis(target_q[:-1], chosen, -1)[..., 0]
    chex.assert_equal_shape([c, continues, taken, step.reward])

    def back(following: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        reward, discount, value, c, q = inputs  # c and q of the next step
        result = reward + discount * (value + c * (following - q))
        return result, result

    # No step follows the last one: there c is 0.
    c, taken = (jnp.concatenate([x[1:], jnp.zeros_like(x[:1])]) for x in (c, taken))
    inputs = (step.reward, continues, of_target[1:], c, taken)
    _, returns = jax.lax.scan(back, jnp.zeros_like(step.reward[0]), inputs, reverse=True)
    errors = returns - jnp.take_along_axis(q[:-1], chosen, -1)[..., 0]
    relative = target_q - of_target[..., None]
    return Values(online, of_target, target_q, relative, returns, returns - of_target[:-1], errors)


class Steps(NamedTuple):
    """T transitions of B environments."""

    action: jax.Array  # [T, B] int32
    reward: jax.Array  # [T, B]
    over: jax.Array  # [T, B] 1 where the episode ended with this transition, for whatever reason
