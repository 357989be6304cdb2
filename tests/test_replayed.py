"""A store of trajectories: what goes in, what comes out, and when agents begin to learn."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.lifetimes.on_policy import on_policy
from metaobj.common.lifetimes.population import make_families
from metaobj.common.lifetimes.replayed import ReplayConfig, Replayed
from metaobj.selftuning.rule import SelfTuning

pytestmark = pytest.mark.usefixtures("quick_compilation")
T, B, RULE = 3, 2, SelfTuning()


def family_of(replay):
    maker = on_policy(RULE, rollout_steps=T, discount=0.9, value=ValueConfig(), kind=partial(Replayed, replay=replay))
    return make_families([Entry("tests.worlds:RING", num_environments=B)], maker)[0]


def start(family):
    birth = Birth(family.draw_params(jax.random.key(1)), {"learning_rate": jnp.asarray(1.0)}, 50)
    return family.program.start(jax.random.key(0), birth)


@pytest.mark.slow
def test_the_latest_trajectories_are_kept_and_learned_from_once_there_are_enough():
    family = family_of(ReplayConfig(6, 5))
    program, eta = family.program, RULE.init(jax.random.key(0))
    update = jax.jit(lambda life: program.update(RULE, eta, life))
    lifetime, born = start(family), start(family).learner
    seen = []
    for number in range(1, 6):
        _, batch, _ = program.act(lifetime)
        seen.append(np.swapaxes(np.asarray(batch.rollout.observation), 0, 1))  # [B, T]
        lifetime, about, _ = update(lifetime)
        assert int(lifetime.store.filled) == min(number * B, 6)
        moved = any((a != b).any() for a, b in zip(*map(jax.tree.leaves, (lifetime.learner, born)), strict=True))
        assert moved == (number >= 3), "five of six trajectories are there after three rollouts"
        assert int(lifetime.updates) == number and all(np.isfinite(value) for value in about.values())
    # Rollouts 4, 5 and 3 are where 1, 2 and 3 were.
    wanted = np.concatenate([seen[3], seen[4], seen[2]])
    np.testing.assert_array_equal(lifetime.store.parts["rollout"].observation, wanted)
    assert int(lifetime.steps) == 5 * T * B


def test_what_cannot_be_stored_is_told():
    with pytest.raises(UserError, match="replay.drawn: 0 given; must be at least 1"):
        ReplayConfig(4, 0)
    with pytest.raises(UserError, match="replay.trajectories: -1 given; must be at least 0"):
        replace(ReplayConfig(), trajectories=-1)
