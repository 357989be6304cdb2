"""PPO, a rule to compare with."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.settings import AgentSettings
from metaobj.common.evaluation.baselines import ppo
from metaobj.common.evaluation.training import draw_worlds, steps_by_bin, train_agents
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, Entry
from metaobj.common.lifetimes.off_policy import off_policy
from metaobj.common.lifetimes.population import make_families
from metaobj.common.rules.handwritten import clipped_surrogate

pytestmark = pytest.mark.usefixtures("quick_compilation")
AGENT = AgentSettings(hidden=(16,), random_steps=32, test_environments=4)


def test_the_surrogate_by_hand():
    log_ratio, advantage = jnp.log(jnp.array([1.5, 1.5, 0.5, 0.5, 1.1])), jnp.array([2.0, -2.0, 2.0, -2.0, 3.0])
    # max gain at ratio 1.2; full loss at 1.5; 0.5 as it is; loss bounded at 0.8; within the bounds as it is
    np.testing.assert_allclose(clipped_surrogate(log_ratio, advantage), [-2.4, 3.0, -1.0, 1.6, -3.3], rtol=1e-6)


def test_it_learns_to_go_to_the_origin_in_the_steps_that_others_have():
    method = ppo(2, 0.9, AGENT)
    entry = Entry("tests.worlds_continuous:LINE", num_environments=4, updates=960, agent=ACTOR_CRITIC)
    (family,) = make_families([entry], method.programs)
    assert method.span == 32 and family.program.steps_per_update == 32 * 2 * 4
    worlds = draw_worlds(family, 0, jax.random.key(0), 2)
    settings = {"learning_rate": np.full(2, 3e-3)}
    record = train_agents(method.rule, (), family, worlds, 30, settings, jax.random.key(1), 5)
    # the start is a window of 20 steps in each of 4 environments, as the others have
    assert record.random is not None and record.env_steps[-1] == 20 * 4 + 960 * 8
    assert (record.returns[:, -1] > 0.2 * record.random).all(), (record.random, record.returns)


@pytest.mark.parametrize("rollout_steps", [7, 100])
def test_an_update_is_whole_rollouts_of_the_others(rollout_steps):
    method = ppo(rollout_steps, 0.9, AGENT)
    entry = Entry("tests.worlds_continuous:LINE", num_environments=1, updates=method.span, agent=ACTOR_CRITIC)
    (family,) = make_families([entry], method.programs)
    assert family.program.steps_per_update == method.span * rollout_steps >= 64
    (other,) = make_families([entry], off_policy(rollout_steps=rollout_steps, discount=0.9, agent=AGENT))
    ours, theirs = steps_by_bin(family.program, 1, 1), steps_by_bin(other.program, entry.updates, 1)
    assert ours == theirs == other.program.first_steps + method.span * rollout_steps
