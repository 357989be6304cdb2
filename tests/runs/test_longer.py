"""Runs that are made longer."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.train import Outcome
from tests.runs.cases import TINY, rows, told


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["cosine", pytest.param("constant", marks=pytest.mark.slow)])
def test_a_finished_run_is_made_longer(schedule: Any, straight: Path, tmp_path: Path) -> None:
    """By its last checkpoint; with a learning rate that stays it is the run that was longer from the start."""
    folder = tmp_path / "run"
    short = replace(TINY, schedule=schedule)
    if schedule == "cosine":
        shutil.copytree(straight, folder)
    else:
        told(folder, short)
    outcome, text = told(folder, replace(short, meta_updates=8), resume=True)
    assert outcome == Outcome(True, 8, folder / "objective.safetensors") and "resumed from step 5" in text
    assert [row["step"] for row in rows(folder)] == [1, 2, 3, 4, 5, 6, 7, 8]
    found = load_objective(folder).metadata
    extended = {"at": 5, "from": 5, "to": 8, "date": "2026-01-01"}
    assert found["provenance"]["extended"] == [extended] and found["meta_updates"] == 8
    if schedule == "cosine":
        assert "8 meta-updates instead of 5: the cosine of the learning rate is that of a run of 8 from here on" in text
        assert "at step 5 is at 0.00031; it was at 0" in text
    else:
        assert "8 meta-updates instead of 5\n" in text
        told(tmp_path / "long", replace(short, meta_updates=8))
        jax.tree.map(np.testing.assert_array_equal, load_objective(folder).eta, load_objective(tmp_path / "long").eta)
    with pytest.raises(UserError, match="meta_updates: 6 given; the run has come to 8, give that or more"):
        told(folder, replace(short, meta_updates=6), resume=True)
    assert json.loads((folder / "config.json").read_text())["config"]["meta_updates"] == 8
    assert told(folder, replace(short, meta_updates=8), resume=True)[0].finished
    assert load_objective(folder).metadata["provenance"]["extended"] == [extended]
