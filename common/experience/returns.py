"""Return estimates on [T, B] rollouts."""

import chex
import jax
import jax.numpy as jnp

from metaobj.common.devices import launches_are_dear
from metaobj.common.types import Rollout


def running_square(before: jax.Array, values: jax.Array, rate: float) -> jax.Array:
    """The mean square of what comes in parts, over the last 1 / `rate` parts or so; 0 before the first.

    It rises at once and falls slowly: where most parts are nearly zero, as where rewards are rare, the rare ones tell
    the size, and no value is more than sqrt(values.size) times its square root.
    """
    now = jnp.mean(values**2)
    return jnp.maximum(now, before + rate * (now - before))


def lambda_returns(
    rollout: Rollout, next_values: jax.Array, discount: float | jax.Array, lambda_: float | jax.Array
) -> jax.Array:
    """TD(lambda) returns, right at terminations, truncations and the rollout's end.

    G_t = r_t + gamma (1 - terminated_t) [(1 - l_t) V(s'_t) + l_t G_{t+1}], where l_t = lambda within an episode and 0
    where the next step belongs to another one or was not taken (Sutton & Barto 2018, chapter 12). V(s'_t) is the value
    of the true successor, so a truncated step bootstraps from its episode's last observation.

    Args:
        rollout: [T, B].
        next_values: V(s'_t) [T, B], in units of the rewards.
        discount: gamma, of each step.
        lambda_: 0 bootstraps after one step, 1 at the episode's or the rollout's end alone.

    Returns:
        G [T, B]; the generalised advantage estimate is G - V(s).

    Raises:
        AssertionError: shapes differ.
    """
    chex.assert_rank([rollout.reward, next_values], 2)
    chex.assert_equal_shape([rollout.reward, rollout.terminated, rollout.truncated, next_values])
    chex.assert_rank([discount, lambda_], 0)
    ended = rollout.terminated | rollout.truncated
    continues = jnp.where(rollout.terminated, 0.0, discount)

    def step(following: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        reward, continues, mix, value = inputs
        result = reward + continues * ((1 - mix) * value + mix * following)
        return result, result

    mix = jnp.where(ended, 0.0, lambda_).at[-1].set(0.0)
    first = jnp.zeros_like(next_values[-1])
    whole = len(mix) if launches_are_dear() else 1  # steps are a few numbers each
    _, returns = jax.lax.scan(step, first, (rollout.reward, continues, mix, next_values), reverse=True, unroll=whole)
    return returns
