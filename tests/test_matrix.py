"""Training families by test families, end to end and small."""

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import DISTRIBUTIONS, Entry
from metaobj.common.objectives import matrix
from metaobj.common.objectives.matrix import MatrixCell, Sizes, suite_of, train_and_test
from metaobj.common.objectives.train import Outcome, meta_train
from metaobj.common.pictures.heat_map import heat_map
from metaobj.common.pictures.style import wrapped
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.objective import LPGConfig
from metaobj.lpg.plugin import plugin
from tests.quick import quick_programs

CONFIG = LPGTraining(
    meta_updates=2,
    log_every=1,
    checkpoint_every=1,
    inner_updates=1,
    rollout_steps=2,
    network=LPGConfig(units=4, prediction_size=2, embedding_units=2),
    kl_weights=(0.5,),
)
FAMILIES = ("tiny-rings", "tiny-pairs")


@pytest.fixture(scope="module", autouse=True)
def families(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    DISTRIBUTIONS["tiny-rings"] = (Entry("tests.worlds:LESSON", 2, 1, 30, (40.0,)),)
    DISTRIBUTIONS["tiny-pairs"] = (Entry("tests.worlds:PAIR", 2, 1, 30, (40.0,)),)
    with quick_programs(tmp_path_factory.mktemp("programs")):
        yield
    for name in FAMILIES:
        del DISTRIBUTIONS[name]


@pytest.mark.slow
def test_every_objective_on_every_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("metaobj.common.objectives.train.draw", lambda trainer, run, charts: None)
    sizes = Sizes(seeds=2, tuning_seeds=2, steps=30 * 2 * 16)
    cells = train_and_test(plugin, CONFIG, FAMILIES, tmp_path, sizes)
    names = (*FAMILIES, "A2C")
    assert [(cell.trained_on, cell.tested_on) for cell in cells] == [(row, on) for on in FAMILIES for row in names]
    assert all(cell.final_low <= cell.final <= cell.final_high and cell.seeds == 2 for cell in cells)
    with open(tmp_path / "matrix.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 6
    with Image.open(tmp_path / "matrix.png") as image:
        image.load()
    trained: list[str] = []

    def counted(*arguments: Any, **options: Any) -> Outcome:
        trained.append("")
        return meta_train(*arguments, **options)

    monkeypatch.setattr(matrix, "meta_train", counted)
    assert train_and_test(plugin, CONFIG, FAMILIES, tmp_path, sizes) == cells, "it goes on where it was"


def test_the_same_budget_asks_for_two_families(tmp_path: Path) -> None:
    for families in ((), ("tiny-rings",), ("tiny-rings", "tiny-rings")):
        with pytest.raises(UserError, match="families: .* given; must be two or more, all different"):
            train_and_test(plugin, CONFIG, families, tmp_path, Sizes())
    with pytest.raises(UserError, match="distribution: 'moon' is unknown"):
        train_and_test(plugin, replace(CONFIG), ("tiny-rings", "moon"), tmp_path, Sizes())
    assert not any(tmp_path.iterdir())


def test_a_family_is_tested_on_its_environments() -> None:
    assert suite_of("small-mix", plugin) == "grid/small_layouts+chain/short"
    assert suite_of("tiny-rings+tiny-pairs", plugin) == "tests.worlds:LESSON+tests.worlds:PAIR"


def test_returns_are_not_told_as_scores() -> None:
    """Nor coloured as such."""
    cells = [MatrixCell("a", on, measure, 0.5, 0.4, 0.6, 1, 2) for on, measure in (("a", "score"), ("b", "return"))]
    assert matrix._heads(cells, ("a", "b")) == ["a", "b (returns)"]


def test_the_picture_of_a_matrix(tmp_path: Path) -> None:
    values = np.array([[0.1, 0.9], [np.nan, 1.2]])
    words = ("rows", "columns")
    heat_map(
        tmp_path / "a.png", values, np.stack([values - 0.1, values + 0.1]), values, "ab", "cd", "title", "how", *words
    )
    with Image.open(tmp_path / "a.png") as image:
        assert image.width > 600
    with pytest.raises(ValueError, match="values: shape"):
        heat_map(tmp_path / "b.png", values, values, values, "ab", "cd", "title", "how", *words)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("grid/random_small_worlds", ["grid/random_", "small_worlds"]),
        ("small-layouts", ["small-layouts"]),
        ("the mean over tasks", ["the mean over", "tasks"]),
        ("Umbrellachainoflength", ["Umbrellachainoflength"]),
        ("", [""]),
    ],
)
def test_names_are_broken_where_they_have_parts(text: str, lines: list[str]) -> None:
    assert wrapped(text, 14).split("\n") == lines


def test_the_table_of_five_families_fits_a_terminal() -> None:
    names = ("small-layouts", "grid/random_small_worlds", "grid/survive", "grid/negative", "chain/long")
    cells = [MatrixCell(row, on, "score", -0.789, -1.536, 0.376, 1, 16) for on in names for row in (*names, "A2C")]
    with (console := Console(width=80)).capture() as told:
        console.print(matrix._table(cells, (*names, "A2C"), names))
    assert "…" not in told.get() and told.get().count("-0.789") == len(cells)
