"""How matrix products of meta-updates are taken, and what stands in for it on a CPU."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.core import jaxprs_in_params
from jax.lax import DotAlgorithmPreset, Precision

from experiments.precision import BITS, rounded_products
from metaobj.common.errors import UserError
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.trainer import check_precision
from metaobj.common.objectives.plugin import get_plugin
from metaobj.common.objectives.train import make_trainer

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


@pytest.mark.parametrize("bits", [BITS["TF32"], BITS["bfloat16"]])
def test_products_of_rounded_numbers_and_their_gradients(bits):
    """Also of what a loop does, and of gradients of gradients."""
    x, w = jax.random.normal(jax.random.key(0), (4, 8)), jax.random.normal(jax.random.key(1), (8, 8))

    def rounded(numbers):
        mantissa, exponent = np.frexp(np.asarray(numbers, np.float64))
        return np.ldexp(np.round(mantissa * 2 ** (bits + 1)) / 2 ** (bits + 1), exponent)

    with rounded_products(bits):
        product = x @ w
        back = jax.grad(lambda x: jnp.sum((x @ w) * jnp.cos(w[:4])))(x)
        looped = jax.lax.scan(lambda h, _: (h @ w, None), x, None, length=1)[0]
        equations = [*products_in(jax.make_jaxpr(jax.hessian(lambda x: jnp.sum(jnp.tanh(x @ w))))(x).jaxpr)]
    np.testing.assert_allclose(product, rounded(x) @ rounded(w), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(back, rounded(rounded(jnp.cos(w[:4])) @ rounded(w).T), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(product, looped)
    assert np.abs(np.asarray(product) - np.asarray(x, np.float64) @ np.asarray(w, np.float64)).max() > 1e-5
    assert len(equations) >= 3
    np.testing.assert_allclose(x @ w, np.asarray(x, np.float64) @ np.asarray(w, np.float64), rtol=1e-5, atol=1e-5)
