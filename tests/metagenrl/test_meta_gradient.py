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
from metaobj.common.meta.objectives import Last, meta_loss
from metaobj.common.types import Rollout
from metaobj.metagenrl.meta_loss import MetaOffPolicy, MetaSettings, WarmStart, meta_off_policy
from metaobj.metagenrl.objective import MetaGenRL, MetaGenRLConfig
from tests.quick import first

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
    lifetimes = jax.jit(partial(begin, family, sampler))(sampler.init(), keys)
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
def born():
    """A family, and fresh lifetimes of it. How losses are judged is nothing to them."""
    with jax.enable_x64(True):
        return population()


@pytest.fixture(scope="module")
def lifetime(eta, born):
    """One that is not fresh."""
    with jax.enable_x64(True):
        return first(grown(*born, eta))


SETTINGS = {
    "published": MetaSettings(1e-2, "sgd", "sum", "first", "all", scale_judge=False),
    "good practice": MetaSettings(0.3, "sgd", "mean", "minimum", "fresh", scale_judge=True),
    "normalised": MetaSettings(0.3, "normalised"),
    "adam": MetaSettings(0.3, "adam"),
}


KEY = jax.random.key(7)
UPDATES = {"published": 3, "good practice": 1, "normalised": 2, "adam": 2}
"""K, of each of them."""


def judged(program, eta, lifetime, keys):
    """The meta-loss alone, on windows that `keys` [K + 1] draw."""
    return Last().judge(program, OBJECTIVE, eta, program.trial(lifetime, keys), len(keys) - 1, None)[0]


class Judge:
    """One way of judging: the meta-loss of a lifetime as a function of eta, compiled once, and its gradient."""

    def __init__(self, name, lifetime):
        self.name, self.settings, self.K = name, SETTINGS[name], UPDATES[name]
        self.program = family_of(meta=self.settings).program

        def loss(eta):
            return judged(self.program, eta, lifetime, jax.random.split(KEY, 1 + self.K))

        self.value_and_grad = jax.jit(jax.value_and_grad(loss))


SLOW = ("published", "normalised", "adam")
PARAMS = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SETTINGS]


@pytest.fixture(scope="module", params=PARAMS)
def judge(request, lifetime):
    with jax.enable_x64(True):
        return Judge(request.param, lifetime)


def test_a_loss_that_does_not_answer_to_the_actions_has_a_finite_meta_gradient(eta, judge):
    deaf = jax.tree.map(jnp.zeros_like, eta)
    _, gradient = judge.value_and_grad(deaf)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_meta_gradient_is_the_finite_difference(eta, judge):
    flat, unravel = jax.flatten_util.ravel_pytree(eta)
    slope, _ = jax.flatten_util.ravel_pytree(judge.value_and_grad(eta)[1])
    assert jnp.linalg.norm(slope) > 1e-9
    for seed in range(2):
        direction = jax.random.normal(jax.random.key(seed), flat.shape)
        h = 1e-6
        above, below = (judge.value_and_grad(unravel(flat + step * direction))[0] for step in (h, -h))
        np.testing.assert_allclose(slope @ direction, (above - below) / (2 * h), rtol=1e-5, atol=1e-9)


@pytest.mark.slow
def test_the_agents_own_update_is_no_part_of_what_is_differentiated(eta, lifetime):
    """It is by the objective too. The meta-loss is the judgement of the agent after it, as if it had been given."""
    program = family_of(meta=MetaSettings(warm_start=10)).program

    @jax.jit
    def both(eta):
        def whole(eta):
            loss, (after, metrics) = meta_loss(Last(), program, OBJECTIVE, 1, eta, lifetime, jnp.int32(4))
            return loss, (after, metrics)

        (loss, (after, metrics)), gradient = jax.value_and_grad(whole, has_aux=True)(eta)
        held = program.update(WarmStart(OBJECTIVE), (eta, metrics["learned_share"]), lifetime)[0]
        held = jax.lax.stop_gradient(held)
        keys = jax.random.split(held.key, 3)[1:]
        alone = jax.value_and_grad(lambda eta: judged(program, eta, held, keys))(eta)
        return (loss, gradient), alone, after.learner, held.learner

    with_update, alone, after, held = both(eta)
    for a, b in zip(jax.tree.leaves((with_update, after)), jax.tree.leaves((alone, held)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert any(jnp.abs(leaf).max() > 1e-9 for leaf in jax.tree.leaves(alone[1]))


def plainly(program: MetaOffPolicy, settings: MetaSettings, K: int, lifetime, eta) -> jax.Array:
    """The meta-loss, spelt out and differentiated through as it stands."""
    keys = jax.random.split(KEY, 1 + K)
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


def test_meta_loss_and_its_gradient_are_those_of_the_plain_version(eta, lifetime, judge):
    loss, gradient = judge.value_and_grad(eta)
    expected, slope = jax.jit(jax.value_and_grad(partial(plainly, judge.program, judge.settings, judge.K, lifetime)))(
        eta
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-10)
    gradient, slope = (jax.flatten_util.ravel_pytree(tree)[0] for tree in (gradient, slope))
    assert jnp.linalg.norm(slope) > 1e-9
    np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-9 * jnp.max(jnp.abs(slope)))


@pytest.mark.slow  # the same is shown of a toy program in tests/meta
def test_chunks_and_single_lifetimes_add_up_to_the_whole(eta, born):
    family, lifetimes = born
    lifetimes = grown(family, lifetimes, eta, 2)
    totals = []
    for chunk in (1, 4):
        config = MetaTrainingConfig(inner_updates=1, chunk=chunk, lifetime_gradient_clip=0.5)
        live = jax.jit(partial(meta_gradient, OBJECTIVE, family, config))
        total, after, _, metrics = live(eta, lifetimes, jnp.int32(3))
        assert metrics["finite"].all() and after.updates.tolist() == [3, 3, 3, 3]
        totals.append(jax.flatten_util.ravel_pytree(total)[0])
    np.testing.assert_allclose(totals[0], totals[1], rtol=1e-9, atol=1e-13)


def test_critic_targets_by_hand(lifetime):
    quiet = replace(AGENT, target_noise=0.0)

    @partial(jax.jit, static_argnums=0)
    def both(agent, learner):
        """(rewards, what targets are where nothing ends, what they are said to be where the second step ends)"""
        observation = jax.random.normal(jax.random.key(5), (3, 1, 2))
        steps = Rollout(
            observation=jnp.zeros((3, 1, 2)),
            action=jnp.zeros((3, 1, 2)),
            reward=jnp.array([[1.0], [2.0], [3.0]]),
            terminated=jnp.array([[False], [True], [False]]),
            truncated=jnp.array([[False], [False], [True]]),
            next_observation=observation,
        )
        action = jnp.tanh(agent.actor.apply(learner.actor_target, observation))
        critics = [jax.tree.map(lambda leaf, i=i: leaf[i], learner.critic_target) for i in (0, 1)]
        each = [agent.critic.apply(critic, observation, action) for critic in critics]
        expected = steps.reward + 0.9 * jnp.minimum(*each)
        return steps.reward, expected, agent.critic_targets(jax.random.key(0), learner, steps)

    for settings, ends in ((quiet, [1]), (replace(quiet, time_limits_end=True, end_bonus=1.0), [1, 2])):
        reward, expected, targets = map(np.array, both(family_of(settings).program.agent, lifetime.learner))
        expected[ends] = reward[ends] + settings.end_bonus
        np.testing.assert_allclose(targets, expected, rtol=1e-12)


def test_target_noise_is_clipped(lifetime):
    """Noise this large is cut to its bound in every dimension, to either side."""
    bound = 0.3
    program = family_of(replace(AGENT, target_noise=100.0, target_noise_clip=bound)).program

    @jax.jit
    def distances(lifetime):
        agent, learner = program.agent, lifetime.learner
        steps, _ = program.sample(jax.random.key(0), lifetime)
        mean = agent.policy(learner.actor_target, steps.next_observation)
        corners = []
        for signs in itertools.product((-1.0, 1.0), repeat=2):
            action = jnp.clip(mean + bound * jnp.array(signs), -1.0, 1.0)
            following = jnp.min(agent.twins(learner.critic_target, steps.next_observation, action), axis=0)
            corners.append(steps.reward + 0.9 * jnp.where(steps.terminated, 0.0, following))
        return jnp.abs(jnp.stack(corners) - agent.critic_targets(jax.random.key(1), learner, steps))

    distance = np.asarray(distances(lifetime))  # [corners, T, W]
    np.testing.assert_allclose(distance.min(0), 0.0, atol=1e-9)
    assert set(np.unique(distance.argmin(0))) == {0, 1, 2, 3}, "every direction is met"


def test_a_warm_start_mixes_the_critics_word_with_the_objective(eta, lifetime):
    @jax.jit
    def losses(shares):
        windows = family_of().program.sample(jax.random.key(0), lifetime)
        agent, learner = family_of().program.agent, lifetime.learner
        actions = agent.policy(learner.actor, windows.steps.observation)
        known = agent.experience(learner.critic, learner.actor, windows)
        judged = agent.first(learner.critic, windows.steps.observation, actions)
        critic = -jnp.sum(jnp.where(windows.valid, judged, 0.0)) / jnp.sum(windows.valid)
        mixed = jax.vmap(lambda share: WarmStart(OBJECTIVE).loss((eta, share), actions, known, judged))(shares)
        return OBJECTIVE.loss(eta, actions, known, judged), critic, mixed

    shares = np.array([0.0, 0.25, 1.0])
    learned, critic, every = losses(shares)
    for share, mixed in zip(shares, every, strict=True):
        np.testing.assert_allclose(mixed, share * learned + (1 - share) * critic, rtol=1e-12)


def test_a_warm_starts_share_rises_with_the_run_or_the_lifetime():
    per_run, per_life = MetaSettings(warm_start=10), MetaSettings(warm_start=10, warm_start_per="lifetime")
    for step, share in ((0, 0.1), (4, 0.5), (99, 1.0)):
        np.testing.assert_allclose(per_run.learned_share(jnp.int32(step), jnp.int32(4)), share)
    np.testing.assert_allclose(per_life.learned_share(jnp.int32(99), jnp.int32(4)), 0.5)
    assert MetaSettings().learned_share(jnp.int32(0), jnp.int32(0)) is None


def test_random_steps_fill_the_replay_and_count(born):
    family, lifetimes = born
    program = family.program
    assert program.random_rows == 20 and program.first_steps == 40 and program.replay_rows == 200
    assert (lifetimes.replay.filled == 20).all() and (lifetimes.steps == 40).all()
    action = lifetimes.replay.steps.action[:, :40]
    assert float(jnp.abs(action).max()) <= 1 and abs(float(action.mean())) < 0.15
    tested = jax.jit(program.test)(first(lifetimes))
    assert tested.number == 2 and tested.total_return < 0
