"""The meta-gradient through K trial updates, the critics' targets, and what a lifetime keeps."""

import itertools
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.settings import AgentSettings
from metaobj.common.experience.batches import Experience
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, Entry
from metaobj.common.lifetimes.population import begin, make_families, sampler_grids
from metaobj.common.lifetimes.sampler import SamplerConfig, make_sampler
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.gradient import meta_gradient
from metaobj.common.types import Rollout
from metaobj.metagenrl.meta_loss import MetaOffPolicy, MetaSettings, meta_off_policy
from metaobj.metagenrl.objective import MetaGenRL, MetaGenRLConfig

pytestmark = pytest.mark.usefixtures("float64", "quick_compilation")
OBJECTIVE = MetaGenRL(MetaGenRLConfig(units=6, td_error=True))
AGENT = AgentSettings(hidden=(8,), replay_steps=400, random_steps=40, windows=4, window_steps=6, test_environments=2)
GRIDS = {"critic_learning_rate": (1e-3,), "exploration_noise": (0.2,)}
ENTRY = Entry("tests.worlds_continuous:POINT", 4, 2, 50, (1e-2,), ACTOR_CRITIC)


def family_of(agent: AgentSettings = AGENT, meta: MetaSettings | None = None, entry: Entry = ENTRY):
    make = meta_off_policy(rollout_steps=2, discount=0.9, agent=agent, meta=meta or MetaSettings())
    (family,) = make_families([entry], make)
    return family


def population(agent: AgentSettings = AGENT, meta: MetaSettings | None = None, entry: Entry = ENTRY):
    family = family_of(agent, meta, entry)
    sampler = make_sampler(sampler_grids([entry], GRIDS), SamplerConfig())
    keys = jax.random.split(jax.random.key(1), entry.lifetimes)
    lifetimes = jax.jit(partial(begin, family, sampler, members=jnp.zeros(entry.lifetimes, jnp.int32)))(
        sampler.init(), keys
    )
    return family, lifetimes


def grown(family, lifetimes, eta, updates: int = 5):
    """After a few updates, so that critics and policies are not fresh."""
    program = family.program

    def one(lifetime):
        return jax.lax.fori_loop(0, updates, lambda _, life: program.update(OBJECTIVE, eta, life)[0], lifetime)

    return jax.jit(jax.vmap(one))(lifetimes)


@pytest.fixture(scope="module")
def eta():
    with jax.enable_x64(True):
        return OBJECTIVE.init(jax.random.key(0))


@pytest.fixture(scope="module")
def lifetime(eta):
    """One that is not fresh. How losses are judged is nothing to it."""
    with jax.enable_x64(True):
        return jax.tree.map(lambda leaf: leaf[0], grown(*population(), eta))


SETTINGS = {
    "published": MetaSettings(1e-2, "sgd", "sum", "first", "all", scale_judge=False),
    "good practice": MetaSettings(0.3, "sgd", "mean", "minimum", "fresh", scale_judge=True),
    "normalised": MetaSettings(0.3, "normalised"),
    "adam": MetaSettings(0.3, "adam"),
}


@pytest.mark.parametrize("name", ["normalised", "adam"])
def test_a_loss_that_does_not_answer_to_the_actions_has_a_finite_meta_gradient(eta, lifetime, name):
    program = family_of(meta=SETTINGS[name]).program
    deaf = jax.tree.map(jnp.zeros_like, eta)
    gradient = jax.jit(jax.grad(lambda w: program.meta_loss(OBJECTIVE, 1, w, lifetime, jnp.int32(0))[0]))(deaf)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


@pytest.mark.parametrize(("name", "K"), [("published", 3), ("good practice", 1), ("normalised", 3), ("adam", 3)])
def test_meta_gradient_is_the_finite_difference(eta, lifetime, name, K):
    family = family_of(meta=SETTINGS[name])

    # The agent's own update is by the objective too, and is no part of what is differentiated: eta is held there.
    held = family.program.update(OBJECTIVE, eta, lifetime)[0]

    class Held(MetaOffPolicy):
        def update(self, rule, weights, lifetime):
            _, about, acted = MetaOffPolicy.update(self, rule, eta, lifetime)
            return held, about, acted

    program = Held(**{name: getattr(family.program, name) for name in family.program.__dataclass_fields__})
    loss = jax.jit(lambda weights: program.meta_loss(OBJECTIVE, K, weights, lifetime, jnp.int32(0))[0])
    # The program itself does not see that the agent's own update is held.
    gradient = jax.jit(jax.grad(lambda w: family.program.meta_loss(OBJECTIVE, K, w, lifetime, jnp.int32(0))[0]))(eta)
    flat, unravel = jax.flatten_util.ravel_pytree(eta)
    slope, _ = jax.flatten_util.ravel_pytree(gradient)
    assert jnp.linalg.norm(slope) > 1e-9
    for seed in range(2):
        direction = jax.random.normal(jax.random.key(seed), flat.shape)
        h = 1e-6
        difference = (loss(unravel(flat + h * direction)) - loss(unravel(flat - h * direction))) / (2 * h)
        np.testing.assert_allclose(slope @ direction, difference, rtol=1e-5, atol=1e-9)


def plainly(program: MetaOffPolicy, settings: MetaSettings, K: int, lifetime, eta) -> jax.Array:
    """The meta-loss after the agent's own update, spelt out and differentiated through as it stands."""
    keys = jax.random.split(lifetime.key, 2 + K)[1:]
    *trials, judging = (program.sample(key, lifetime) for key in keys)
    critics = [jax.tree.map(lambda leaf, i=i: leaf[i], lifetime.learner.critic) for i in (0, 1)]
    agent = program.agent

    def policy(actor, observation):
        return jnp.tanh(agent.actor.apply(actor, observation))

    actor = lifetime.learner.actor
    for steps, valid in trials:
        values, following = (
            agent.critic.apply(critics[0], observation, policy(actor, observation))
            for observation in (steps.observation, steps.next_observation)
        )
        following = jnp.where(steps.terminated, 0.0, following)
        known = Experience(steps.action, steps.reward, valid, values, following, jnp.asarray(0.9))

        def loss(actor, steps=steps, known=known):
            outputs = jnp.where(known.valid, OBJECTIVE.outputs(eta, policy(actor, steps.observation), known), 0.0)
            return jnp.sum(outputs) / (1.0 if settings.inner_step == "sum" else jnp.sum(known.valid))

        step = jax.grad(loss)(actor)
        if settings.inner_optimiser == "adam":
            step = jax.tree.map(lambda g, nu: g / (jnp.sqrt(nu) + 1e-8), step, lifetime.learner.actor_optimiser.nu)
        step, unravel = jax.flatten_util.ravel_pytree(step)
        if settings.inner_optimiser != "sgd":
            step = step / jnp.sqrt(jnp.sum(step**2) + 1e-12)
        actor = jax.tree.map(lambda p, s: p - settings.inner_learning_rate * s, actor, unravel(step))
    judges = [judging, *trials] if settings.judge_windows == "all" else [judging]

    def judgement(actor):
        total, number = 0.0, 0
        for steps, valid in judges:
            action = policy(actor, steps.observation)
            worth = [agent.critic.apply(critic, steps.observation, action) for critic in critics]
            worth = jnp.minimum(*worth) if settings.judge_critic == "minimum" else worth[0]
            total, number = total + jnp.sum(jnp.where(valid, worth, 0.0)), number + jnp.sum(valid)
        return total / number

    size = jnp.linalg.norm(jax.flatten_util.ravel_pytree(jax.grad(judgement)(lifetime.learner.actor))[0])
    return -judgement(actor) / (size if settings.scale_judge else 1.0)


@pytest.mark.parametrize("name", SETTINGS)
def test_meta_loss_and_its_gradient_are_those_of_the_plain_version(eta, lifetime, name):
    program = family_of(meta=SETTINGS[name]).program

    def both(eta):
        held = jax.lax.stop_gradient(program.update(OBJECTIVE, jax.lax.stop_gradient(eta), lifetime)[0])
        return plainly(program, SETTINGS[name], 2, held, eta)

    loss, gradient = jax.jit(
        jax.value_and_grad(lambda w: program.meta_loss(OBJECTIVE, 2, w, lifetime, jnp.int32(0))[0])
    )(eta)
    expected, slope = jax.jit(jax.value_and_grad(both))(eta)
    np.testing.assert_allclose(loss, expected, rtol=1e-10)
    gradient, slope = (jax.flatten_util.ravel_pytree(tree)[0] for tree in (gradient, slope))
    assert jnp.linalg.norm(slope) > 1e-9
    np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-9 * jnp.max(jnp.abs(slope)))


def test_chunks_and_single_lifetimes_add_up_to_the_whole(eta):
    family, lifetimes = population()
    lifetimes = grown(family, lifetimes, eta, 2)
    totals = []
    for chunk in (1, 2, 4):
        config = MetaTrainingConfig(inner_updates=1, chunk=chunk, lifetime_gradient_clip=0.5)
        total, after, metrics = jax.jit(partial(meta_gradient, OBJECTIVE, family, config))(eta, lifetimes, jnp.int32(3))
        assert metrics["finite"].all() and after.updates.tolist() == [3, 3, 3, 3]
        totals.append(jax.flatten_util.ravel_pytree(total)[0])
    np.testing.assert_allclose(totals[0], totals[2], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(totals[1], totals[2], rtol=1e-9, atol=1e-13)


def test_critic_targets_by_hand(eta):
    agent = replace(AGENT, target_noise=0.0)
    for settings, ends in ((agent, [1]), (replace(agent, time_limits_end=True, end_bonus=1.0), [1, 2])):
        family, lifetimes = population(settings)
        program = family.program
        learner = jax.tree.map(lambda leaf: leaf[0], grown(family, lifetimes, eta)).learner
        observation = jax.random.normal(jax.random.key(5), (3, 1, 2))
        steps = Rollout(
            observation=jnp.zeros((3, 1, 2)),
            action=jnp.zeros((3, 1, 2)),
            reward=jnp.array([[1.0], [2.0], [3.0]]),
            terminated=jnp.array([[False], [True], [False]]),
            truncated=jnp.array([[False], [False], [True]]),
            next_observation=observation,
        )
        action = jnp.tanh(program.agent.actor.apply(learner.actor_target, observation))
        each = [
            program.agent.critic.apply(
                jax.tree.map(lambda leaf, i=i: leaf[i], learner.critic_target), observation, action
            )
            for i in (0, 1)
        ]
        expected = steps.reward + 0.9 * jnp.minimum(*each)
        for row in ends:
            expected = expected.at[row].set(steps.reward[row] + settings.end_bonus)
        targets = program.agent.critic_targets(jax.random.key(0), learner, steps)
        np.testing.assert_allclose(targets, expected, rtol=1e-12)


def test_target_noise_is_clipped(eta):
    """Noise this large is cut to its bound in every dimension, to either side."""
    bound = 0.3
    family, lifetimes = population(replace(AGENT, target_noise=100.0, target_noise_clip=bound))
    lifetime = jax.tree.map(lambda leaf: leaf[0], lifetimes)
    agent, learner = family.program.agent, lifetime.learner
    steps, _ = family.program.sample(jax.random.key(0), lifetime)
    mean = agent.policy(learner.actor_target, steps.next_observation)
    corners = []
    for signs in itertools.product((-1.0, 1.0), repeat=2):
        action = jnp.clip(mean + bound * jnp.array(signs), -1.0, 1.0)
        following = jnp.min(agent.twins(learner.critic_target, steps.next_observation, action), axis=0)
        corners.append(steps.reward + 0.9 * jnp.where(steps.terminated, 0.0, following))
    targets = agent.critic_targets(jax.random.key(1), learner, steps)
    distance = jnp.abs(jnp.stack(corners) - targets)  # [corners, T, W]
    np.testing.assert_allclose(distance.min(0), 0.0, atol=1e-9)
    assert set(np.unique(distance.argmin(0))) == {0, 1, 2, 3}, "every direction is met"


def test_a_warm_start_goes_over_from_the_critic_to_the_objective(eta):
    family, lifetimes = population(meta=MetaSettings(warm_start=10))
    live = jax.jit(
        lambda program, life, step: program.meta_loss(OBJECTIVE, 1, eta, life, step)[1][1]["learned_share"],
        static_argnums=0,
    )
    old = jax.tree.map(lambda leaf: leaf[0], lifetimes).replace(updates=jnp.int32(4))
    for step, share in ((0, 0.1), (4, 0.5), (99, 1.0)):
        np.testing.assert_allclose(live(family.program, old, jnp.int32(step)), share)
    per_life = replace(family.program, meta=MetaSettings(warm_start=10, warm_start_per="lifetime"))
    np.testing.assert_allclose(live(per_life, old, jnp.int32(99)), 0.5)


def test_random_steps_fill_the_replay_and_count(eta):
    family, lifetimes = population()
    program = family.program
    assert program.random_rows == 20 and program.first_steps == 40 and program.replay_rows == 200
    assert (lifetimes.replay.written == 20).all() and (lifetimes.steps == 40).all()
    action = lifetimes.replay.steps.action[:, :40]
    assert float(jnp.abs(action).max()) <= 1 and abs(float(action.mean())) < 0.15
    tested = jax.jit(program.test)(jax.tree.map(lambda leaf: leaf[0], lifetimes))
    assert tested.number == 2 and tested.total_return < 0
