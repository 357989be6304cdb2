"""What the page on loops of one's own shows runs, as it stands there."""

import jax
import numpy as np
import pytest

from tests.test_docs import blocks


@pytest.mark.slow
def test_an_agent_of_ones_own_learns_and_is_remembered():
    scope: dict = {}
    (code,) = blocks("docs/how-to/disco.md", "python")
    exec(code, scope)
    params, target, optimiser, memory = scope["state"]
    first, forgotten = scope["params"], scope["objective"].first_memory()
    for new, old in ((params, first), (target, first), (memory, forgotten)):
        moved = [np.abs(a - b).max() for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(old), strict=True)]
        assert np.isfinite(moved).all() and min(moved) > 0
    assert optimiser.count == 3
