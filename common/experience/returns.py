"""Return estimates on [T, B] rollouts."""

from typing import NamedTuple

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


class OffPolicyReturns(NamedTuple):
    """What V-trace makes of a rollout."""

    values: jax.Array  # [T, B] v_s, targets of the value function
    advantages: jax.Array  # [T, B] rho (r + gamma (lambda v_{s+1} + (1 - lambda) V(s')) - V(s))


def leaky_vtrace(
    rollout: Rollout,
    values: jax.Array,
    next_values: jax.Array,
    log_ratio: jax.Array,
    discount: float | jax.Array,
    lambda_: float | jax.Array = 1.0,
    leak: float | jax.Array = 1.0,
) -> OffPolicyReturns:
    """V-trace (Espeholt et al. 2018) whose truncation leaks (Zahavy et al. 2020, "A Self-Tuning Actor-Critic").

    rho = a min(1, w) + (1 - a) w and c = lambda rho, where w = pi / mu: a = 1 is V-trace, a = 0 plain importance
    sampling. v_s = V(s) + rho (r + gamma V(s') - V(s)) + gamma c (v_{s+1} - V(s')), the last term within an episode
    alone. On-policy these are TD(lambda) returns and generalised advantages. Differentiable in everything: stop the
    gradients of values and ratio, or what is tuned is taught through them as well.

    Args:
        rollout: [T, B], acted by mu.
        values: V(s) [T, B].
        next_values: V(s') [T, B] of the true successors.
        log_ratio: log pi(a|s) - log mu(a|s) [T, B].
        discount: gamma.
        lambda_: lambda.
        leak: a.

    Raises:
        AssertionError: shapes differ.
    """
    chex.assert_rank([rollout.reward, values, next_values, log_ratio], 2)
    chex.assert_equal_shape([rollout.reward, rollout.terminated, values, next_values, log_ratio])
    ratio = jnp.exp(log_ratio)
    rho = leak * jnp.minimum(1.0, ratio) + (1.0 - leak) * ratio
    continues = jnp.where(rollout.terminated, 0.0, discount)
    error = rho * (rollout.reward + continues * next_values - values)
    whole = len(error) if launches_are_dear() else 1  # steps are a few numbers each
    # The next step is another episode's, or was not taken.
    goes_on = jnp.where(rollout.terminated | rollout.truncated, 0.0, continues).at[-1].set(0.0)

    def step(following: jax.Array, inputs: tuple[jax.Array, ...]) -> tuple[jax.Array, jax.Array]:
        error, weight = inputs
        result = error + weight * following
        return result, result

    first = jnp.zeros_like(error[-1])
    # v_s - V(s)
    _, beyond = jax.lax.scan(step, first, (error, goes_on * lambda_ * rho), reverse=True, unroll=whole)
    following = jnp.concatenate([beyond[1:], jnp.zeros_like(beyond[:1])])
    return OffPolicyReturns(values + beyond, error + rho * goes_on * lambda_ * following)
