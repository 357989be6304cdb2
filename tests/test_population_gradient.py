"""The meta-gradient of a population, of lifetimes whose gradients are known: chunks, clipping, failures."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from metaobj.common.lifetimes.population import Family
from metaobj.common.meta.adams import first_adams
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.gradient import meta_gradient

pytestmark = pytest.mark.usefixtures("float64")
L = 6


@struct.dataclass
class Life:
    target: jax.Array
    updates: jax.Array
    learnt: Any = ()


class Bowl:
    """A program whose lifetimes learn eta, and want it at their target: the loss is half the squared distance."""

    def begin_trial(self, rule: Any, inner_updates: int, eta: Any, lifetime: Life, step: jax.Array) -> Any:
        return lifetime.replace(learnt=jax.tree.map(jnp.zeros_like, eta)), {}

    def gather(self, trial: Life) -> Any:
        return trial, (), {}

    def learn(self, rule: Any, weights: Any, trial: Life, batch: Any) -> Any:
        return trial.replace(updates=trial.updates + 1, learnt=weights), {}

    def judge(self, rule: Any, trial: Life, batch: Any, updates: Any, target: Any = None) -> Any:
        return 0.5 * jnp.sum((trial.learnt["w"] - trial.target) ** 2) + 0.0 * trial.learnt["b"], {}

    def end_trial(self, trial: Life) -> Life:
        return trial.replace(learnt=())


def family() -> Family:
    return Family(Bowl(), (0,), (), np.array([9]), np.zeros(L, int))


@pytest.mark.parametrize("chunk", [1, 2, 4, 32])
@pytest.mark.parametrize("clip", [0.0, 6.0])
def test_it_is_the_sum_of_the_clipped_gradients_whatever_the_chunks(chunk: int, clip: float) -> None:
    """4 does not divide 6, and is cut to 3."""
    targets = jax.random.normal(jax.random.key(0), (L, 5)) * jnp.arange(1.0, L + 1)[:, None]
    eta = {"w": jnp.linspace(-1.0, 1.0, 5), "b": jnp.zeros(())}
    config = MetaTrainingConfig(inner_updates=3, chunk=chunk, lifetime_gradient_clip=clip)
    live = jax.jit(partial(meta_gradient, None, family(), config))
    total, after, _, metrics = live(eta, Life(targets, jnp.arange(L)), jnp.int32(0))
    gradients = np.asarray(eta["w"]) - np.asarray(targets)
    norms = np.linalg.norm(gradients, axis=1)
    scales = np.minimum(1, clip / norms) if clip else np.ones(L)
    assert clip == 0 or 0 < (scales < 1).sum() < L
    np.testing.assert_allclose(total["w"], scales @ gradients, rtol=1e-13)
    np.testing.assert_allclose(metrics["gradient_norm"], norms, rtol=1e-13)
    np.testing.assert_array_equal(metrics["clipped"], scales < 1)
    np.testing.assert_array_equal(after.updates, np.arange(L) + 3)
    assert metrics["finite"].all()


@pytest.mark.parametrize("chunk", [1, 3])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_lifetime_that_is_not_finite_is_left_out_alone(chunk: int, bad: float) -> None:
    targets = jnp.ones((L, 2)).at[2, 1].set(bad)
    config = MetaTrainingConfig(chunk=chunk)
    eta = {"w": jnp.zeros(2), "b": jnp.zeros(())}
    total, _, _, metrics = jax.jit(partial(meta_gradient, None, family(), config))(
        eta, Life(targets, jnp.arange(L)), jnp.int32(0)
    )
    np.testing.assert_array_equal(metrics["finite"], np.arange(L) != 2)
    np.testing.assert_allclose(total["w"], -5 * 0.1 / np.sqrt(2) * np.ones(2), rtol=1e-12)


def test_each_lifetime_may_have_an_adam_of_its_own() -> None:
    """Three steps by hand. In the second one lifetime is not finite: it brings nothing, its Adam stays as it was."""
    targets = jax.random.normal(jax.random.key(0), (L, 5)) * jnp.arange(1.0, L + 1)[:, None]
    eta = {"w": jnp.linspace(-1.0, 1.0, 5), "b": jnp.zeros(())}
    config = MetaTrainingConfig(inner_updates=3, chunk=3, lifetime_gradient_clip=6.0, lifetime_adam=True)
    live = jax.jit(partial(meta_gradient, None, family(), config))
    adams, ages = first_adams(eta, L), jnp.arange(L)
    first, second, used = np.zeros((L, 5)), np.zeros((L, 5)), np.zeros((L, 1))
    for broken in (None, 2, None):
        now = targets if broken is None else targets.at[broken, 0].set(jnp.nan)
        total, _, adams, metrics = live(eta, Life(now, ages), jnp.int32(0), adams)
        gradients = np.asarray(eta["w"]) - np.asarray(targets)
        gradients *= np.minimum(1, 6.0 / np.linalg.norm(gradients, axis=1))[:, None]
        lives = (np.arange(L) != broken)[:, None]
        np.testing.assert_array_equal(metrics["finite"], lives[:, 0])
        first = np.where(lives, 0.9 * first + 0.1 * gradients, first)
        second = np.where(lives, 0.999 * second + 0.001 * gradients**2, second)
        used += lives
        steps = first / (1 - 0.9**used) / (np.sqrt(second / (1 - 0.999**used)) + 1e-8)
        np.testing.assert_allclose(total["w"], np.sum(steps * lives, 0), rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(adams.mu["w"], first, rtol=1e-12)
        np.testing.assert_allclose(adams.nu["w"], second, rtol=1e-12)
        np.testing.assert_array_equal(adams.count, used[:, 0])
        eta = {**eta, "w": eta["w"] - 0.1 * total["w"] / L}
