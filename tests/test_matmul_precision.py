"""How matrix products of meta-updates are taken, and what stands in for it on a CPU."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.lax import DotAlgorithmPreset, Precision

from experiments.precision import BITS, rounded_products
from metaobj.common.errors import UserError
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.lifetimes.population import make_families
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.trainer import check_precision
from metaobj.common.objectives import file
from metaobj.common.objectives.contestants import find_contestants
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import get_plugin
from metaobj.common.objectives.train import make_trainer
from metaobj.lpg.smaller import Frozen
from metaobj.lpg.teaching import trainer_of

HIGHEST = (Precision.HIGHEST, Precision.HIGHEST)


def products_in(jaxpr):
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from products_in(inner)


@pytest.mark.parametrize(
    ("asked", "precision"),
    [("default", None), ("highest", HIGHEST), ("bfloat16", DotAlgorithmPreset.BF16_BF16_F32)],
)
def test_all_products_are_taken_as_asked(asked, precision):
    plugin = get_plugin("lpg")
    trainer = make_trainer(plugin, plugin.presets["smoke"], 1)
    state = jax.eval_shape(trainer.first, jax.random.key(0))
    # Past the check of the backend: no CPU compiles it, any traces it.
    trainer = replace(trainer, config=replace(trainer.config, matmul_precision=asked))
    found = [equation.params for equation in products_in(trainer.run_chunk.trace(state).jaxpr.jaxpr)]
    assert len(found) > 20
    assert {params["precision"] for params in found} == {precision}
    assert {params["preferred_element_type"] for params in found} == {np.dtype("float32")}


def test_a_cpu_takes_no_bfloat16():
    config = MetaTrainingConfig(matmul_precision="bfloat16")
    with pytest.raises(UserError, match="^matmul_precision: bfloat16 given; a CPU takes float32 alone"):
        check_precision(config, "cpu")
    check_precision(config, "gpu")
    plugin = get_plugin("lpg")
    with pytest.raises(UserError, match="^matmul_precision: bfloat16 given"):
        make_trainer(plugin, replace(plugin.presets["smoke"], matmul_precision="bfloat16"))


def test_an_objective_that_was_trained_so_is_of_use_on_a_cpu(tmp_path):
    arrays, metadata = file.load("pretrained:lpg-tabular")
    about = {key: value for key, value in metadata.items() if key not in ("digest", "format_version")}
    about["configuration"] = {**about["configuration"], "matmul_precision": "bfloat16"}
    file.save(tmp_path / "objective.safetensors", file.unflatten(arrays), about)
    loaded = load_objective(tmp_path / "objective.safetensors")
    assert loaded.config.matmul_precision == "bfloat16"
    suite = make_suite("held-out-layouts")
    (contestant,) = find_contestants([str(tmp_path / "objective.safetensors")], suite).contestants
    assert make_families(suite, contestant.methods[0].programs)
    student = trainer_of(Frozen(loaded.objective, loaded.eta), loaded.config, loaded.entries, 1)
    assert student.config.matmul_precision == "default"


def rounded(numbers, bits):
    mantissa, exponent = np.frexp(np.asarray(numbers, np.float64))
    return np.ldexp(np.round(mantissa * 2 ** (bits + 1)) / 2 ** (bits + 1), exponent)


@pytest.mark.parametrize("bits", [BITS["TF32"], BITS["bfloat16"]])
def test_products_of_rounded_numbers_by_hand(bits):
    """In float64, of operands that are rounded and of nothing else that is: a product, by whatever name, what a loop
    does, and a gradient.
    """
    x, w = jax.random.normal(jax.random.key(0), (4, 8)), jax.random.normal(jax.random.key(1), (8, 8))
    with rounded_products(bits):
        products = [x @ w, jnp.einsum("ij,jk->ik", x, w), jax.jit(lambda: x @ w)()]
        products.append(jax.lax.scan(lambda h, _: (h @ w, None), x, None, length=1)[0])
        back = jax.grad(lambda x: jnp.sum((x @ w) * jnp.cos(w[:4])))(x)
    for product in products:
        np.testing.assert_allclose(product, rounded(x, bits) @ rounded(w, bits), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(back, rounded(jnp.cos(w[:4]), bits) @ rounded(w, bits).T, rtol=1e-5, atol=1e-5)
    exact = np.asarray(x, np.float64) @ np.asarray(w, np.float64)
    assert np.abs(products[0] - exact).max() > 1e-4
    np.testing.assert_allclose(x @ w, exact, rtol=1e-5, atol=1e-5)


def test_all_products_of_a_meta_update_are_of_rounded_numbers():
    plugin = get_plugin("lpg")
    trainer = make_trainer(plugin, plugin.presets["smoke"], 1)
    traced = trainer.run_chunk.trace(jax.eval_shape(trainer.first, jax.random.key(0)))
    with rounded_products(7):
        text = traced.lower().as_text()
    made, sides = {}, []  # a name is another's in the next function
    for line in text.splitlines():
        if (product := re.search(r"stablehlo\.dot_general (%\w+), (%\w+)", line)) is not None:
            sides.append({made[side] for side in product.groups()})
        if (operation := re.match(r"\s*(%\w+)(?::\d+)? = \"?([\w.]+)", line)) is not None:
            made[operation[1]] = operation[2]
    assert len(sides) > 20 and all(of == {"stablehlo.reduce_precision"} for of in sides)
    assert text.count("m7") == 2 * len(sides), "nothing else is rounded"
