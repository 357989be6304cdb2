"""How much memory the agents of an evaluation need."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from metaobj.common.evaluation.method import Method, Settings
from metaobj.common.lifetimes.lifetime import Lifetime
from metaobj.common.lifetimes.population import Family
from metaobj.common.memory import least_memory, size_of


def agent_bytes(method: Method, family: Family[Any], setting: Settings) -> float:
    """Bytes that an agent takes at least, itself and what an update or a test of it keeps of its steps."""
    program = family.program

    def live(lifetime: Lifetime) -> Any:
        return program.update(method.rule, method.weights, lifetime), program.test(lifetime)

    try:
        scalars = {name: jnp.float32(value) for name, value in setting.items()}
        lifetime = jax.eval_shape(family.start, jax.random.key(0), jax.random.key(1), scalars, 1)
        return size_of(lifetime) + least_memory(jax.make_jaxpr(live)(lifetime).jaxpr)
    except OverflowError:  # a dimension that is no 32-bit integer
        return math.inf
