"""One inner update: its direction by hand, and what the targets may depend on."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.agent import Learner, kl_divergence
from metaobj.common.agents.tabular import TabularAgent
from metaobj.common.experience.batches import Batch
from metaobj.common.types import Rollout
from metaobj.lpg.meta_loss import MetaLossConfig, meta_loss
from metaobj.lpg.objective import LPG, LPGConfig

pytestmark = pytest.mark.usefixtures("float64")
OBJECTIVE = LPG(LPGConfig(units=5, prediction_size=4, embedding_units=8))
RATE, KL_WEIGHT = 2.0, 0.7


def make_batch(rollout):
    shape = rollout.reward.shape
    return Batch(
        rollout=rollout,
        values=jnp.zeros(shape),
        next_values=jnp.zeros(shape),
        advantages=jnp.ones(shape),
        advantage_size=jnp.ones(()),
        rewards_to_go=jnp.ones(shape),
        hyperparameters={"learning_rate": jnp.asarray(RATE), "kl_weight": jnp.asarray(KL_WEIGHT)},
        discount=jnp.asarray(0.9),
        progress=jnp.asarray(0.5),
        log_length=jnp.asarray(3.0),
    )


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


class GivenTargets:
    """LPG's loss with targets from outside."""

    loss = OBJECTIVE.loss

    def __init__(self, pi_hat, log_y_hat):
        self.given = (pi_hat, log_y_hat)

    def targets(self, weights, heads, next_heads, batch):
        return self.given, {}


def test_the_update_is_the_formula():
    """Two states, two actions: lr * mean over T x B of [grad log pi(a|s) pi_hat - alpha_y grad KL(y || y_hat)]."""
    rng = np.random.default_rng(0)
    T, B, m = 3, 2, 4
    observation, action = np.array([[0, 1], [0, 0], [1, 0]]), np.array([[1, 0], [1, 1], [0, 0]])
    tables = {"policy": rng.normal(size=(2, 2)), "prediction": rng.normal(size=(2, m))}
    pi_hat, y_hat = rng.normal(size=(T, B)), softmax(rng.normal(size=(T, B, m)))

    expected = {name: table.copy() for name, table in tables.items()}
    for t in range(T):
        for b in range(B):
            s = observation[t, b]
            pi, y = softmax(tables["policy"][s]), softmax(tables["prediction"][s])
            log_ratio = np.log(y) - np.log(y_hat[t, b])
            expected["policy"][s] += RATE * (np.eye(2)[action[t, b]] - pi) * pi_hat[t, b] / (T * B)
            expected["prediction"][s] -= RATE * KL_WEIGHT * y * (log_ratio - y @ log_ratio) / (T * B)

    none = jnp.zeros((T, B), bool)
    rollout = Rollout(jnp.asarray(observation), jnp.asarray(action), jnp.zeros((T, B)), none, none, observation)
    rollout = rollout._replace(next_observation=jnp.asarray(rollout.next_observation))
    agent = TabularAgent(2, (("policy", 2), ("prediction", m)))
    learner = Learner(jax.tree.map(jnp.asarray, tables), ())
    rule = GivenTargets(jnp.asarray(pi_hat), jnp.log(y_hat))
    updated = agent.learn(learner, rule, {}, make_batch(rollout))[0].params
    for name in tables:
        assert np.abs(expected[name] - tables[name]).min() > 1e-3
        np.testing.assert_allclose(updated[name], expected[name], rtol=1e-12)


def test_kl_has_the_agents_prediction_first():
    y, y_hat = jnp.array([0.5, 0.4999, 0.0001]), jnp.array([0.98, 0.01, 0.01])
    by_hand = 0.5 * np.log(0.5 / 0.98) + 0.4999 * np.log(0.4999 / 0.01) + 0.0001 * np.log(0.0001 / 0.01)
    np.testing.assert_allclose(kl_divergence(jnp.log(y), jnp.log(y_hat)), by_hand, rtol=1e-12)
    # What the agent descends is KL(y || y_hat) in y, whose gradient is not that of KL(y_hat || y), which is y - y_hat.
    none = jnp.zeros((1, 1), bool)
    rollout = Rollout(jnp.zeros((1, 1), int), jnp.zeros((1, 1), int), jnp.zeros((1, 1)), none, none, none)

    def loss(logits):
        heads = {"policy": jnp.zeros((1, 1, 2)), "prediction": logits[None, None]}
        return OBJECTIVE.loss(heads, (jnp.zeros((1, 1)), jnp.log(y_hat)[None, None]), make_batch(rollout))

    gradient = jax.grad(loss)(jnp.log(y)) / KL_WEIGHT
    np.testing.assert_allclose(gradient, y * (jnp.log(y / y_hat) - by_hand), rtol=1e-9)
    assert float(jnp.abs(gradient - (y - y_hat)).max()) > 0.1


T, B = 6, 2
TERMINATED, TRUNCATED = (2, 0), (3, 1)


@pytest.fixture(scope="module")
def case(float64):
    """(weights, heads, next heads, batch); environment 0 terminates at step 2, environment 1 is truncated at 3."""
    keys = jax.random.split(jax.random.key(0), 5)
    weights = jax.tree.map(lambda w: 2 * w + 0.1, jax.jit(OBJECTIVE.init)(keys[0]))

    def heads(key):
        return {"policy": jax.random.normal(key, (T, B, 2)), "prediction": 2 * jax.random.normal(key, (T, B, 4))}

    none = jnp.zeros((T, B), bool)
    index = jnp.zeros((T, B), int)
    reward = jax.random.normal(keys[3], (T, B))
    rollout = Rollout(index, index, reward, none.at[TERMINATED].set(True), none.at[TRUNCATED].set(True), index)
    return weights, heads(keys[1]), heads(keys[2]), make_batch(rollout)


@jax.jit
def targets(weights, heads, next_heads, batch):
    return jnp.concatenate([t.reshape(T, B, -1) for t in OBJECTIVE.targets(weights, heads, next_heads, batch)[0]], -1)


def moved(before, after):
    """Which steps' targets differ, [T, B]."""
    return np.asarray(jnp.abs(after - before).max(-1) > 1e-12)


def with_rollout(batch, **changes):
    return batch._replace(rollout=batch.rollout._replace(**changes))


@pytest.mark.parametrize(("end", "environment"), [TERMINATED, TRUNCATED])
def test_steps_after_an_end_do_not_influence_targets_before_it(case, end, environment):
    weights, heads, next_heads, batch = case
    before = targets(*case)
    changed = jax.tree.map(lambda x: x.at[end + 1 :, environment].add(0.5), (heads, next_heads, batch.rollout.reward))
    after = targets(weights, changed[0], changed[1], with_rollout(batch, reward=changed[2]))
    expected = np.zeros((T, B), bool)
    expected[end + 1 :, environment] = True
    np.testing.assert_array_equal(moved(before, after), expected)


def test_within_an_episode_later_steps_do(case):
    weights, heads, next_heads, batch = case
    none = jnp.zeros((T, B), bool)
    batch = with_rollout(batch, terminated=none, truncated=none)
    after = with_rollout(batch, reward=batch.rollout.reward.at[-1, 0].add(1.0))
    expected = np.zeros((T, B), bool)
    expected[:, 0] = True
    before = targets(weights, heads, next_heads, batch)
    np.testing.assert_array_equal(moved(before, targets(weights, heads, next_heads, after)), expected)


def test_the_next_prediction_is_not_read_at_a_termination(case):
    weights, heads, next_heads, batch = case
    gradient = jax.jit(jax.grad(lambda n: jnp.sum(targets(weights, heads, n, batch) ** 2)))(next_heads)
    read = np.array(jnp.any(gradient["prediction"] != 0, -1))
    assert not read[TERMINATED]
    read[TERMINATED] = True
    assert read.all()  # everywhere else it is, at the truncation and the rollout's last step too
    after = {**next_heads, "prediction": next_heads["prediction"].at[TERMINATED].add(5.0 * jnp.arange(4))}
    assert not moved(targets(*case), targets(weights, heads, after, batch)).any()


def test_the_true_last_observation_is_read_at_a_truncation(case):
    weights, heads, next_heads, batch = case
    after = {**next_heads, "prediction": next_heads["prediction"].at[TRUNCATED].add(jnp.arange(4.0))}
    expected = np.zeros((T, B), bool)
    expected[: TRUNCATED[0] + 1, TRUNCATED[1]] = True
    np.testing.assert_array_equal(moved(targets(*case), targets(weights, heads, after, batch)), expected)


def test_terminations_are_told_and_truncations_are_not(case):
    """d_t: a truncated step looks like any other, apart from the cut; a terminated one does not."""
    weights, heads, next_heads, batch = case
    last = with_rollout(batch, truncated=batch.rollout.truncated.at[-1].set(True))  # nothing follows the last step
    assert not moved(targets(*case), targets(weights, heads, next_heads, last)).any()
    blind = LPG(LPGConfig(units=5, prediction_size=4, embedding_units=8, bootstrap=False))
    targets_of_blind = jax.jit(lambda batch: blind.targets(weights, heads, next_heads, batch)[0][0])
    before = targets_of_blind(batch)
    ended = with_rollout(batch, terminated=batch.rollout.terminated.at[-1, 0].set(True))
    after = targets_of_blind(ended)
    assert abs(float(after[-1, 0] - before[-1, 0])) > 1e-6 and after[-1, 1] == before[-1, 1]


def test_targets_are_constants_for_the_agent(case):
    """The targets see pi(a|s) and y(s), but the agent's gradient is that of the loss at fixed targets."""
    weights, _, _, batch = case
    index = jnp.arange(T * B).reshape(T, B) % 3
    batch = with_rollout(batch, observation=index, next_observation=(index + 1) % 3)
    agent = TabularAgent(3, (("policy", 2), ("prediction", 4)))
    keys = jax.random.split(jax.random.key(1))
    params = {"policy": jax.random.normal(keys[0], (3, 2)), "prediction": jax.random.normal(keys[1], (3, 4))}
    heads = agent.apply(params, index), agent.apply(params, (index + 1) % 3)
    target = jax.jit(OBJECTIVE.targets)(weights, *heads, batch)[0]

    def learn(rule):
        return jax.jit(lambda params: agent.learn(Learner(params, ()), rule, weights, batch)[0].params)(params)

    ours, fixed = learn(OBJECTIVE), learn(GivenTargets(*target))
    for name in params:
        np.testing.assert_allclose(ours[name], fixed[name], rtol=1e-12)


def test_shapes_that_would_broadcast_are_refused(case):
    """(T, B) against (T, B, 1), or (T,) against (T, 1), would silently make a matrix of every step with every other."""
    _, heads, _, batch = case
    updates = {"pi_hat_squared": jnp.zeros(()), "y_hat_squared": jnp.zeros(())}
    loss, _ = meta_loss(MetaLossConfig(), heads, batch, updates)
    assert loss.shape == ()
    one = jax.tree.map(lambda x: x[:, :1], (heads, batch.rollout))
    single = batch._replace(rollout=one[1])
    for given, wrong in ((batch, jnp.ones((T, B, 1))), (batch, jnp.ones((T, 1))), (single, jnp.ones(T))):
        for field, config in (("advantages", MetaLossConfig()), ("rewards_to_go", MetaLossConfig(use_value=False))):
            with pytest.raises(AssertionError):
                meta_loss(config, one[0] if given is single else heads, given._replace(**{field: wrong}), updates)
    target = (jnp.zeros((T, B, 1)), jnp.zeros((T, B, 4)))
    with pytest.raises(AssertionError):
        OBJECTIVE.loss(heads, target, batch)


def test_the_meta_loss_is_the_formula(case):
    _, heads, _, batch = case
    config = MetaLossConfig(policy_entropy=0.3, prediction_entropy=0.2, policy_target=0.1, prediction_target=0.4)
    advantages = jnp.arange(T * B, dtype=float).reshape(T, B) - 3
    updates = {"pi_hat_squared": jnp.asarray(2.0), "y_hat_squared": jnp.asarray(0.5)}
    loss, _ = meta_loss(config, heads, batch._replace(advantages=advantages), updates)
    pi, y = softmax(np.asarray(heads["policy"])), softmax(np.asarray(heads["prediction"]))
    gain = (np.log(pi[..., 0]) * np.asarray(advantages)).mean()  # every action is 0
    gain += 0.3 * -(pi * np.log(pi)).sum(-1).mean() + 0.2 * -(y * np.log(y)).sum(-1).mean()
    np.testing.assert_allclose(loss, -(gain - 0.1 * 2.0 - 0.4 * 0.5), rtol=1e-12)


def test_before_meta_training_value_inputs_leave_the_advantage(case):
    """And once the network speaks, it does so in units of the advantages, whatever unit rewards are paid in."""
    objective = LPG(LPGConfig(units=5, prediction_size=4, embedding_units=8, value_inputs=True))
    weights = objective.init(jax.random.key(3))
    _, heads, next_heads, batch = case
    random = jax.random.normal(jax.random.key(4), (3, T, B))
    batch = batch._replace(advantages=random[0], values=random[1], next_values=random[2])
    say = jax.jit(lambda weights, batch: objective.targets(weights, heads, next_heads, batch)[0][0])
    np.testing.assert_array_equal(say(weights, batch), batch.advantages)
    weights["policy"]["kernel"] = jax.random.normal(jax.random.key(5), (5, 1))
    answer = say(weights, batch)
    assert float(jnp.abs(answer - batch.advantages).max()) > 0.1
    in_cents = {name: 100 * getattr(batch, name) for name in ("advantages", "values", "next_values", "advantage_size")}
    in_cents = with_rollout(batch, reward=100 * batch.rollout.reward)._replace(**in_cents)
    np.testing.assert_allclose(say(weights, in_cents), 100 * answer, rtol=1e-9)
    for name in ("advantages", "values", "next_values"):
        changed = batch._replace(**{name: getattr(batch, name) + 1.0})
        assert not np.allclose(say(weights, changed) - changed.advantages, answer - batch.advantages), name
