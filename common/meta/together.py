"""What devices tell each other in a meta-update: one sum, and one collection of what must not be summed.

All of it runs on each device, within a `shard_map`, on its own share of the lifetimes.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from metaobj.common.devices import AXIS, add_up, gather
from metaobj.common.lifetimes.lifetime import Lifetime
from metaobj.common.types import Metrics, PyTree


def own(lifetimes: int, population: Lifetime) -> jax.Array:
    """Which of this device's share [L] are among a family's first so many: others only make shares equal."""
    here = population.updates.shape[0]
    return jax.lax.axis_index(AXIS) * here + jnp.arange(here) < lifetimes


def exchange(
    gradients: Sequence[PyTree],
    lived: Sequence[Lifetime],
    ended: Sequence[jax.Array],
    over: Sequence[jax.Array],
    metrics: Sequence[Metrics],
    counts: Sequence[jax.Array],
    tasks: int,
) -> tuple[dict[str, Any], tuple[Any, ...], jax.Array]:
    """Sums over all devices, and the reports of all lifetimes.

    Args:
        gradients: for each Adam, this device's sum.
        lived: the lifetimes after their updates; this and what follows for each family.
        ended: [L] bool, whose lives are over.
        over: [L] bool, who are to begin anew.
        metrics: [L] each, "finite" among them.
        counts: [L] bool, see `own`.
        tasks: how many environments there are.

    Returns:
        Sums ("gradients", "finite" and "begun" by family, "ended", what `summary_of` takes); task, setting, mean
        reward, whether it is a report, and world of all lifetimes; the largest norm of a finite gradient.
    """
    of_family = list(zip(lived, ended, over, metrics, counts, strict=True))
    sums = add_up(
        {
            "gradients": list(gradients),
            "finite": [jnp.sum(m["finite"] & mask) for *_, m, mask in of_family],
            "begun": [jnp.sum(which & mask) for _, _, which, _, mask in of_family],
            "ended": sum(jnp.sum(end & mask) for _, end, _, _, mask in of_family),
            **_shown(lived, metrics, counts, tasks),
        }
    )
    reports = [
        (p.task, p.setting, p.reward_mean, end & p.reports & m["finite"] & mask, p.world)
        for p, end, _, m, mask in of_family
    ]
    norms = [jnp.where(m["finite"] & mask, m["gradient_norm"], 0.0) for *_, m, mask in of_family]
    reports, largest = gather((reports, jnp.max(jnp.concatenate(norms))))  # [devices, ...]
    everyone = jax.tree.map(lambda *parts: jnp.concatenate([part.reshape(-1) for part in parts]), *reports)
    return sums, everyone, jnp.max(largest)


def _shown(
    lived: Sequence[Lifetime], metrics: Sequence[Metrics], counts: Sequence[jax.Array], tasks: int
) -> dict[str, Any]:
    """Sums over this device's lifetimes with a finite gradient: of each metric, and by environment."""
    joined = {name: jnp.concatenate([m[name] for m in metrics]) for name in metrics[0]}
    task, counted = jnp.concatenate([population.task for population in lived]), jnp.concatenate(counts)
    finite = joined.pop("finite") & counted
    joined = {name: jnp.where(finite, value, 0.0) for name, value in joined.items()}
    by_task = {
        "number": finite.astype(joined["reward"].dtype),
        "reward": joined["reward"],
        "episodes": joined.pop("episodes"),
        "return_sum": joined.pop("episode_return"),
    }
    return {
        "not_finite": jnp.sum(counted & ~finite),
        "metrics": {name: jnp.sum(value) for name, value in joined.items()},
        "by_task": {name: jax.ops.segment_sum(value, task, tasks) for name, value in by_task.items()},
    }


def summary_of(sums: dict[str, Any], finite: jax.Array, largest: jax.Array) -> Metrics:
    """Means over all lifetimes with a finite gradient, and returns by environment; NaN where there are none.

    Args:
        sums: see `exchange`.
        finite: how many such lifetimes there are.
        largest: of their gradients' norms.
    """
    by_task = sums["by_task"]
    return {
        **{name: total / finite for name, total in sums["metrics"].items()},
        "not_finite": sums["not_finite"],
        "ended": sums["ended"],
        "gradient_norm_max": jnp.where(finite > 0, largest, jnp.nan),
        "task_reward": by_task["reward"] / by_task["number"],
        "task_episodes": by_task["episodes"],
        "task_return_sum": by_task["return_sum"],
    }
