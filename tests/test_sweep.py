"""One configuration from several seeds: a folder for each, one picture, one contestant."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from PIL import Image

from metaobj.common.errors import UserError
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.lifetimes.distributions import DISTRIBUTIONS, Entry
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.objectives.contestants import find_contestants
from metaobj.common.objectives.sweep import parse_seeds, runs_of, seeds_of, sweep
from metaobj.common.objectives.train import make_trainer, meta_train, reseeded
from metaobj.common.pictures.training import seeds_curve
from metaobj.lpg.plugin import plugin
from tests.quick import quick_programs
from tests.runs.cases import TINY

CONFIG = replace(TINY, distribution="tiny-sweep", meta_updates=2)
DISTRIBUTIONS["tiny-sweep"] = (Entry("tests.worlds:RING", lifetimes=2, num_environments=2, updates=3),)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "mine"
    with quick_programs(tmp_path_factory.mktemp("programs")):
        sweep(plugin, CONFIG, folder, (10, 9))
    return folder


@pytest.mark.slow
def test_a_run_for_each_seed_and_one_picture(folder: Path) -> None:
    assert runs_of(folder) == [folder / "seed-9", folder / "seed-10"]
    for seed in (9, 10):
        assert json.loads((folder / f"seed-{seed}" / "config.json").read_text())["config"]["seed"] == seed
    bytes_of = {(run / "objective.safetensors").read_bytes() for run in runs_of(folder)}
    assert len(bytes_of) == 2
    with Image.open(folder / "training.png") as image:
        image.load()


@pytest.mark.slow
def test_a_seed_alone_comes_to_the_same(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    alone = tmp_path_factory.mktemp("alone") / "run"
    with quick_programs(tmp_path_factory.mktemp("programs")):
        meta_train(plugin, replace(CONFIG, seed=9), alone)
    assert len({(run / "objective.safetensors").read_bytes() for run in (alone, folder / "seed-9")}) == 1


@pytest.mark.slow
def test_seeds_share_what_is_traced() -> None:
    trainer = make_trainer(plugin, CONFIG, devices=1)
    other = trainer.seeded(9)
    assert other.config == replace(CONFIG, seed=9) and trainer.config == CONFIG
    assert other.run_chunk is trainer.run_chunk
    own = make_trainer(plugin, replace(CONFIG, seed=9), devices=1)
    assert jax.tree.all(jax.tree.map(jax.numpy.array_equal, other.init().eta, own.init().eta))


def test_worlds_that_are_drawn_from_the_seed_are_the_seeds_own() -> None:
    config = replace(CONFIG, distribution="grid/small_layouts", worlds=3)
    trainer = make_trainer(plugin, config, devices=1)
    other = reseeded(plugin, trainer, 9)
    assert other.config == replace(config, seed=9) and other.run_chunk is not trainer.run_chunk
    own = make_trainer(plugin, other.config, devices=1)

    def pools(one: MetaTrainer) -> list[jax.Array]:
        return [jax.random.key_data(family.pool) for family in one.families]

    assert jax.tree.all(jax.tree.map(jax.numpy.array_equal, pools(other), pools(own)))
    assert not jax.tree.all(jax.tree.map(jax.numpy.array_equal, pools(other), pools(trainer)))


@pytest.mark.slow
def test_the_folder_is_one_contestant(folder: Path) -> None:
    suite = make_suite("grid/small_layouts")
    (named, other) = find_contestants([str(folder), f"twice={folder},{folder / 'seed-9'}"], suite).contestants
    assert named.name == "mine" and [method.name for method in named.methods] == ["mine 1", "mine 2"]
    assert other.name == "twice" and len(other.methods) == 3


@pytest.mark.slow
def test_what_is_there_is_gone_on_with_only_if_asked(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    before = {run: (run / "objective.safetensors").stat().st_mtime_ns for run in runs_of(folder)}
    with pytest.raises(UserError, match="seed-9: holds a run; pass --resume"):
        sweep(plugin, CONFIG, folder, (9, 11))
    assert len(runs_of(folder)) == 2
    with quick_programs(tmp_path_factory.mktemp("programs")):
        sweep(plugin, CONFIG, folder, (9, 11), resume=True)
    assert [run.name for run in runs_of(folder)] == ["seed-9", "seed-10", "seed-11"]
    assert (folder / "seed-10" / "objective.safetensors").stat().st_mtime_ns == before[folder / "seed-10"]
    assert seeds_of(runs_of(folder)) == (9, 10, 11)  # which the command goes on with where none are named
    with pytest.raises(UserError, match="holds a run, not runs of several seeds"):
        sweep(plugin, CONFIG, folder / "seed-9", (1,))


@pytest.mark.parametrize(
    ("words", "seeds"), [(["0", "2", "1"], (0, 2, 1)), (["0..3"], (0, 1, 2, 3)), (["7", "3..4"], (7, 3, 4)), ([], ())]
)
def test_seeds_are_numbers_or_ranges(words: list[str], seeds: tuple[int, ...]) -> None:
    assert parse_seeds(words) == seeds


@pytest.mark.parametrize("words", [["a"], ["-1"], ["3..1"], ["0..100000"], ["1", "0..2"], ["1."], ["9" * 11], ["²"]])
def test_other_words_are_refused(words: list[str]) -> None:
    with pytest.raises(UserError, match="seeds: "):
        parse_seeds(words)


def test_only_what_all_seeds_have_is_drawn(tmp_path: Path) -> None:
    one = [{"step": 1, "reward": 0.5, "kl": 1.0}, {"step": 2, "reward": 0.7}]
    two = [{"step": 1, "reward": 0.3}, {"step": 3, "reward": 0.9}]
    seeds_curve(tmp_path / "a.png", [one, two], ["reward", "kl"])
    with pytest.raises(UserError, match=r"none of \['kl'\] holds numbers in all 2 runs"):
        seeds_curve(tmp_path / "b.png", [one, two], ["kl"])
