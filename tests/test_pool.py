"""Meta-training on so many worlds and no more."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from metaobj.common.devices import quick_jit
from metaobj.common.errors import UserError
from metaobj.common.objectives.train import make_trainer
from metaobj.lpg.config import PRESETS
from metaobj.lpg.plugin import plugin

SMALL = replace(PRESETS["smoke"], distribution="control/balance/varied")


def drawn(worlds: int, seed: int = 0, number: int = 64) -> list[set[bytes]]:
    """The different worlds that new agents of each environment are in."""
    trainer = make_trainer(plugin, replace(SMALL, worlds=worlds, seed=seed))
    keys = jax.random.split(jax.random.key(7), number)
    found = []
    for family in trainer.families:
        for member in range(len(family.tasks)):
            params = jax.tree.leaves(quick_jit()(jax.vmap(family.draw_params, (0, None)))(keys, member))
            rows = [np.concatenate([np.ravel(leaf[at]) for leaf in params]) for at in range(number)]
            found.append({row.tobytes() for row in rows})
    return found


@pytest.mark.slow
def test_there_are_so_many_worlds_and_no_more():
    few, more, others = drawn(3), drawn(6), drawn(3, seed=1)
    assert len(few) == 1 and all(len(worlds) == 3 for worlds in few)
    assert all(len(worlds) == 6 and old < worlds for old, worlds in zip(few, more, strict=True))
    assert not any(ours & theirs for ours, theirs in zip(few, others, strict=True))


def test_an_impossible_number_is_told():
    for number in (-1, 2**20 + 1):
        with pytest.raises(UserError, match=f"worlds: {number} given; must be at least 0"):
            replace(SMALL, worlds=number)
