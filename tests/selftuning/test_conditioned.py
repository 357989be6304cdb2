"""Agents whose networks are told the numbers of their rule, in float64."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.conditioned import ConditionedAgent, conditioned
from metaobj.common.agents.network import NetworkAgent
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.lifetimes.population import make_families
from metaobj.common.meta.objectives import Last, meta_loss
from metaobj.common.meta.online import META_LEARNING_RATE
from metaobj.common.rules.bounded import Bounded
from metaobj.selftuning.frodo import Frodo
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.methods import ONLINE, OnlineMethod
from metaobj.selftuning.recent import RecentRewards
from metaobj.selftuning.rule import Numbers, SelfTuning
from tests.selftuning.lives import META_RATE, B, T, born, family_of

pytestmark = pytest.mark.usefixtures("float64")
CONFIG = AgentConfig("dense", (4,), (), "rmsprop", apart=("value",))
# Values are constant to gradients, and are not to move.
RULE = SelfTuning(Numbers(value_weight=Bounded(0.0, tuned=False)), Outer(0.8, 1.0, 0.0, 0.03, critic="outer"))
EMBEDDING = 3


@pytest.fixture(scope="module")
def family(float64):
    return family_of(RULE, CONFIG, conditioned(RULE, EMBEDDING))


@pytest.fixture(scope="module")
def lifetime(family):
    return born(family)


@pytest.fixture(scope="module")
def batch(family, lifetime):
    return jax.jit(family.program.act)(lifetime)[1]


def moved(rule=RULE, step=0.7):
    return jax.tree.map(lambda leaf: leaf + step, rule.init(jax.random.key(0)))


def weights_of(params, change):
    """Parameters with `change(name, torso)` in the place of each torso."""
    torsos = {name: change(name, torso) for name, torso in params["network"]["params"].items()}
    return {**params, "network": {"params": torsos}}


def test_it_is_told_how_far_each_tuned_number_has_moved(family, lifetime, batch):
    rule = replace(RULE, auxiliary=1)
    eta = rule.init(jax.random.key(0))
    np.testing.assert_array_equal(rule.summary(eta, ()), np.zeros(4))  # discount and lambda of two heads
    eta["discount"] += jnp.asarray([0.5, -2.0])
    eta["entropy_weight"] += 1.0  # is not tuned
    np.testing.assert_allclose(rule.summary(eta, ()), [0.5, -2.0, 0.0, 0.0], atol=1e-12)
    after = jax.jit(family.program.learn, static_argnums=0)(RULE, moved(), lifetime, batch)[0]
    np.testing.assert_allclose(after.learner.params["told"], [0.7, 0.7], rtol=1e-12)
    by_guide = jax.jit(family.program.learn, static_argnums=0)(RULE.guide, (), after, batch)[0]
    np.testing.assert_array_equal(by_guide.learner.params["told"], after.learner.params["told"])


def test_it_is_told_what_is_in_force():
    """Of an entropy weight that follows recent rewards, with what they have added."""
    rule = RecentRewards(replace(RULE.inner, entropy_weight=Bounded(0.05)), rollouts=2, units=3)
    eta = {**rule.init(jax.random.key(0)), "output": jnp.ones(3)}
    memory = jnp.asarray([0.3, -1.0])
    weight = Bounded(0.05).value(Bounded(0.05).unconstrained + rule.summary(eta, memory)[-1])
    np.testing.assert_allclose(weight, rule.values(rule.in_force(eta, memory))["entropy_weight"][0], rtol=1e-12)
    assert abs(weight - 0.05) > 1e-3


@pytest.mark.parametrize("torso", ["dense", "conv"])
def test_values_and_policies_move_with_what_it_is_told(torso):
    shape = (2,) if torso == "dense" else (3, 3, 2)
    agent = ConditionedAgent(shape, (("policy", 2), ("value", 1)), replace(CONFIG, torso=torso, channels=(2,)), 2, 3)
    params = agent.init(jax.random.key(0)).params
    states = jax.random.normal(jax.random.key(1), (5, 3, *shape))
    untold = agent.apply(params, states)
    told = agent.apply({**params, "told": jnp.asarray([1.0, -0.5])}, states)
    assert all(np.abs(told[head] - untold[head]).max() > 1e-4 for head in ("policy", "value"))


def test_without_an_embedding_it_is_the_unconditioned(family, lifetime, batch):
    """The same heads and, but for the embedding itself, the same update, whatever it is told."""

    def mute(name, torso):
        return {**torso, "embedding": jax.tree.map(jnp.zeros_like, torso["embedding"])}

    def plain(name, torso):
        first = torso["Dense_0"]
        kept = {**torso, "Dense_0": {**first, "kernel": first["kernel"][:-EMBEDDING]}}
        return {part: leaf for part, leaf in kept.items() if part != "embedding"}

    params = weights_of(lifetime.learner.params, mute)
    agent, usual = family.program.agent, family_of(RULE, CONFIG).program.agent
    assert type(usual) is NetworkAgent
    afters = []
    for one, start in ((agent, params), (usual, weights_of(params, plain)["network"])):
        learner = replace(lifetime.learner, params=start, optimiser=one.optimiser.init(start))
        heads = one.apply(start, batch.rollout.observation)
        afters.append((heads, jax.jit(one.learn, static_argnums=1)(learner, RULE, moved(), batch)[0].params))
    (heads, after), (usual_heads, usual_after) = afters
    after = weights_of(after, plain)["network"]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9), (heads, after), (usual_heads, usual_after))
    assert any(
        (a != b).any() for a, b in zip(*map(jax.tree.leaves, (after, params)), strict=False) if a.shape == b.shape
    )


@pytest.mark.slow
def test_the_embedding_is_learnt(family, lifetime, batch):
    """Down the agent's loss, by its slope; there is none where nothing is told."""
    agent, params = family.program.agent, lifetime.learner.params
    params = {**params, "told": jnp.asarray([0.7, -0.4])}
    apply = jax.jit(agent.apply)
    targets = RULE.targets(moved(), *(apply(params, at) for at in batch.rollout[0::5]), batch)[0]
    assert batch.rollout._fields[0::5] == ("observation", "next_observation")
    torso, part = "HeadedNetwork_0", jnp.zeros((2, EMBEDDING)).at[1, 2].set(1.0)

    def loss(params):
        return RULE.loss(agent.apply(params, batch.rollout.observation), targets, batch)

    def stepped(size):
        kernel = params["network"]["params"][torso]["embedding"]["kernel"]
        changed = {"embedding": {"kernel": kernel + size * part}}
        return weights_of(params, lambda name, at: {**at, **changed} if name == torso else at)

    slope = jax.jit(jax.grad(loss))(params)
    wanted = (loss(stepped(1e-5)) - loss(stepped(-1e-5))) / 2e-5
    np.testing.assert_allclose(slope["network"]["params"][torso]["embedding"]["kernel"][1, 2], wanted, rtol=1e-6)
    assert wanted != 0 and (slope["told"] == 0).all()
    untold = jax.jit(jax.grad(loss))({**params, "told": jnp.zeros(2)})
    assert (untold["network"]["params"][torso]["embedding"]["kernel"] == 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MG-conditioned", "BMG-outer-conditioned"])
def test_an_agent_is_told_what_it_has_tuned(name):
    """At each update what eta came to by the one before."""
    method = ONLINE[name]
    entry = Entry("tests.worlds:OBSERVED_RING", num_environments=B, agent=replace(CONFIG, optimiser="adam"))
    family = make_families([entry], method.programs(T))[0]
    rates = {"learning_rate": jnp.asarray(0.01), META_LEARNING_RATE: jnp.asarray(META_RATE)}
    birth = Birth(family.draw_params(jax.random.key(1)), rates, 50)
    lifetime = jax.jit(family.program.start)(jax.random.key(2), birth)
    update = jax.jit(lambda life: family.program.update(None, (), life)[0])
    for _ in range(3):
        known, lifetime = method.rule.summary(lifetime.eta, ()), update(lifetime)
        np.testing.assert_allclose(lifetime.inner.learner.params["told"], known, rtol=1e-12)
    assert (known != 0).all() and lifetime.restarts == 0


class Telling(SelfTuning):
    """Tells what it is told to tell: differences of eta are not to change it."""

    def summary(self, weights, memory):
        return jnp.asarray([0.7, -0.4])


@pytest.mark.slow
@pytest.mark.parametrize("updates", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_the_meta_gradient_does_not_go_through_what_is_told(family, lifetime, updates):
    """It is the finite difference in eta with the same numbers told."""
    telling, eta = Telling(RULE.inner, RULE.outer), RULE.init(jax.random.key(0))
    eta = {**eta, "discount": eta["discount"] + 0.7, "lambda_": eta["lambda_"] - 0.4}

    def loss(rule, eta):
        return meta_loss(Last(), family.program, rule, updates, eta, lifetime, jnp.int32(0))[0]

    value, gradient = jax.jit(jax.value_and_grad(partial(loss, RULE)))(eta)
    still = jax.jit(partial(loss, telling))
    np.testing.assert_allclose(still(eta), value, rtol=1e-12)
    for name in ("discount", "lambda_"):
        above, below = (still({**eta, name: eta[name] + step}) for step in (1e-5, -1e-5))
        np.testing.assert_allclose(gradient[name][0], (above - below) / 2e-5, rtol=1e-6, atol=1e-11)
        assert gradient[name][0] != 0


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: conditioned(RULE, -1), "embedding: -1 given; must be at least 1"),
        (lambda: conditioned(RULE, 1.5), "embedding: 1.5 given; must be at least 1"),
        (lambda: conditioned(Frodo(), 16), "embedding: 16 given; Frodo has no numbers that agents could be told"),
        (
            lambda: conditioned(replace(RULE, inner=Numbers(Bounded(0.9, tuned=False), Bounded(0.9, tuned=False))), 16),
            "embedding: 16 given; SelfTuning tunes none of its numbers",
        ),
        (
            lambda: make_families([Entry("tests.worlds:RING")], ONLINE["MG-conditioned"].programs(T)),
            "embedding: 16 given; tabular agents cannot be told numbers, networks can",
        ),
        (lambda: OnlineMethod("FRODO", Frodo()).conditioned().programs(T), "embedding: 16 given; Frodo has no numbers"),
    ],
)
def test_what_cannot_be_is_told(make, says):
    with pytest.raises(UserError, match=says):
        make()
