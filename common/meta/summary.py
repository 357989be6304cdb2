"""What a meta-update tells of the whole population, on all devices."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from metaobj.common.devices import AXIS
from metaobj.common.lifetimes.lifetime import Lifetime
from metaobj.common.types import Metrics


def summarise(populations: Sequence[Lifetime], metrics: Sequence[Metrics], tasks: int) -> Metrics:
    """Means over all lifetimes with a finite gradient, and returns by environment; NaN where there are none.

    Args:
        populations: one per family, [L, ...] on this device.
        metrics: likewise, with one entry per lifetime [L], "finite" among them.
        tasks: how many environments there are.
    """
    joined = {name: jnp.concatenate([m[name] for m in metrics]) for name in metrics[0]}
    task = jnp.concatenate([population.task for population in populations])
    finite = joined.pop("finite")
    joined = {name: jnp.where(finite, value, 0.0) for name, value in joined.items()}
    episodes, episode_return = joined.pop("episodes"), joined.pop("episode_return")

    def by_task(values: jax.Array) -> jax.Array:
        return jax.lax.psum(jax.ops.segment_sum(values, task, tasks), AXIS)

    count = jax.lax.psum(jnp.sum(finite), AXIS)
    summary = {name: jax.lax.psum(jnp.sum(value), AXIS) / count for name, value in joined.items()}
    summary["not_finite"] = jax.lax.psum(jnp.sum(~finite), AXIS)
    largest = jax.lax.pmax(jnp.max(joined["gradient_norm"]), AXIS)
    summary["gradient_norm_max"] = jnp.where(count > 0, largest, jnp.nan)
    summary["task_reward"] = by_task(joined["reward"]) / by_task(finite.astype(joined["reward"].dtype))
    summary["task_episodes"] = by_task(episodes)
    summary["task_return_sum"] = by_task(episode_return)
    return summary
