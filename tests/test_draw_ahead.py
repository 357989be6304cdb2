"""Noise drawn before the loop is the noise that would have been drawn within it."""

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.registry import make_environment
from metaobj.common.experience.draw_ahead import split_off_noise


def noisy(key: jax.Array, state: dict[str, jax.Array], scale: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    first, second = jax.random.split(key)
    position = state["position"] + scale * jax.random.normal(first, (3,))
    rank = jax.random.permutation(second, jnp.arange(3))
    return {"position": position[rank]}, jax.random.uniform(second) * 2.0


def test_same_results_with_the_noise_taken_out() -> None:
    key, other = jax.random.split(jax.random.key(0))
    state = {"position": jnp.arange(3.0)}
    noise, rest = split_off_noise(noisy, other, state, jnp.float32(0.0))
    for a, b in zip(
        jax.tree.leaves(rest(noise(key), state, jnp.float32(0.5))),
        jax.tree.leaves(noisy(key, state, jnp.float32(0.5))),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_no_generator_is_left_in_the_rest() -> None:
    key = jax.random.key(0)
    state = {"position": jnp.arange(3.0)}
    noise, rest = split_off_noise(noisy, key, state, jnp.float32(0.5))
    text = str(jax.make_jaxpr(rest)(noise(key), state, jnp.float32(0.5)))
    assert "threefry" not in text and "random_bits" not in text and "random_split" not in text


def test_an_environment_without_noise_keeps_its_step() -> None:
    environment, spec = make_environment("control/point_mass")
    key = jax.random.key(1)
    params = environment.sample_params(key, spec)
    _, state = environment.reset(key, params)
    noise, rest = split_off_noise(environment.step, key, state, jnp.zeros(2), params)
    assert noise(key) == []
    for a, b in zip(
        jax.tree.leaves(rest(noise(key), state, jnp.ones(2), params)),
        jax.tree.leaves(environment.step(key, state, jnp.ones(2), params)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)
