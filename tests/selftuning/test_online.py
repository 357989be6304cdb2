"""Self-tuning agents: their meta-gradients in float64, against finite differences and against each other."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.conditioned import conditioned
from metaobj.common.agents.make import make_agent
from metaobj.common.errors import UserError
from metaobj.common.gradients import numbers
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.lifetimes.population import make_families
from metaobj.common.meta.objectives import Bootstrapped, Last, Mixed, meta_loss
from metaobj.common.meta.online import META_LEARNING_RATE, ForwardTrace, Online
from metaobj.common.rules.bounded import Bounded
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.methods import ONLINE
from metaobj.selftuning.rule import Numbers, SelfTuning
from tests.selftuning.lives import META_RATE, RATE, B, T, born, family_of

pytestmark = pytest.mark.usefixtures("float64")
K = 3
TUNED = Bounded(0.3, 0.0, 0.9)
RULE = SelfTuning(
    Numbers(
        discount=Bounded(0.8),
        lambda_=Bounded(0.7),
        policy_weight=TUNED,
        value_weight=Bounded(0.5),
        entropy_weight=Bounded(0.05, 0.0, 0.1),
        leak=Bounded(0.6),
    ),
    Outer(0.8, 1.0, 0.2, 0.03, 0.4),
)
NETWORK = AgentConfig("dense", (4,), (), "rmsprop")


@pytest.fixture(scope="module")
def family(float64):
    return family_of(RULE)


@pytest.fixture(scope="module")
def lifetime(family):
    return born(family)


def gradient_of(objective, program, lifetime, inner_updates=K, rule=RULE):
    eta = rule.init(jax.random.key(0))

    def loss(eta):
        return meta_loss(objective, program, rule, inner_updates, eta, lifetime, jnp.int32(0))[0]

    return eta, loss, jax.jit(jax.value_and_grad(loss))


@pytest.mark.parametrize("updates", [1, K])
def test_it_is_the_finite_difference(lifetime, updates):
    """Of every number, while no sampled action changes; where values do not move, for these are constant to gradients.
    On-policy, truncation does nothing.
    """
    still = replace(RULE.inner, value_weight=Bounded(0.0, tuned=False))
    rule = replace(RULE, inner=still, outer=Outer(0.8, 1.0, 0.0, 0.03, critic="outer"))
    eta, _, both = gradient_of(Last(), family_of(rule).program, lifetime, updates, rule)
    gradient = both(eta)[1]
    for name in eta:
        above, below = (both({**eta, name: eta[name] + step})[0] for step in (1e-5, -1e-5))
        np.testing.assert_allclose(gradient[name][0], (above - below)[()] / 2e-5, rtol=1e-6, atol=1e-10)
        assert (gradient[name][0] != 0) == (name not in ("value_weight", "leak")), name


def test_off_policy_truncation_is_tuned(family, lifetime):
    batch = jax.jit(family.program.act)(lifetime)[1]
    batch = batch._replace(behaviour=jax.nn.log_softmax(jax.random.normal(jax.random.key(0), batch.behaviour.shape)))
    # Outer ratios are constant to gradients; they do not move where the outer loss has no advantages in it.
    rule = replace(RULE, outer=Outer(0.8, 0.0, 0.0, 0.03, 0.4))
    program = family_of(rule).program

    @jax.jit
    def loss(eta):
        return program.judge(rule, program.learn(rule, eta, lifetime, batch)[0], batch, {})[0]

    eta = rule.init(jax.random.key(0))
    above, below = (loss({**eta, "leak": eta["leak"] + step}) for step in (1e-5, -1e-5))
    gradient = jax.grad(loss)(eta)["leak"][0]
    np.testing.assert_allclose(gradient, (above - below)[()] / 2e-5, rtol=1e-6)
    assert gradient != 0


@pytest.mark.slow
def test_a_number_that_is_not_tuned_has_no_gradient(family, lifetime):
    rule = replace(RULE, inner=replace(RULE.inner, discount=Bounded(0.8, tuned=False)))
    eta, _, both = gradient_of(Last(), family.program, lifetime, rule=rule)
    gradient = both(eta)[1]
    assert gradient["discount"] == 0 and gradient["lambda_"] != 0


@pytest.mark.slow
def test_returns_are_differentiated_and_values_are_not(family, lifetime):
    """The classic fault is to stop both."""
    program = family.program
    batch = jax.jit(program.act)(lifetime)[1]
    apply = partial(program.agent.apply, lifetime.learner.params)
    heads, next_heads = apply(batch.rollout.observation), apply(batch.rollout.next_observation)

    def target(eta, heads, next_heads):
        returns, _ = RULE.targets(eta, heads, next_heads, batch)[0]["head"]
        return jnp.sum(returns.values * jnp.arange(T)[:, None]) + jnp.sum(returns.advantages**2)

    of_eta, *of_heads = jax.grad(target, argnums=(0, 1, 2))(RULE.init(jax.random.key(0)), heads, next_heads)
    assert of_eta["discount"] != 0 and of_eta["lambda_"] != 0
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(of_heads))


@pytest.mark.slow
def test_a_mixture_of_the_last_alone_is_the_last(family, lifetime):
    values = [gradient_of(objective, family.program, lifetime)[2] for objective in (Last(), Mixed(0.0))]
    eta = RULE.init(jax.random.key(0))
    for ours, theirs in zip(*(jax.tree.leaves(value(eta)) for value in values), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12)


@pytest.mark.slow
def test_a_mixture_is_the_sum_of_its_parts(family, lifetime):
    """Each of theta_1 .. theta_K by the loss of as many updates, weighed."""
    eta, _, both = gradient_of(Mixed(0.5), family.program, lifetime)
    parts = [gradient_of(Last(), family.program, lifetime, k)[2](eta) for k in range(1, K + 1)]
    weights = np.array([0.25, 0.5, 1.0]) / 1.75
    wanted = jax.tree.map(lambda *leaves: sum(w * leaf for w, leaf in zip(weights, leaves, strict=True)), *parts)
    for ours, theirs in zip(jax.tree.leaves(both(eta)), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10)


@pytest.mark.slow
def test_a_bootstrapped_step_of_gradient_descent_is_the_last(family, lifetime):
    """With L = 1 and the squared distance, alpha times the gradient of the outer loss (Flennerhag et al. 2022)."""
    eta = RULE.init(jax.random.key(0))
    ours = gradient_of(Bootstrapped(1, distance="parameters"), family.program, lifetime)[2](eta)[1]
    theirs = gradient_of(Last(), family.program, lifetime)[2](eta)[1]
    for name in eta:
        np.testing.assert_allclose(ours[name], RATE * theirs[name], rtol=1e-10)


@pytest.mark.parametrize("by", ["guide", pytest.param("rule", marks=pytest.mark.slow)])
def test_a_target_is_where_further_updates_lead(family, lifetime, by):
    """L - 1 by the rule or its guide, one more by the guide, each on what the agent then meets; by hand."""
    program, eta = family.program, RULE.init(jax.random.key(0))
    act, learn = jax.jit(program.act), jax.jit(program.learn, static_argnums=0)
    lived, batch, _ = act(lifetime)
    before, target, seen, shown = jax.jit(
        lambda trial, batch: Bootstrapped(3, by, goes_on="target").target(program, RULE, eta, trial, batch)
    )(lived, batch)
    then, met, rewards = lived, batch, []
    for _ in range(2):
        then = learn(RULE if by == "rule" else RULE.guide, eta if by == "rule" else (), then, met)[0]
        then, met, acted = act(then)
        rewards.append(acted.reward)
    np.testing.assert_allclose(shown["reward"], rewards, rtol=1e-12)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9), (before.learner, seen), (then.learner, met))
    at = learn(RULE.guide, (), then, met)[0].learner
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9), target.learner, at)


def online(**changes):
    family = family_of(RULE, changes.pop("agent", None), changes.pop("agents", make_agent))
    return Online(family.program, RULE, **changes), family


def start_of(program, family, eta_rate=META_RATE):
    hyperparameters = {"learning_rate": jnp.asarray(0.1), META_LEARNING_RATE: jnp.asarray(eta_rate)}
    birth = Birth(family.draw_params(jax.random.key(1)), hyperparameters, 50)
    return jax.jit(program.start)(jax.random.key(4), birth)


def lives(program, lifetime, updates):
    update = jax.jit(lambda life: program.update(None, (), life)[0])
    for _ in range(updates):
        lifetime = update(lifetime)
    return lifetime


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agent", "agents"),
    [
        (None, make_agent),
        pytest.param(NETWORK, make_agent, marks=pytest.mark.slow),
        pytest.param(NETWORK, conditioned(RULE, 2), marks=pytest.mark.slow),
    ],
    ids=["table", "network", "conditioned"],
)
def test_an_exact_trace_is_backpropagation(agent, agents):
    """After three updates by the same eta: d J(theta_3) / d eta, through the agents' optimiser."""
    program, family = online(estimator=ForwardTrace(exact=True), agent=agent, agents=agents)
    lifetime = start_of(program, family, 0.0)
    born_with = lifetime.inner
    after = lives(program, lifetime, 3)
    theta, learner_of = numbers(after.inner.learner)
    inner = family.program

    def judged(theta):
        return inner.judge(RULE, inner.with_learner(after.inner, learner_of(theta)), after.batches[0], {})[0]

    ours = after.estimator @ jax.jit(jax.grad(judged))(theta)

    def loss(eta):
        return Last().judge(inner, RULE, eta, born_with, 3, lifetime.batches[0])[0]

    theirs = numbers(jax.jit(jax.grad(loss))(lifetime.eta))[0]
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-14)
    assert (np.abs(theirs) > 1e-9).sum() == 5  # all but the truncation, which does nothing on-policy


@pytest.mark.slow
def test_a_trace_that_forgets_is_the_gradient_of_one_update():
    program, family = online(estimator=ForwardTrace())
    lifetime = start_of(program, family, 0.0)
    before, after = lives(program, lifetime, 2), lives(program, lifetime, 3)
    inner = family.program
    theta, learner_of = numbers(after.inner.learner)

    def judged(theta):
        return inner.judge(RULE, inner.with_learner(after.inner, learner_of(theta)), after.batches[0], {})[0]

    def loss(eta):
        return Last().judge(inner, RULE, eta, before.inner, 1, before.batches[0])[0]

    theirs = numbers(jax.jit(jax.grad(loss))(lifetime.eta))[0]
    np.testing.assert_allclose(after.estimator @ jax.jit(jax.grad(judged))(theta), theirs, rtol=1e-9)


@pytest.mark.slow
def test_a_trace_decays():
    program, family = online(estimator=ForwardTrace(0.5))
    lifetime = start_of(program, family, 0.0)
    forgetful = replace(program, estimator=ForwardTrace())
    first, second = lives(program, lifetime, 1), lives(program, lifetime, 2)
    fresh = lives(forgetful, lives(forgetful, lifetime, 1), 1)
    np.testing.assert_allclose(second.estimator, 0.5 * first.estimator + fresh.estimator, rtol=1e-9)


@pytest.mark.slow
def test_one_lifetime_is_a_population_of_one():
    """The same agent, eta and Adam as meta-training would come to; what judged is then learned from."""
    program, family = online(inner_updates=K)
    lifetime = start_of(program, family)
    key = jax.random.split(jax.random.key(4))[1]
    birth = Birth(lifetime.inner.environment_params, lifetime.hyperparameters, 50)
    alone = family.program.start(key, birth)

    @jax.jit
    def meta_update(eta, optimiser, alone):
        def loss(eta):
            return meta_loss(Last(), family.program, RULE, K, eta, alone, jnp.int32(0))

        gradient, (alone, _) = jax.grad(loss, has_aux=True)(eta)
        updates, optimiser = optax.adam(META_RATE).update(gradient, optimiser)
        return optax.apply_updates(eta, updates), optimiser, alone

    eta = RULE.init(key)
    eta, _, alone = meta_update(eta, optax.adam(META_RATE).init(eta), alone)
    after = lives(program, lifetime, 1)
    close = partial(np.testing.assert_allclose, rtol=1e-9)
    jax.tree.map(close, (after.eta, after.inner.learner.params), (eta, alone.learner.params))
    assert after.inner.steps == alone.steps == program.first_steps + program.steps_per_update


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MG", *(pytest.param(n, marks=pytest.mark.slow) for n in ("Mixed", "STACX", "BMG"))])
def test_every_environment_step_is_counted(name):
    method = ONLINE[name]
    entry = Entry("tests.worlds:RING", num_environments=B)
    family = make_families([entry], method.programs(T))[0]
    lifetime = lives(family.program, start_of(family.program, family), 3)
    assert int(lifetime.inner.steps) == family.program.first_steps + 3 * family.program.steps_per_update
    assert lifetime.restarts == 0 and lifetime.inner.updates == 3 * family.program.agent_updates
    assert lifetime.inner.length == 50 * family.program.agent_updates
    first = method.rule.init(jax.random.key(0))
    for number, x in lifetime.eta.items():
        moved = x != first[number]
        assert not moved[1:].any()  # in a table, auxiliary heads have nothing in common with the one that acts
        assert moved[0] == dict(method.rule.inner.items())[number].tuned, number


@pytest.mark.slow
def test_the_agent_that_goes_on_is_a_choice():
    kept = {}
    for goes_on in ("last", "first"):
        program, family = online(inner_updates=K, goes_on=goes_on)
        lifetime = start_of(program, family)
        kept[goes_on] = lives(program, lifetime, 1).inner
    one = jax.jit(family.program.learn, static_argnums=0)(RULE, lifetime.eta, lifetime.inner, lifetime.batches[0])[0]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9), kept["first"].learner, one.learner)
    assert kept["last"].updates == K and kept["first"].updates == 1
    assert (jax.random.key_data(kept["first"].key) != jax.random.key_data(kept["last"].key)).any()


@pytest.mark.slow
def test_old_batches_teach_how_far_to_truncate():
    """Learned from one update late, by another policy than gathered them: then truncation is tuned."""
    program, family = online(lag=1, meta_objective=Last("same"))
    lifetime = start_of(program, family)
    assert len(lifetime.batches) == 2 and program.first_steps == 2 * T * B
    first, later = lives(program, lifetime, 1), lives(program, lifetime, 3)
    jax.tree.map(np.testing.assert_array_equal, first.batches[0], lifetime.batches[1])
    assert later.eta["leak"] != lifetime.eta["leak"] == first.eta["leak"]
    assert int(later.inner.steps) == program.first_steps + 3 * program.steps_per_update


@pytest.mark.slow
def test_what_is_not_finite_begins_anew():
    program, family = online()
    lifetime = lives(program, start_of(program, family), 2)
    lost = replace(lifetime, eta={**lifetime.eta, "discount": jnp.asarray([jnp.nan])})
    after = lives(program, lost, 1)
    assert after.restarts == 1
    jax.tree.map(np.testing.assert_array_equal, (after.eta, after.inner.learner), lifetime.born)
    jax.tree.map(np.testing.assert_array_equal, after.eta, RULE.init(jax.random.key(0)))
    again = lives(program, after, 2)
    assert again.restarts == 1 and all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(again.eta))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            lambda: replace(RULE, inner=Numbers(discount=Bounded(0.5, 0.9, 1.0))),
            "inner.discount.initial: 0.5 given; mu",
        ),
        (
            lambda: Numbers(leak=Bounded(0.5, 1.0, 0.0)),
            "inner.leak: low 1 and high 0 given; must be finite and in this",
        ),
        (lambda: Numbers(discount=Bounded(1.0)), "inner.discount.initial: 1 given; must be between its bounds 0 and 1"),
        (lambda: online(inner_updates=0), "online.inner_updates: 0 given; must be at least 1"),
        (lambda: Bootstrapped(0), "look_ahead: 0 given; must be at least 1"),
        (lambda: ForwardTrace(0.5, True), "trace.decay: 0.5 given; the exact trace has none"),
        (lambda: online(inner_updates=2, estimator=ForwardTrace()), "online.inner_updates: 2 given; must be 1 for a f"),
        (lambda: online(meta_objective=Mixed(), estimator=ForwardTrace()), "online.meta_objective: given; a forward"),
        (lambda: online(goes_on="first", estimator=ForwardTrace()), "online.goes_on: first given; must be last for a"),
        (
            lambda: online(goes_on="first", meta_objective=Bootstrapped(2, goes_on="target")),
            "online.goes_on: first given; must be last where the meta-objective's target goes on",
        ),
        (lambda: online(lag=1), "online.lag: 1 given; must be 0 unless agents are judged on the same batch"),
        (lambda: online(lag=1, inner_updates=2), "online.inner_updates: 2 given; must be 1 where lag is 1"),
        (lambda: replace(RULE, auxiliary=-1), "auxiliary: -1 given; must be at least 0"),
        (lambda: Outer(critic="none"), "outer.critic: 'none' given; must be agent or outer"),
    ],
)
def test_what_cannot_be_is_told(make, says):
    with pytest.raises(UserError, match=says):
        make()
