"""Worlds that are chosen by their regret."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.lifetimes.levels import choose_level, init_levels, level_probabilities, update_levels
from metaobj.common.lifetimes.sampler import SamplerConfig, make_sampler
from metaobj.common.objectives.train import make_trainer
from metaobj.lpg.config import PRESETS
from metaobj.lpg.plugin import plugin

pytestmark = pytest.mark.usefixtures("quick_compilation")


def told(*reports, worlds=4):
    """Levels of two environments after (environment, world, earned), one by one."""
    state = init_levels(2, worlds)
    for environment, world, earned in reports:
        state = update_levels(state, jnp.int32(environment), jnp.int32(world), jnp.float32(earned))
    return state


def test_worlds_are_as_likely_as_their_rank_says():
    """Regrets are what the best agent earned more than the latest; a world of no report comes first."""
    state = told((0, 0, 5.0), (0, 0, 1.0), (0, 1, -2.0), (0, 3, 0.0), (0, 3, 9.0), (0, 3, 8.0))
    probabilities = level_probabilities(jax.random.key(0), state, jnp.int32(0))
    np.testing.assert_allclose(probabilities, np.array([1 / 2, 1 / 4, 1, 1 / 3]) / (25 / 12), rtol=1e-6)


def test_equal_regrets_are_in_any_order():
    keys = jax.random.split(jax.random.key(0), 200)
    drawn = jax.vmap(lambda key: level_probabilities(key, told(), jnp.int32(1)))(keys)
    np.testing.assert_allclose(drawn.sum(-1), 1.0, rtol=1e-6)
    np.testing.assert_allclose(drawn.mean(0), 0.25, atol=0.07)


@pytest.mark.parametrize("replay", [0.0, 0.5, 1.0])
def test_a_share_of_worlds_is_chosen_by_regret(replay):
    state = told(*((0, world, earned) for world in range(4) for earned in (world, 0.0)))
    keys = jax.random.split(jax.random.key(1), 4000)
    worlds = jax.vmap(lambda key: choose_level(key, state, jnp.int32(0), replay))(keys)
    by_regret = np.array([1 / 4, 1 / 3, 1 / 2, 1]) / (25 / 12)
    wanted = replay * by_regret + (1 - replay) / 4
    np.testing.assert_allclose(np.bincount(worlds, minlength=4) / 4000, wanted, atol=4 * 0.5 / np.sqrt(4000))


@pytest.mark.slow
def test_a_run_chooses_its_worlds():
    """Agents live in the world that their index names, and what they earn there is recorded under it."""
    config = replace(PRESETS["smoke"], life=0.05, worlds=3, sampler=SamplerConfig(replay=0.5), seed=3)
    trainer = make_trainer(plugin, config)
    state = trainer.init()
    later = trainer.run_chunk(trainer.init())[0]
    for populations in (state.populations, later.populations):
        for family, population in zip(trainer.families, populations, strict=True):
            members = jnp.asarray(family.lifetimes)
            again = jax.vmap(family.draw_params, (None, 0, 0))(jax.random.key(9), members, population.world)
            jax.tree.map(np.testing.assert_array_equal, again, population.environment_params)
            assert set(np.asarray(population.world)) <= {0, 1, 2}
    assert (later.populations[0].world != state.populations[0].world).any(), "agents born since are elsewhere"
    levels = later.sampler.levels
    met = np.isfinite(levels.best)
    assert met.shape == (2, 3) and met[0].any()
    assert np.all(levels.best[met] >= levels.latest[met])


def test_what_is_earned_is_recorded_under_its_world():
    grids = [{"learning_rate": (1.0, 2.0)}] * 2
    sampler = make_sampler(grids, SamplerConfig(replay=0.5), worlds=3)
    given = (jnp.array([0, 1, 0]), jnp.array([0, 1, 1]), jnp.array([4.0, 5.0, 6.0]), jnp.array([True, False, True]))
    levels = sampler.update_all(sampler.init(), *given, jnp.array([2, 0, 1])).levels
    np.testing.assert_array_equal(levels.latest, [[0, 6, 4], [0, 0, 0]])
    np.testing.assert_array_equal(np.isfinite(levels.best), [[False, True, True], [False] * 3])


def test_worlds_must_be_numbered_to_be_chosen():
    with pytest.raises(UserError, match=r"sampler.replay: 0.5 given; must be 0 where worlds is 0"):
        make_trainer(plugin, replace(PRESETS["smoke"], sampler=SamplerConfig(replay=0.5)))
    with pytest.raises(UserError, match=r"sampler.replay: 2 given; must be .* at most 1"):
        SamplerConfig(replay=2)


def test_lives_are_lengthened():
    plain, longer = (make_trainer(plugin, replace(PRESETS["smoke"], life=life)) for life in (1.0, 1.5))
    assert [entry.updates for entry in longer.entries] == [round(1.5 * entry.updates) for entry in plain.entries]
    with pytest.raises(UserError, match="life: 0 given; must be"):
        replace(PRESETS["smoke"], life=0)
