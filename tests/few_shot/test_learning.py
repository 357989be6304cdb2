"""What learning comes to, on worlds that are small enough for a test."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from experiments.few_shot.grid import GridNavi
from experiments.few_shot.maml import Learner
from experiments.few_shot.maml import train as meta_train
from experiments.few_shot.plane import Plane
from experiments.few_shot.search import bayes_optimal
from experiments.few_shot.trials import TrialAgent, train


@pytest.mark.slow
def test_memory_is_worth_something():
    """After little training in a small grid later episodes are better with memory than without, and than the first."""
    grid = GridNavi(3, 6)
    agent = TrialAgent(grid, episodes=3, units=32, trials=64, minibatches=2)
    last = {}
    for remembers in (True, False):
        _, curve = train(replace(agent, remembers=remembers), 250, jax.random.key(0))
        last[remembers] = np.asarray(curve[-25:]).mean(0)
    assert last[True][1:].mean() > last[False][1:].mean() + 0.5
    assert last[True][1] > last[True][0] + 0.5
    assert last[True].sum() <= bayes_optimal(grid, 3).returns.sum() + 0.3  # three standard errors


@pytest.mark.slow
def test_adapting_is_worth_something_after_meta_training():
    """After little of it, one policy gradient halves what an episode costs; before, it does not."""
    learner = Learner(Plane(), tasks=10, episodes=10, learning_rate=3e-3)
    _, curve = meta_train(learner, 60, jax.random.key(0))
    before, after = np.asarray(curve[-10:]).mean(0)
    assert after > 0.5 * before
    first = np.asarray(curve[0])
    assert first[1] < 0.5 * first[0]  # returns are negative
