"""Meta-training of Disco on the shared loop: resume, and evolution strategies with a store."""

import shutil
from dataclasses import replace

import jax
import pytest

from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import DISTRIBUTIONS, Entry
from metaobj.common.lifetimes.population import make_families
from metaobj.common.lifetimes.replayed import ReplayConfig, Replayed
from metaobj.common.objectives.train import make_trainer, meta_train
from metaobj.disco.config import PRESETS, WIDE
from metaobj.disco.plugin import plugin
from tests.quick import quick_programs

DISTRIBUTIONS["tiny-ring"] = (Entry("tests.worlds:OBSERVED_RING", 4, 2, 6, (1e-2,), replace(WIDE, hidden=(4,))),)
SHORT = {"rollout_steps": 4, "meta_updates": 4, "log_every": 1, "checkpoint_every": 1, "chunk": 4}
TINY = replace(PRESETS["smoke"], distribution="tiny-ring", **SHORT)


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory, quick_compilation):
    with quick_programs(tmp_path_factory.mktemp("programs")):
        yield


@pytest.mark.slow
@pytest.mark.parametrize("estimator", ["backprop", "persistent-es"])
def test_resumed_with_what_is_remembered_and_stored_it_ends_the_same(estimator, tmp_path):
    config = replace(TINY, estimator=estimator)
    if estimator != "backprop":
        config = replace(config, replay=ReplayConfig(6, 3))
    straight, again = tmp_path / "straight", tmp_path / "again"
    assert meta_train(plugin, config, straight).finished
    shutil.copytree(straight, again)
    for step in (3, 4):
        shutil.rmtree(again / "checkpoints" / str(step))
    (again / "objective.safetensors").unlink()
    assert meta_train(plugin, config, again, resume=True).finished
    assert (again / "objective.safetensors").read_bytes() == (straight / "objective.safetensors").read_bytes()


def test_there_is_a_store_where_agents_learn_from_it_and_nowhere_else():
    config = replace(TINY, replay=ReplayConfig(6, 3))
    for estimator in ("backprop", "persistent-es"):
        trainer = make_trainer(plugin, replace(config, estimator=estimator), devices=1)
        state = jax.eval_shape(trainer.first, jax.random.key(0))
        assert [hasattr(population, "store") for population in state.populations] == [estimator != "backprop"]
    (family,) = make_families(trainer.entries, plugin.programs(config, trainer.objective))
    assert isinstance(family.program, Replayed)  # as fresh agents live


def test_rewards_of_all_ages_have_one_unit():
    with pytest.raises(UserError, match="value.scale_rewards: true given; must be false where trajectories"):
        replace(TINY, replay=ReplayConfig(6, 3), value=replace(TINY.value, scale_rewards=True))
