"""The best checkpoint of a run, by worlds that are not trained on."""

from dataclasses import replace

import jax
import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import make_distribution
from metaobj.common.objectives.file import load
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.selection import LAST, Selection
from metaobj.common.objectives.train import make_trainer, meta_train
from metaobj.lpg.config import PRESETS
from metaobj.lpg.plugin import plugin

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = replace(
    PRESETS["smoke"], distribution="small-layouts", meta_updates=10, checkpoint_every=5, selection="chain/short"
)


def selection_of(tmp_path, config=SMALL):
    return Selection(plugin, make_trainer(plugin, config, devices=1), tmp_path / "selection.jsonl")


def test_the_best_so_far_is_told_and_nothing_is_scored_twice(tmp_path, monkeypatch):
    scores = iter([0.1, 0.5, 0.3, 0.5, 0.6])
    monkeypatch.setattr(Selection, "score", lambda self, eta: {"a": next(scores), "b": 0.0})
    selection = selection_of(tmp_path)
    assert [selection.is_best(step, {}) for step in (0, 10, 20, 30, 40)] == [True, True, False, False, True]
    assert [selection.is_best(step, {}) for step in (40, 10, 20)] == [True, True, False], "after it fell back"
    assert selection.known()[10]["score"] == 0.25 and selection.known()[10]["score/a"] == 0.5


@pytest.mark.slow
def test_an_objective_that_teaches_scores_higher_than_noise(tmp_path):
    """The scores are of the returns of agents that live their whole lives."""
    loaded = load_objective("pretrained:lpg-cpu")
    config = replace(SMALL, selection="small-layouts", distribution="chain/short", network=loaded.config.network)
    selection = selection_of(tmp_path, config)
    (entry,) = selection.entries
    object.__setattr__(selection, "entries", (replace(entry, lifetimes=8, updates=100, learning_rates=(80.0,)),))
    noise = selection.trainer.objective.init(jax.random.key(0))
    taught, untaught = (selection.score(eta)["grid/small_layouts"] for eta in (loaded.eta, noise))
    assert taught > untaught + 0.2 and taught > 0.4 and abs(untaught) < 0.3


@pytest.mark.parametrize(
    ("worlds", "says"),
    [
        ("small-layouts", "selection: grid/small_layouts is trained on too"),
        ("nothing", "selection: .*'nothing' is unknown"),
        ("control/balance/varied", "selection: control/balance/varied does not tell what there is to be earned"),
    ],
)
def test_worlds_that_cannot_be_selected_on_are_told(tmp_path, worlds, says):
    with pytest.raises(UserError, match=says):
        selection_of(tmp_path, replace(SMALL, selection=worlds)).check()


def test_a_damaged_file_is_told(tmp_path):
    (tmp_path / "selection.jsonl").write_text('{"step": 5}\n')
    with pytest.raises(UserError, match=r"selection.jsonl: is damaged .*score"):
        selection_of(tmp_path).check()


@pytest.mark.slow
def test_a_run_keeps_its_best_and_its_last(tmp_path, monkeypatch):
    """Also where it was killed after the scores were written and before the objective was."""
    by_step = {0: 0.1, 5: 0.9, 10: 0.2}
    steps = iter(by_step)
    monkeypatch.setattr(Selection, "score", lambda self, eta: {"chain/short": by_step[next(steps)]})
    monkeypatch.setattr(Selection, "check", lambda self: None)
    meta_train(plugin, SMALL, tmp_path / "run")
    updates = {name: load(tmp_path / "run" / name)[1]["meta_updates"] for name in ("objective.safetensors", LAST)}
    assert updates == {"objective.safetensors": 5, LAST: 10}
    best, fifth = (load(tmp_path / "run" / name)[0] for name in ("objective.safetensors", "objectives/5.safetensors"))
    assert all(np.array_equal(best[name], fifth[name]) for name in fifth)
    meta_train(plugin, SMALL, tmp_path / "run", resume=True)  # there is nothing left to do, and nothing is scored


def test_what_is_apart_is_not_trained_on():
    names = {entry.environment for entry in make_distribution("carry")}
    assert not names & {entry.environment for entry in make_distribution("apart")}
