"""What the inspection of a learned loss measures, on a loss whose answers are known, and that it writes its files."""

import csv
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from metaobj.common.agents.settings import AgentSettings
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, Entry
from metaobj.common.objectives.plugin import Loaded
from metaobj.metagenrl.config import MetaGenRLTraining
from metaobj.metagenrl.inspection import Size, inspect, pushes, reach
from metaobj.metagenrl.objective import MetaGenRL, MetaGenRLConfig
from metaobj.metagenrl.plugin import plugin

pytestmark = pytest.mark.usefixtures("quick_compilation")
SIZE = Size(windows=6, cells=5, agents=2, updates=3)


class Towards:
    """A loss that draws the policy's action to the one taken by the reward, and by half of the next step's."""

    def loss(self, weights, actions, experience, judged):
        worth = experience.reward + 0.5 * jnp.concatenate(
            [experience.reward[1:], jnp.zeros_like(experience.reward[:1])]
        )
        return jnp.mean(worth[..., None] * 0.5 * (actions - experience.action) ** 2)


def test_pushes_go_to_the_action_taken_after_a_high_reward_and_away_after_a_low_one():
    cells, push = pushes(Towards(), {}, SIZE, jax.random.key(0))
    assert push.shape == (3, 5, 5) and np.abs(push).max() == 1
    taken, action = np.meshgrid(cells, cells, indexing="ij")
    for reward, grid in zip((-2.0, 2.0), (push[0], push[2]), strict=True):
        apart = np.abs(taken - action) > 0.1
        assert (np.sign(grid[apart]) == np.sign(reward * (taken - action))[apart]).mean() > 0.9, reward


def test_the_reach_is_how_far_rewards_are_read():
    answers = reach(Towards(), {}, SIZE, jax.random.key(0))
    assert answers.shape == (20,)
    np.testing.assert_allclose(answers[:3], [1.0, 0.5, 0.0], atol=1e-5)


@pytest.mark.slow
def test_everything_is_written_and_finite(tmp_path: Path):
    agent = AgentSettings(hidden=(4,), replay_steps=200, random_steps=16, windows=2, window_steps=4)
    config = MetaGenRLTraining(rollout_steps=2, agent=agent)
    objective = MetaGenRL(MetaGenRLConfig(units=4))
    entry = Entry("tests.worlds_continuous:LINE", 2, 4, 9, agent=ACTOR_CRITIC)
    settings = {"learning_rate": 1e-3, "critic_learning_rate": 1e-3, "exploration_noise": 0.2}
    eta = objective.init(jax.random.key(0))
    loaded = Loaded(plugin, objective, eta, config, (entry,), {}, (settings,), {}, trust=True)
    paths = inspect(loaded, tmp_path / "new", SIZE).files
    assert [path.name for path in paths] == ["loss.png", "lifetime.png", "inspection.csv"]
    for path in paths[:2]:
        assert matplotlib.image.imread(path).std() > 0.05
    with open(paths[2], newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(np.isfinite(float(row["value"])) for row in rows)
    assert [row["quantity"] for row in rows].count("cosine") == SIZE.updates
