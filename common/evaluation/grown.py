"""Agents of some age, to look at what a rule does with them."""

from typing import Any

import jax

from metaobj.common.devices import quick_jit
from metaobj.common.lifetimes.population import Family
from metaobj.common.types import Hyperparameters, PRNGKey, PyTree


@quick_jit(static_argnums=0)
def born(family: Family[Any], keys: PRNGKey, hyperparameters: Hyperparameters, length: jax.Array) -> Any:
    """Fresh agents, one for each key, in worlds of the family's first task: their lifetimes of so many updates."""

    def one(key: PRNGKey) -> Any:
        world_key, life_key = jax.random.split(key)
        return family.start(world_key, life_key, hyperparameters, length)

    return jax.vmap(one)(keys)


@quick_jit(static_argnums=(0, 1))
def grown(rule: Any, program: Any, eta: PyTree, agents: Any, updates: jax.Array) -> Any:
    """The agents after so many updates more by a rule with weights eta."""
    one_update = jax.vmap(lambda agent: program.update(rule, eta, agent)[0])
    return jax.lax.fori_loop(0, updates, lambda _, agents: one_update(agents), agents)
