"""What an update rule is given of an agent's experience."""

from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp

from metaobj.common.types import Hyperparameters, PyTree, Rollout


class Batch(NamedTuple):
    """One rollout and all that is constant in an agent's update on it.

    Rewards, values, advantages and rewards to go are in the same unit: as paid or, where rewards are scaled, in that of
    the size of the lifetime's returns.
    """

    rollout: Rollout  # [T, B, ...]
    values: jax.Array  # [T, B] V(s_t) under the lifetime's own value function, before it learns from the rollout
    next_values: jax.Array  # [T, B] of the true successor, 0 after a termination
    advantages: jax.Array  # [T, B] under that value function
    advantage_size: jax.Array  # [] a running root mean square of the lifetime's advantages, this rollout's among them
    rewards_to_go: jax.Array  # [T, B] discounted, within the rollout; what is left where there is no value function
    hyperparameters: Hyperparameters  # scalars
    discount: jax.Array  # []
    progress: jax.Array  # [] n / N: updates done / updates in this lifetime
    log_length: jax.Array  # [] log N
    behaviour: jax.Array | None = None  # [T, B, A] log mu(.|s) of the policy that acted, where it is known
    memory: PyTree = ()  # what the rule remembers of earlier updates; alone here, not constant for its gradients

    @classmethod
    def of(cls, rollout: Rollout, **known: Any) -> Self:
        """A rollout [T, B] of which no more is known than is given: values and advantages are 0 and their size 1."""
        nothing = jnp.zeros_like(rollout.reward)
        zero, one = nothing.dtype.type(0), nothing.dtype.type(1)
        names = ("values", "next_values", "advantages", "rewards_to_go")
        scalars = {"advantage_size": one, "discount": one, "progress": zero, "log_length": zero}
        unknown = {"hyperparameters": {}, **{name: jnp.asarray(value) for name, value in scalars.items()}}
        return cls(rollout, **{**dict.fromkeys(names, nothing), **unknown, **known})


class Experience(NamedTuple):
    """What a rule may know of a batch of windows [T, W, ...]: no states."""

    action: jax.Array  # [T, W, A] taken, in [-1, 1]
    reward: jax.Array  # [T, W]
    valid: jax.Array  # [T, W] bool; what is not must not count
    values: jax.Array  # [T, W] V(s_t) = Q(s_t, pi(s_t)) under the first critic, constant
    next_values: jax.Array  # [T, W] of the true successor, 0 after a termination
    discount: jax.Array  # []
