"""Drifts as formulas: what is known is found again, by slopes alone."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from metaobj.common.errors import UserError
from metaobj.common.objectives.loading import load_objective
from metaobj.common.rules.handwritten import clipped_surrogate, dpo_surrogate
from metaobj.lpo.formulas import FORMS, TERMS, Samples, drift_of, fit, slope_of, slopes_of_terms
from metaobj.lpo.interface import LoadedLPO
from tests.lpo.cases import saved

SAMPLES = Samples(samples=4000)


def wanted_of(surrogate, ratio, advantage):
    return jax.vmap(jax.grad(lambda r, a: surrogate(jnp.log(r), a) + r * a))(ratio, advantage)


@pytest.fixture(scope="module")
def points():
    return SAMPLES.draw()


@pytest.mark.slow
def test_dpo_is_found_again_from_its_slopes(points):
    found = fit(wanted_of(dpo_surrogate, *points), *points, terms=3)
    best, by_name = found[0], {one.name: one for one in found}
    assert best.name == "DPO's form" and best.r2 > 0.99
    np.testing.assert_allclose(list(best.parameters.values()), [2.0, 0.6], rtol=0.01)
    assert [one.r2 for one in found] == sorted((one.r2 for one in found), reverse=True)
    assert by_name["PPO's clip"].r2 < best.r2


@pytest.mark.slow
def test_ppo_is_found_again_from_its_slopes(points):
    found = {one.name: one for one in fit(wanted_of(clipped_surrogate, *points), *points, terms=2)}
    assert found["PPO's clip"].r2 > 0.99 and found["DPO's form"].r2 < 0.9
    np.testing.assert_allclose(found["PPO's clip"].parameters["eps"], 0.2, rtol=0.02)
    total = found["sum of 2"]
    assert total.r2 > 0.99 and set(total.parameters) == {"relu(A) * relu(r - 1 - 0.2)", "relu(-A) * relu(1 - r - 0.2)"}
    np.testing.assert_allclose(list(total.parameters.values()), 1.0, rtol=0.01)


def test_the_forms_are_those_of_the_written_rules(points):
    ratio, advantage = points
    for form, surrogate, values in zip(
        FORMS, (clipped_surrogate, dpo_surrogate), ({"eps": 0.3}, {"alpha": 1.0, "beta": 0.5}), strict=True
    ):
        mine = drift_of(form.expression, tuple(form.bounds))(ratio, advantage, *values.values())
        theirs = surrogate(jnp.log(ratio), advantage, *values.values()) + ratio * advantage
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_every_term_is_a_drift(points):
    """Nowhere negative, and flat where policies agree."""
    _, advantage = points
    here = jnp.ones_like(advantage)
    for term in TERMS:
        np.testing.assert_allclose(drift_of(term)(here, advantage), 0.0, err_msg=term)
        assert (drift_of(term)(*points) >= 0).all(), term
    np.testing.assert_allclose(slopes_of_terms(here, advantage), 0.0, atol=1e-7)


def test_what_is_flat_everywhere_is_no_formula(points):
    with pytest.raises(UserError, match="the same everywhere on the samples"):
        fit(jnp.zeros(SAMPLES.samples), *points, terms=2)


@pytest.mark.slow
def test_what_is_printed_is_what_was_fitted(tmp_path: Path):
    """The best formula, as NumPy would read it."""
    loaded = saved(tmp_path)
    made = loaded.plugin.distil.run(loaded, SAMPLES, tmp_path, Console(quiet=True))
    assert [path.name for path in made.files] == ["formulas.csv", "formula.json"]
    record = json.loads((tmp_path / "formula.json").read_text())
    assert made.verdict[-1] == f"f = {record['expression']}" and 0.5 < record["r2"] <= 1
    ratio, advantage = map(np.asarray, SAMPLES.draw())
    words = {"log": np.log, "tanh": np.tanh, "relu": lambda x: np.maximum(x, 0), "clip": np.clip, "where": np.where}
    there = eval(record["expression"], {**words, "r": ratio, "A": advantage})
    np.testing.assert_allclose(there, drift_of(record["expression"])(ratio, advantage), rtol=1e-3, atol=1e-5)
    wanted = wanted_of(LoadedLPO.of(loaded).loss, ratio, advantage)
    error = slope_of(record["expression"])(ratio, advantage) - wanted
    assert record["r2"] == pytest.approx(float(1 - np.mean(error**2) / np.var(wanted)), abs=1e-4)
    assert (tmp_path / "formulas.csv").read_text().count("\n") == 4


def test_the_formula_among_the_results_is_of_the_objective_there():
    results = Path(__file__).parents[2] / "experiments" / "results" / "lpo"
    record = json.loads((results / "distilled" / "formula.json").read_text())
    assert load_objective(results / "objective.safetensors").metadata["digest"] == record["of"]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"samples": 3}, "samples: 3 given; must be at least 10"),
        ({"spread": 0.0}, "spread: 0.0 given; must be greater than 0"),
        ({"terms": 0}, "terms: 0 given; must be at least 1"),
        ({"seed": -1}, "seed: -1 given; must be at least 0"),
    ],
)
def test_samples_that_cannot_be_are_told(changes, says):
    with pytest.raises(UserError, match=says):
        Samples(**changes)
