"""The best checkpoint of a run, by worlds that are not trained on."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import jax
import pytest

from metaobj.common.errors import UserError
from metaobj.common.objectives.file import load
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.selection import LAST, SCORES, Selection
from metaobj.common.objectives.train import make_trainer, meta_train, save_objective
from metaobj.lpg.config import PRESETS
from metaobj.lpg.plugin import plugin

pytestmark = pytest.mark.usefixtures("quick_compilation")
SMALL = replace(
    PRESETS["smoke"], distribution="small-layouts", meta_updates=10, checkpoint_every=5, selection="chain/short"
)


def selection_of(folder, config=SMALL):
    return Selection(plugin, config, folder)


def keep(folder, step):
    """As a run does at a checkpoint."""
    trainer = make_trainer(plugin, SMALL, devices=1)
    (folder / "objectives").mkdir(exist_ok=True)
    state = SimpleNamespace(step=step, eta=trainer.objective.init(jax.random.key(step)), sampler=trainer.sampler.init())
    save_objective(folder / "objectives" / f"{step}.safetensors", plugin, trainer, state, 0)


def test_the_best_so_far_is_told_and_nothing_is_scored_twice(tmp_path, monkeypatch):
    scores = iter([0.1, 0.5, 0.3, 0.5])
    monkeypatch.setattr(Selection, "score", lambda self, eta: {"a": next(scores), "b": 0.0})
    selection = selection_of(tmp_path)
    best = []
    for step in (0, 5, 7, 10, 15):  # at 7 the run was stopped
        keep(tmp_path, step)
        best.append(int(selection.best().stem))
    assert best == [0, 5, 5, 5, 5] and sorted(selection.known()) == [0, 5, 10, 15]
    assert selection.known()[5]["score"] == 0.25 and selection.known()[5]["score/a"] == 0.5
    assert selection.best().stem == "5"
    (tmp_path / SCORES).unlink()
    scores = iter([0.1, 0.2, 0.9, 0.3])
    assert selection.best().stem == "10", "all that is kept is scored anew"


@pytest.mark.slow
def test_an_objective_that_teaches_scores_higher_than_noise(tmp_path):
    """The scores are of the returns of agents that live their whole lives."""
    loaded = load_objective("pretrained:lpg-tabular")
    config = replace(SMALL, selection="small-layouts", distribution="chain/short", network=loaded.config.network)
    selection = selection_of(tmp_path, config)
    (entry,) = selection.entries
    selection.__dict__["entries"] = (replace(entry, lifetimes=8, updates=100, learning_rates=(80.0,)),)
    noise = plugin.build(config).init(jax.random.key(0))
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
    """Also where it was killed between the two, or falls back past a checkpoint that cannot be read."""
    scores = iter([0.1, 0.9, 0.2])
    monkeypatch.setattr(Selection, "score", lambda self, eta: {"chain/short": next(scores)})
    run = tmp_path / "run"
    meta_train(plugin, SMALL, run)

    def updates():
        return {name: load(run / name)[1]["meta_updates"] for name in ("objective.safetensors", LAST)}

    assert updates() == {"objective.safetensors": 5, LAST: 10}
    before = (run / "objective.safetensors").read_bytes()
    assert before == (run / "objectives" / "5.safetensors").read_bytes()
    shutil.copy(run / LAST, run / "objective.safetensors")
    meta_train(plugin, SMALL, run, resume=True)
    assert updates() == {"objective.safetensors": 5, LAST: 10}
    for name in (5, 10):
        shutil.rmtree(run / "checkpoints" / str(name))
    meta_train(plugin, replace(SMALL), run, resume=True)
    assert (run / "objective.safetensors").read_bytes() == before and updates()[LAST] == 10
