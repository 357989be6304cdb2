"""The worlds that an evaluation draws of an environment: the same for every method and every setting."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from metaobj.common.environments.protocol import reference_returns
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.population import Family
from metaobj.common.types import PRNGKey, PyTree

WORTH_LEARNING = 0.05
"""The optimal policy's return must be so much above the uniform one's: else a score says nothing."""
_ROUNDS = 8


@dataclass(frozen=True, eq=False)
class DrawnWorlds:
    """Worlds, and what the uniform and the optimal policy earn in each."""

    count: int
    params: PyTree  # [n, ...]; no leaves where worlds do not differ
    reference: tuple[np.ndarray, np.ndarray] | None  # random and optimal return, [n] each


def draw_worlds(family: Family[Any], name: str, key: PRNGKey, count: int) -> DrawnWorlds:
    """Draw `count` worlds of a family's first environment, which goes by `name`. Where their returns can be told,
    another world is drawn in the place of one that has no meaningful score.

    Raises:
        UserError: hardly any world has one.
    """
    environment = family.program.environment
    draw = jax.jit(jax.vmap(family.draw_params))
    keys = jax.random.split(key, _ROUNDS * count)
    params = draw(keys[:count])
    reference = reference_returns(environment, params) if jax.tree.leaves(params) else None
    if reference is None:
        return DrawnWorlds(count, params, None)
    drawn = 1
    usable = _usable(reference)
    while usable.sum() < count and drawn < _ROUNDS:  # solving a world takes time: further ones only where needed
        more = draw(keys[drawn * count : (drawn + 1) * count])
        pair = reference_returns(environment, more)
        assert pair is not None
        params = jax.tree.map(lambda a, b: np.concatenate([a, b]), params, more)
        reference = (np.concatenate([reference[0], pair[0]]), np.concatenate([reference[1], pair[1]]))
        usable = _usable(reference)
        drawn += 1
    if usable.sum() < count:
        raise UserError(
            f"{name}: in {usable.sum()} of {usable.size} worlds drawn does the best policy earn more "
            f"than {WORTH_LEARNING:g} above the uniform one; {count} are needed for a score"
        )
    chosen = np.flatnonzero(usable)[:count]
    random, optimal = reference
    return DrawnWorlds(count, jax.tree.map(lambda leaf: leaf[chosen], params), (random[chosen], optimal[chosen]))


def _usable(reference: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    random, optimal = reference
    return optimal - random > WORTH_LEARNING
