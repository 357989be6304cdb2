"""What objectives say of agents, rollouts and values that do not fit, in one line."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import metaobj
from metaobj.common.errors import UserError

T, B = 3, 2


def lpg_rollout(**other: Any) -> metaobj.Rollout:
    none = jnp.zeros((T, B), bool)
    parts = dict(
        observation=jnp.zeros((T, B, 4)),
        action=jnp.zeros((T, B), int),
        reward=jnp.ones((T, B)),
        terminated=none,
        truncated=none,
        next_observation=jnp.zeros((T, B, 4)),
    )
    return metaobj.Rollout(**{**parts, **other})


@pytest.fixture(scope="module")
def lpg() -> Any:
    return metaobj.load("pretrained:lpg-tabular")


@pytest.fixture(scope="module")
def metagenrl() -> Any:
    return metaobj.load("pretrained:metagenrl-demo")


@pytest.mark.parametrize(
    ("other", "line"),
    [
        ({"reward": jnp.ones(T)}, "rollout: reward is [3]; must be [T, B], steps first, with B = 1 of"),
        ({"terminated": jnp.zeros((B, T), bool)}, "rollout: terminated is [2, 3]; must be [3, 2], as reward is"),
        ({"observation": jnp.zeros((B, T, 4))}, "rollout: observation is [2, 3, 4]; must be [3, 2, ...], as reward is"),
        ({"action": jnp.zeros((T, B))}, "rollout: action is float32; must be whole numbers"),
        ({"action": jnp.zeros((T, B, 1), int)}, "rollout: action is [3, 2, 1]; must be [3, 2], as reward is"),
        ({"truncated": jnp.zeros((T, B))}, "rollout: truncated is float32; must be bool"),
    ],
)
def test_a_rollout_that_does_not_fit(lpg: Any, other: dict, line: str) -> None:
    heads = {name: jnp.zeros((T, B, size)) for name, size in lpg.heads(2).items()}
    calls: list[Callable[[Any], Any]] = [
        lambda rollout: lpg.targets(heads, heads, rollout),
        lambda rollout: lpg.gradient(lambda params, x: heads, {}, rollout),
        lambda rollout: jax.jit(lambda rollout: lpg.targets(heads, heads, rollout))(rollout),
    ]
    for call in calls:
        with pytest.raises(UserError) as error:
            call(lpg_rollout(**other))
        assert line in str(error.value)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda heads: {"policy": heads["policy"]}, "apply: gives policy; the head prediction is missing"),
        (lambda heads: {}, "apply: gives nothing; the head policy is missing"),
        (lambda heads: heads["policy"], "must be a dictionary with policy, prediction"),
        (lambda heads: {**heads, "prediction": heads["policy"]}, "apply: the head prediction is [3, 2, 2]; must be [3"),
        (lambda heads: {**heads, "policy": heads["policy"][0]}, "head policy is [2, 2]; must be [3, 2, number of act"),
    ],
)
def test_an_agent_that_does_not_fit(lpg: Any, change: Callable, line: str) -> None:
    heads = {name: jnp.zeros((T, B, size)) for name, size in lpg.heads(2).items()}
    with pytest.raises(UserError) as error:
        lpg.gradient(lambda params, x: change(heads), {}, lpg_rollout())
    assert line in str(error.value)


def test_values_that_do_not_fit() -> None:
    objective = metaobj.load("pretrained:lpg-value-cpu")
    heads = {name: jnp.zeros((T, B, size)) for name, size in objective.heads(2).items()}
    with pytest.raises(UserError, match=r"V\(s_\{t\+1\}\): \[3\] given; must be \[3, 2\], as reward is"):
        objective.targets(heads, heads, lpg_rollout(), values=(jnp.zeros((T, B)), jnp.zeros(T)))


def test_a_loss_for_continuous_actions_says_it_too(metagenrl: Any) -> None:
    values = jnp.zeros((T, B))
    with pytest.raises(UserError, match="rollout: action is int32; must be floats"):
        metagenrl.loss(values, lpg_rollout(), values, values)
    fits = lpg_rollout(action=jnp.zeros((T, B, 1)))
    with pytest.raises(UserError, match=r"actions: \[3, 2\] given; must be \[3, 2, 1\], as the rollout's are"):
        metagenrl.loss(values, fits, values, values)
    with pytest.raises(UserError, match=r"next_values: \[3, 2, 1\] given; must be \[3, 2\]"):
        metagenrl.loss(fits.action, fits, values, values[..., None])
    assert metagenrl.loss(fits.action, fits, values, values).shape == ()


def test_what_is_loaded_is_told_in_a_line(lpg: Any, metagenrl: Any) -> None:
    assert repr(lpg) == "<LPG of 5450 weights, 1600 meta-updates>"
    assert repr(metagenrl).startswith("<MetaGenRL of ") and len(repr(metagenrl)) < 80
    assert repr(metaobj.load("pretrained:disco103")).startswith("<Disco of ")
