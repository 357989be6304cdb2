import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.networks.lstm import backward_lstm, init_lstm

pytestmark = pytest.mark.usefixtures("float64")
T, B, D, H = 5, 3, 4, 5


def plain_lstm(weights, x, keep):
    """The definition, step by step."""
    hidden = cell = jnp.zeros((x.shape[1], weights["recurrent"].shape[0]), x.dtype)
    outputs = []
    for t in reversed(range(x.shape[0])):
        hidden, cell = keep[t][:, None] * hidden, keep[t][:, None] * cell
        gates = x[t] @ weights["input"] + hidden @ weights["recurrent"] + weights["bias"]
        i, f, o, g = jnp.split(gates, 4, -1)
        cell = jax.nn.sigmoid(f) * cell + jax.nn.sigmoid(i) * jnp.tanh(g)
        hidden = jax.nn.sigmoid(o) * jnp.tanh(cell)
        outputs.insert(0, hidden)
    return jnp.stack(outputs)


@pytest.fixture(scope="module")
def case(float64):
    keys = jax.random.split(jax.random.key(0), 4)
    weights = init_lstm(keys[0], D, H)
    weights["bias"] += 0.3 * jax.random.normal(keys[1], weights["bias"].shape)
    x = jax.random.normal(keys[2], (2, T, B, D))
    keep = jnp.ones((2, T, B)).at[0, 2, 1].set(0).at[0, 4, 0].set(0).at[1, 0, 2].set(0).at[1, 1, 2].set(0)
    return weights, x, keep, jax.random.normal(keys[3], (2, T, B, H))


def close(ours, plain):
    assert jax.tree.structure(ours) == jax.tree.structure(plain)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(plain), strict=True):
        assert a.dtype == jnp.float64
        assert jnp.any(b != 0)
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_values_are_the_definitions(case):
    weights, x, keep, _ = case
    close(backward_lstm(weights, x[0], keep[0]), plain_lstm(weights, x[0], keep[0]))


@pytest.mark.parametrize("cuts", [True, False])
def test_reverse_pass_equals_autodiff(case, cuts):
    weights, x, keep, cotangent = case
    keep = keep[0] if cuts else jnp.ones_like(keep[0])

    def products(lstm):
        return jax.jit(jax.grad(lambda w, x: jnp.sum(lstm(w, x, keep) * cotangent[0]), argnums=(0, 1)))(weights, x[0])

    close(products(backward_lstm), products(plain_lstm))


def test_reverse_pass_under_vmap_with_shared_weights(case):
    """Several lifetimes read with the same weights, and the weights' gradients add up."""
    weights, x, keep, cotangent = case

    def products(lstm):
        def loss(weights, x):
            return jnp.sum(jax.vmap(lstm, (None, 0, 0))(weights, x, keep) * cotangent)

        return jax.jit(jax.grad(loss, argnums=(0, 1)))(weights, x)

    close(products(backward_lstm), products(plain_lstm))


def test_a_cut_stops_what_comes_after(case):
    weights, x, keep, _ = case
    later = x[0].at[3:, 1].add(1.0)  # environment 1 is cut at step 2
    before, after = backward_lstm(weights, x[0], keep[0]), backward_lstm(weights, later, keep[0])
    np.testing.assert_array_equal(before[:3, 1], after[:3, 1])
    assert np.all(np.abs(before[3:, 1] - after[3:, 1]).max(-1) > 1e-3)
    uncut = jnp.ones_like(keep[0])
    moved = backward_lstm(weights, later, uncut) - backward_lstm(weights, x[0], uncut)
    assert np.all(np.abs(moved[:3, 1]).max(-1) > 1e-4)


def test_the_forget_gate_starts_open():
    bias = init_lstm(jax.random.key(0), D, H)["bias"].reshape(4, H)
    np.testing.assert_array_equal(bias, np.array([0.0, 1.0, 0.0, 0.0])[:, None].repeat(H, 1))
