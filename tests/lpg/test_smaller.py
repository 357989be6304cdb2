"""A learned LPG in a smaller network."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from rich.console import Console

from metaobj.common.errors import UserError
from metaobj.common.objectives.loading import load_objective
from metaobj.lpg.objective import LPG
from metaobj.lpg.plugin import plugin
from metaobj.lpg.smaller import Smaller
from metaobj.lpg.teaching import Learnt

pytestmark = pytest.mark.usefixtures("quick_compilation")
OLD = "pretrained:lpg-tabular"


@pytest.fixture
def asked(monkeypatch):
    """What would have been learnt from whom; nothing is."""
    asked = []

    def learn(teacher, config, entries, console):
        asked.append((teacher, config, entries))
        return Learnt(LPG(config.network).init(jax.random.key(7)), 0.125, 0.25)

    monkeypatch.setattr("metaobj.lpg.smaller.learn", learn)
    return asked


def distilled(options, folder):
    return plugin.distil.run(load_objective(OLD), options, folder, Console(quiet=True))


def test_what_is_written_is_an_objective_of_other_sizes(asked, tmp_path):
    old = load_objective(OLD)
    found = distilled(Smaller(units=4, updates=20, seed=3), tmp_path / "out")
    assert found.verdict == (
        "units: 4 for 32; on held-out layouts the policy's targets differ by 0.125 of their mean square, the "
        "predictions' by 0.250 nats",
    )
    new = load_objective(found.files[0], "lpg")
    assert new.objective.config == replace(old.objective.config, units=4)
    assert new.config == replace(old.config, network=new.objective.config, seed=3)
    assert (new.entries, new.hyperparameters, new.settings) == (old.entries, old.hyperparameters, old.settings)
    assert new.metadata["distilled"]["of"] == old.metadata["digest"] != new.metadata["digest"]
    ((teacher, config, entries),) = asked
    jax.tree.map(np.testing.assert_array_equal, teacher.eta, old.eta)
    assert entries == old.entries and config.start_updates == 20 and config.seed == 3


def test_sizes_and_worlds_are_a_choice(asked, tmp_path):
    distilled(Smaller(distribution="small-layouts"), tmp_path / "out")
    ((_, config, entries),) = asked
    assert config.network == load_objective(OLD).objective.config
    assert [entry.environment for entry in entries] == ["grid/small_layouts"]


@pytest.mark.slow
def test_a_smaller_network_learns_it(tmp_path):
    found = distilled(Smaller(units=16, distribution="small-layouts"), tmp_path)
    errors = load_objective(found.files[0]).metadata["distilled"]
    assert errors["policy_error"] < 0.3 and errors["prediction_error"] < 0.1, errors


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"units": -1}, "units: -1 given; must be at least 0"),
        ({"updates": 0}, "updates: 0 given; must be at least 10"),
        ({"updates": 17}, "updates: 17 given; must be a multiple of 10"),
        ({"seed": -1}, "seed: -1 given; must be at least 0"),
    ],
)
def test_what_cannot_be_is_told(changes, says):
    with pytest.raises(UserError, match=says):
        Smaller(**changes)
