"""What would broadcast is refused: a step against every other step, a batch against another."""

import jax
import jax.numpy as jnp
import pytest

from metaobj.common.experience import replay
from metaobj.common.experience.batches import Batch, Experience
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.experience.windows import mean_valid
from metaobj.common.rules.handwritten import A2C, clipped_surrogate
from metaobj.common.types import Rollout
from metaobj.lpg.objective import LPG, LPGConfig
from metaobj.metagenrl.objective import MetaGenRL, MetaGenRLConfig

pytestmark = pytest.mark.usefixtures("quick_compilation")

T, B = 4, 3
ZEROS = jnp.zeros((T, B))
NONE = jnp.zeros((T, B), bool)
INDEX = jnp.zeros((T, B), jnp.int32)
ROLLOUT = Rollout(INDEX, INDEX, ZEROS, NONE, NONE, INDEX)
ONE = jnp.ones(())
BATCH = Batch(ROLLOUT, ZEROS, ZEROS, ZEROS, ONE, ZEROS, {"entropy_weight": 0.0}, ONE, ONE, ONE)
WRONG = [jnp.zeros((T, B, 1)), jnp.zeros((T, 1)), jnp.zeros(B), jnp.zeros((B, T))]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_values_of_other_shapes(wrong: jax.Array) -> None:
    with pytest.raises(AssertionError):
        lambda_returns(ROLLOUT, wrong, 0.9, 0.9)
    with pytest.raises(AssertionError):
        mean_valid(wrong, NONE)
    with pytest.raises(AssertionError):
        A2C().loss({"policy": jnp.zeros((T, B, 2))}, wrong, BATCH)
    with pytest.raises(AssertionError):
        clipped_surrogate(wrong, ZEROS)


def test_a_discount_per_step_is_no_discount() -> None:
    with pytest.raises(AssertionError):
        lambda_returns(ROLLOUT, ZEROS, jnp.ones(B), 0.9)


def test_heads_of_another_objective() -> None:
    objective = LPG(LPGConfig(units=2, prediction_size=5))
    weights = objective.init(jax.random.key(0))
    heads = {"policy": jnp.zeros((T, B, 2)), "prediction": jnp.zeros((T, B, 5))}
    objective.targets(weights, heads, heads, BATCH)
    for wrong in (jnp.zeros((T, B, 4)), jnp.zeros((T, 5)), jnp.zeros((B, T, 5))):
        with pytest.raises(AssertionError):
            objective.targets(weights, heads, {**heads, "prediction": wrong}, BATCH)


@pytest.mark.parametrize("field", ["action", "reward", "valid", "values", "next_values"])
def test_windows_whose_parts_differ(field: str) -> None:
    objective = MetaGenRL(MetaGenRLConfig(units=2))
    weights = objective.init(jax.random.key(0))
    actions = jnp.zeros((T, B, 2))
    known = Experience(actions, ZEROS, ~NONE, ZEROS, ZEROS, jnp.ones(()))
    objective.outputs(weights, actions, known)
    with pytest.raises(AssertionError):
        objective.outputs(weights, actions, known._replace(**{field: getattr(known, field)[:, :1]}))


def test_a_rollout_of_other_columns_is_not_written_into_a_replay() -> None:
    ring = replay.empty(ROLLOUT, 2 * T)
    with pytest.raises(AssertionError):
        replay.add(ring, jax.tree.map(lambda leaf: leaf[:, :2], ROLLOUT))
    with pytest.raises(AssertionError):
        replay.empty(ROLLOUT, T + 1)
