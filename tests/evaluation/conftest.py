from collections.abc import Callable

import numpy as np
import pytest

from metaobj.common.evaluation.curves import Curves, Reference

TASKS = ["dense", "sparse", "chain 10", "CartPole-v1"]
GROUPS = ["held-out grids", "held-out grids", "delayed chains", "CartPole"]
RANDOM, OPTIMAL = np.array([1.0, 0.0, -1.0, np.nan]), np.array([5.0, 2.0, 1.0, np.nan])


@pytest.fixture
def make_curves() -> Callable[..., Curves]:
    """Curves that rise from the random return to `level` of the optimal one; the last group has no reference."""

    def make(method: str = "LPG", level: float = 0.9, seeds: int = 4, bins: int = 20, seed: int = 0) -> Curves:
        rng = np.random.default_rng(seed)
        progress = np.linspace(0, level, bins) + rng.normal(0, 0.02, (len(TASKS), seeds, bins))
        low, high = np.nan_to_num(RANDOM, nan=20.0), np.nan_to_num(OPTIMAL, nan=500.0)
        returns = low[:, None, None] + (high - low)[:, None, None] * progress
        env_steps = np.arange(1, bins + 1) * 20_000 / bins
        return Curves(method, TASKS, returns, env_steps, Reference(RANDOM, OPTIMAL), GROUPS)

    return make


@pytest.fixture
def methods(make_curves: Callable[..., Curves]) -> list[Curves]:
    """Two that are compared."""
    return [make_curves("LPG", 0.9), make_curves("A2C", 0.6, seed=1)]
