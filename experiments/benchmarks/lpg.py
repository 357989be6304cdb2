"""Speed and memory of LPG's meta-update."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from metaobj.common.devices import AXIS, dividing_mesh, make_mesh
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.population import make_families, sampler_grids
from metaobj.common.lifetimes.sampler import make_sampler
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.objective import LPGConfig
from metaobj.lpg.plugin import plugin


def trainer(
    *,
    units: int,
    prediction_size: int,
    lifetimes: int,
    environments: int,
    inner_updates: int = 5,
    chunk: int = 32,
    remat: bool = False,
) -> MetaTrainer:
    """Meta-training on 5x5 layouts; one meta-update per compiled chunk."""
    config = LPGTraining(
        inner_updates=inner_updates,
        chunk=chunk,
        remat=remat,
        log_every=1,
        checkpoint_every=1,
        network=LPGConfig(units=units, prediction_size=prediction_size),
    )
    objective = plugin.build(config)
    entries = (Entry("grid/small_layouts", lifetimes=lifetimes, num_environments=environments),)
    families = make_families(entries, plugin.programs(config, objective))
    sampler = make_sampler(sampler_grids(entries, {"kl_weight": (0.1, 0.5, 1.0)}), config.sampler)
    return MetaTrainer(objective, entries, families, sampler, config, make_mesh([lifetimes]))


def lstm_products(
    *, units: int, lifetimes: int, environments: int, steps: int, updates: int, inputs: int = 6
) -> Callable[[], Any]:
    """The matrix products of an LSTM's forward and backward passes over `updates` rollouts, and nothing else.

    With H units and D inputs, per step forward one [rows, D + H] x [D + H, 4H] and backward one [rows, 4H] x [4H, H],
    rows = lifetimes x environments; per rollout one [T rows, 4H] x [4H, D], and per lifetime one [D + H, T B] x
    [T B, 4H] for the weights' gradient. Spread over the devices as the meta-update is.
    """
    mesh = dividing_mesh(lifetimes)
    key = jax.random.key(0)
    weights = jax.random.normal(key, (inputs + units, 4 * units)) / units
    read = jax.random.normal(key, (lifetimes, environments, inputs + units))

    def one_device(weights: jax.Array, read: jax.Array) -> jax.Array:
        local = read.shape[0]
        rows = read.reshape(-1, inputs + units)

        def forward(read: jax.Array, nothing: Any) -> tuple[jax.Array, jax.Array]:
            gates = read @ weights
            return gates[:, : inputs + units], gates

        def backward(hidden: jax.Array, gates: jax.Array) -> tuple[jax.Array, jax.Array]:
            return gates @ weights[inputs:].T, hidden

        def rollout(total: jax.Array, nothing: Any) -> tuple[jax.Array, None]:
            # Each rollout starts from the one before, so that none can be left out or hoisted.
            _, gates = jax.lax.scan(forward, rows + 1e-9 * total[0, 0, 0], None, length=steps)
            _, hidden = jax.lax.scan(backward, rows[:, inputs:], gates)  # [T, rows, H]
            of_inputs = gates @ weights[:inputs].T  # [T, rows, D]
            read = jnp.concatenate([of_inputs, hidden], -1).reshape(steps, local, environments, inputs + units)
            gates = gates.reshape(steps, local, environments, 4 * units)
            return total + jnp.einsum("tlbh,tlbk->lhk", read, gates), None

        return jax.lax.scan(rollout, jnp.zeros((local, inputs + units, 4 * units)), None, length=updates)[0]

    run = jax.jit(
        jax.shard_map(
            one_device,
            mesh=mesh,
            in_specs=(PartitionSpec(), PartitionSpec(AXIS)),
            out_specs=PartitionSpec(AXIS),
            check_vma=False,
        )
    )
    jax.block_until_ready(run(weights, read))
    return lambda: run(weights, read)
