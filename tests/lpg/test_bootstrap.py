"""Through what a learned LPG bootstraps: what a cut rule sees, and which y tells a value."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments.delayed_chain import CHAIN, ChainParams, chain_spec
from metaobj.common.experience.batches import Batch
from metaobj.common.types import Rollout
from metaobj.lpg.bootstrap import chain_values, nearest_predictions, variants
from metaobj.lpg.cut import CHANNELS, Cut
from metaobj.lpg.objective import LPG, LPGConfig

T, B, M, STATES = 5, 2, 3, 4
LAMBDA, DISCOUNT = 0.5, 0.9
PLAIN = LPG(LPGConfig(units=4, prediction_size=M))
WITH_VALUES = LPG(LPGConfig(units=4, prediction_size=M, value_inputs=True))
ALL = dict.fromkeys(CHANNELS.values(), 1.0)
OF_CHANNEL = {"y": ("prediction",), "pi": ("policy",), "V": ("values", "next_values", "advantages")}
RULES = {"y": PLAIN, "pi": PLAIN, "V": WITH_VALUES}


def seen(rule: LPG, sees: dict[str, float], told: float = 0.0) -> tuple[LPG, dict, dict, dict, Batch]:
    """A rule's weights and a batch in which everything is drawn at random."""
    rng = np.random.default_rng(0)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(rng.normal(size=shape), jnp.float32)

    states = jnp.asarray(rng.integers(STATES, size=(2, T, B)))
    eta = jax.tree.map(lambda leaf: draw(*leaf.shape), rule.init(jax.random.key(0)))
    heads, next_heads = ({"policy": draw(T, B, 2), "prediction": draw(T, B, M)} for _ in range(2))
    rollout = Rollout(
        observation=states[0],
        action=jnp.asarray(rng.integers(2, size=(T, B))),
        reward=draw(T, B),
        terminated=jnp.zeros((T, B), bool).at[2, 0].set(True),
        truncated=jnp.zeros((T, B), bool),
        next_observation=states[1],
    )
    batch = Batch(
        rollout=rollout,
        values=draw(T, B),
        next_values=draw(T, B),
        advantages=draw(T, B),
        advantage_size=jnp.float32(0.7),
        rewards_to_go=draw(T, B),
        hyperparameters={**ALL, **sees, "told": told * draw(STATES, M)},
        discount=jnp.float32(DISCOUNT),
        progress=jnp.float32(0.3),
        log_length=jnp.float32(5.0),
    )
    return eta, heads, next_heads, batch


@pytest.mark.slow
@pytest.mark.parametrize("channel", CHANNELS)
def test_what_is_cut_is_not_seen_and_what_is_not_is(channel):
    rule = RULES[channel]

    def slopes(sees: float) -> list[float]:
        """Of all targets together, by what is read through the channel."""
        eta, heads, next_heads, batch = seen(rule, {CHANNELS[channel]: sees})

        def total(heads, next_heads, of_value):
            changed = batch._replace(**dict(zip(OF_CHANNEL["V"], of_value, strict=True)))
            (pi_hat, log_y_hat), _ = Cut(rule, LAMBDA).targets(eta, heads, next_heads, changed)
            return jnp.sum(pi_hat**2) + jnp.sum(log_y_hat**2)

        of_value = tuple(getattr(batch, name) for name in OF_CHANNEL["V"])
        gradients = jax.grad(total, (0, 1, 2))(heads, next_heads, of_value)
        parts = dict(zip(OF_CHANNEL["V"], gradients[2], strict=True))
        for name in ("policy", "prediction"):
            parts[name] = gradients[0][name]
        parts["next prediction"] = gradients[1]["prediction"]
        names = [*OF_CHANNEL[channel], *(["next prediction"] if channel == "y" else [])]
        return [float(jnp.abs(parts[name]).max()) for name in names]

    assert all(slope > 1e-4 for slope in slopes(1.0))
    assert slopes(0.0) == [0.0] * len(slopes(0.0))


@pytest.mark.slow
@pytest.mark.parametrize("rule", [PLAIN, WITH_VALUES])
def test_a_rule_that_sees_everything_is_the_rule(rule):
    eta, heads, next_heads, batch = seen(rule, {})
    same = Cut(rule, LAMBDA).targets(eta, heads, next_heads, batch)
    jax.tree.map(np.testing.assert_array_equal, same, rule.targets(eta, heads, next_heads, batch))


@pytest.mark.slow
def test_what_is_told_stands_in_for_y():
    eta, heads, next_heads, batch = seen(PLAIN, {"sees_prediction": 0.0}, told=1.0)
    told, steps = batch.hyperparameters["told"], batch.rollout
    found, _ = Cut(PLAIN, LAMBDA).targets(eta, heads, next_heads, batch)
    by_hand = ({**old, "prediction": told[at]} for old, at in ((heads, steps.observation), (next_heads, steps[-1])))
    expected, _ = PLAIN.targets(eta, *by_hand, batch)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_without_values_advantages_are_rewards_alone():
    eta, heads, next_heads, batch = seen(WITH_VALUES, {"sees_values": 0.0})
    eta["policy"] = jax.tree.map(jnp.zeros_like, eta["policy"])  # pi_hat is what it sees as the advantage
    (pi_hat, _), _ = Cut(WITH_VALUES, LAMBDA).targets(eta, heads, next_heads, batch)
    reward, expected = np.asarray(batch.rollout.reward), np.zeros((T + 1, B))
    for t in reversed(range(T)):
        goes_on = 1.0 - np.asarray(batch.rollout.terminated[t])
        expected[t] = reward[t] + DISCOUNT * LAMBDA * goes_on * expected[t + 1]
    np.testing.assert_allclose(pi_hat, expected[:T], rtol=1e-5)


def test_values_of_a_chain_worked_out_by_hand():
    params = jax.vmap(CHAIN.sample_params, (0, None))(jax.random.split(jax.random.key(0), 8), chain_spec(CHAIN, 3))
    for values, right in zip(chain_values(params, 9, 0.5), np.asarray(params.correct_action), strict=True):
        sign = 2 * right - 1  # states: the first one, then two by two those of branches 0 and 1
        np.testing.assert_allclose(values, [0.25, -sign * 0.5, sign * 0.5, -sign, sign, 0, 0, 0, 0])
    assert isinstance(params, ChainParams)


def test_y_is_told_as_it_was_learnt_in_states_of_the_same_value():
    poor, rich, other = [3.0, 0.0, 1.0], [0.0, 5.0, 0.0], [0.0, 0.0, 0.0]
    learnt = np.array([[poor] * 20 + [rich] * 20 + [other] * 5], np.float32)
    values = np.array([[-1.0] * 20 + [1.0] * 20 + [0.9] * 5])  # the last five were never visited
    found = nearest_predictions(learnt, values, np.array([[0.9, -0.2]]))
    for said, logits in zip(found[0], (rich, poor), strict=True):
        np.testing.assert_allclose(said, logits - np.log(np.exp(logits).sum()), rtol=1e-5)


def test_all_ways_to_cut_a_rule():
    names = [variant.name for variant in variants(PLAIN)]
    assert names == ["as it is", "y cut", "pi cut", "y and pi cut", "y told"]
    assert len(variants(WITH_VALUES)) == 2**3 + 1
    assert "y and pi and V cut" in [variant.name for variant in variants(WITH_VALUES)]
