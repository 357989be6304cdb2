import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.devices import make_mesh
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.on_policy import on_policy
from metaobj.common.lifetimes.population import make_families, sampler_grids
from metaobj.common.lifetimes.sampler import SamplerConfig, make_sampler
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.rules.handwritten import A2C

pytestmark = pytest.mark.usefixtures("quick_compilation")
CONFIG = SamplerConfig(window=3, bonus=0.2, temperature=0.1)
GRIDS = [
    {"learning_rate": (1.0, 2.0), "kl_weight": (0.1, 0.5)},
    {"learning_rate": (8.0,), "kl_weight": (0.1, 0.5, 0.9)},
]
SAMPLER = make_sampler(GRIDS, CONFIG)


def softmax(scores):
    e = np.exp(np.array(scores) - max(scores))
    return e / e.sum()


def report(state, *reports, sampler=SAMPLER):
    """Record (environment, setting, return), one by one."""
    for environment, setting, value in reports:
        state = sampler.update(state, environment, setting, jnp.asarray(value))
    return state


def test_settings_are_the_grids_products_padded():
    values, valid = SAMPLER.table
    np.testing.assert_array_equal(valid, [[1, 1, 1, 1], [1, 1, 1, 0]])
    np.testing.assert_allclose(values["learning_rate"][0], [1, 1, 2, 2])
    np.testing.assert_allclose(values["kl_weight"][0], [0.1, 0.5, 0.1, 0.5])
    np.testing.assert_allclose(values["learning_rate"][1, :3], 8)
    np.testing.assert_allclose(values["kl_weight"][1, :3], [0.1, 0.5, 0.9])


def test_before_any_report_all_settings_are_equally_likely():
    np.testing.assert_allclose(SAMPLER.probabilities(SAMPLER.init()), [[0.25] * 4, [1 / 3] * 3 + [0.0]], rtol=1e-6)


def test_probabilities_are_the_formula():
    """Returns from -4 to 6 are mapped to 0 and 1; setting 3 is untried and counts as the best."""
    state = report(SAMPLER.init(), (0, 0, -4.0), (0, 0, 1.0), (0, 1, 6.0), (0, 2, 3.5), (0, 2, 4.5), (0, 2, 2.5))
    scores = [0.25 + 0.2 / np.sqrt(2), 1.0 + 0.2, 0.75 + 0.2 / np.sqrt(3), 1.0 + 0.2]
    probabilities = SAMPLER.probabilities(state)
    np.testing.assert_allclose(probabilities[0], softmax(np.array(scores) / 0.1), rtol=1e-4)
    np.testing.assert_allclose(probabilities[1], [1 / 3] * 3 + [0], rtol=1e-6)  # another environment's business


def test_the_scale_of_returns_does_not_matter():
    reports = [(0, 0, 1.0), (0, 1, 3.0), (0, 2, 2.0)]
    plain = SAMPLER.probabilities(report(SAMPLER.init(), *reports))
    scaled = SAMPLER.probabilities(report(SAMPLER.init(), *((e, s, 1000 * r - 7) for e, s, r in reports)))
    np.testing.assert_allclose(plain, scaled, rtol=1e-3)
    assert np.ptp(plain[0]) > 0.1


def test_the_window_forgets_the_oldest_return():
    state = report(SAMPLER.init(), (0, 1, 0.0), (0, 1, 10.0), *((0, 0, r) for r in (10.0, 1.0, 2.0, 3.0, 4.0)))
    np.testing.assert_array_equal(np.sort(state.returns[0, 0]), [2, 3, 4])
    assert (int(state.trials[0, 0]), float(state.low[0]), float(state.high[0])) == (5, 0, 10)
    scores = [0.3 + 0.2 / np.sqrt(5), 0.5 + 0.2 / np.sqrt(2), 1.2, 1.2]
    np.testing.assert_allclose(SAMPLER.probabilities(state)[0], softmax(np.array(scores) / 0.1), rtol=1e-4)


def test_all_reports_of_a_meta_update_are_recorded_in_order():
    environments, settings = jnp.array([0, 1, 0, 0, 1]), jnp.array([1, 2, 1, 1, 0])
    returns, ended = jnp.array([1.0, 2.0, 3.0, 4.0, 5.0]), jnp.array([True, False, True, True, True])
    together = SAMPLER.update_all(SAMPLER.init(), environments, settings, returns, ended)
    jax.tree.map(
        np.testing.assert_array_equal,
        together,
        report(SAMPLER.init(), (0, 1, 1.0), (0, 1, 3.0), (0, 1, 4.0), (1, 0, 5.0)),
    )
    nobody = SAMPLER.update_all(SAMPLER.init(), environments, settings, returns, jnp.zeros(5, bool))
    jax.tree.map(np.testing.assert_array_equal, nobody, SAMPLER.init())


def test_samples_follow_the_probabilities_and_are_never_padding():
    state = report(SAMPLER.init(), (1, 0, 0.0), (1, 1, 1.0), (1, 2, 0.9))
    keys = jax.random.split(jax.random.key(0), 4000)
    setting, values = jax.vmap(lambda key: SAMPLER.sample(key, state, jnp.int32(1)))(keys)
    frequency = np.bincount(setting, minlength=4) / 4000
    np.testing.assert_allclose(frequency, SAMPLER.probabilities(state)[1], atol=4 * 0.5 / np.sqrt(4000))
    assert frequency[3] == 0
    np.testing.assert_allclose(values["kl_weight"], np.array([0.1, 0.5, 0.9], np.float32)[setting])
    assert np.all(values["learning_rate"] == 8)


def test_one_setting_leaves_nothing_to_choose():
    sampler = make_sampler([{"learning_rate": (3.0,)}], CONFIG)
    state = sampler.init()
    for value in (5.0, 5.0, -1.0):
        np.testing.assert_array_equal(sampler.probabilities(state), [[1.0]])
        setting, values = sampler.sample(jax.random.key(0), state, jnp.int32(0))
        assert (int(setting), float(values["learning_rate"])) == (0, 3.0)
        state = report(state, (0, 0, value), sampler=sampler)
    assert sampler.best(state) == [{"learning_rate": 3.0}]


def test_best_is_the_most_probable_setting():
    state = report(
        SAMPLER.init(), *((0, s, r) for s, r in enumerate((0.0, 1.0, 9.0, 2.0))), *((1, s, s) for s in range(3))
    )
    assert SAMPLER.best(state) == [{"learning_rate": 2.0, "kl_weight": 0.1}, {"learning_rate": 8.0, "kl_weight": 0.9}]


@pytest.mark.parametrize("values", [(), (-1.0,), (1.0, float("nan")), (float("inf"),)])
def test_bad_grids_are_named(values):
    with pytest.raises(UserError, match=r"hyperparameters\.learning_rate: .*finite values"):
        make_sampler([{"learning_rate": values}], CONFIG)


def test_all_environments_need_the_same_names():
    with pytest.raises(UserError, match="every environment needs .*learning_rate.*kl_weight"):
        make_sampler([GRIDS[0], {"learning_rate": (1.0,)}], CONFIG)


@pytest.mark.parametrize("wrong", [{"window": 0}, {"temperature": 0}, {"bonus": -1}, {"bonus": float("nan")}])
def test_bad_constants_are_named(wrong):
    with pytest.raises(UserError, match=f"sampler.{next(iter(wrong))}: "):
        SamplerConfig(**wrong)


@dataclasses.dataclass(frozen=True)
class ActorCritic(A2C):
    """A hand-written rule in the shape of a learned one: its weight does nothing, so that only the sampler learns."""

    def init(self, key):
        return {"nothing": jnp.zeros(())}

    def targets(self, weights, heads, next_heads, batch):
        return super().targets(weights, heads, next_heads, batch)[0] + weights["nothing"], {}

    def meta_loss(self, heads, next_heads, batch, updates):
        return jnp.mean(heads["policy"]) * 0.0, {}


@pytest.mark.slow
def test_the_sampler_finds_each_familys_learning_rate():
    """One grid for two families: tables need a learning rate at which small networks under Adam fall apart."""
    rates = (1e-5, 0.03, 30.0)
    network = AgentConfig("dense", (16,), (), "adam")
    entries = [
        Entry("tests.worlds:LESSON", 16, 4, 24, rates),
        Entry("tests.worlds:OBSERVED_LESSON", 16, 4, 24, rates, network),
    ]
    config = MetaTrainingConfig(inner_updates=3, rollout_steps=8, meta_updates=120, log_every=120, checkpoint_every=120)
    rule = ActorCritic()
    families = make_families(entries, on_policy(rule, rollout_steps=8, discount=0.9, value=ValueConfig()))
    sampler = make_sampler(sampler_grids(entries, {"entropy_weight": (0.0,)}), config.sampler)
    trainer = MetaTrainer(rule, entries, families, sampler, config, make_mesh([16, 16], 1))
    state, metrics = trainer.run_chunk(trainer.init())
    probabilities = np.asarray(sampler.probabilities(state.sampler))
    assert int(state.sampler.trials.sum()) > 200
    assert [int(row.argmax()) for row in probabilities] == [2, 1], probabilities
    assert probabilities.max(-1).min() > 0.6, probabilities
    assert [best["learning_rate"] for best in sampler.best(state.sampler)] == [30.0, 0.03]
    # And that is worth something: later lifetimes earn more than the first ones.
    reward = np.asarray(metrics["task_reward"])
    assert (reward[-20:].mean(0) > reward[:20].mean(0) + 0.05).all(), reward
