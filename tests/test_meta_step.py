"""Meta-updates of whole populations: ends, new beginnings, failures, and the same on any number of devices."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.devices import make_mesh
from metaobj.common.errors import LengthError, UserError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.on_policy import on_policy
from metaobj.common.lifetimes.population import make_families, renew, sampler_grids
from metaobj.common.lifetimes.sampler import make_sampler
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.gradient import meta_gradient
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.lpg.objective import LPG, LPGConfig

K, N = 2, 8


def entry(environment, lifetimes=8, agent=None, updates=N):
    return Entry(environment, lifetimes, 2, updates, (0.1, 2.0), agent or AgentConfig())


def make_trainer(devices=1, entries=None, **changes):
    entries = entries or [
        entry("tests.worlds:RING", 5),
        entry("tests.worlds:PAIR"),
        entry("tests.worlds:RING", 3, updates=2 * N),
    ]
    config = MetaTrainingConfig(inner_updates=K, rollout_steps=3, learning_rate=0.01, **changes)
    objective = LPG(LPGConfig(units=5, prediction_size=4, embedding_units=3))
    families = make_families(entries, on_policy(objective, rollout_steps=3, discount=0.9, value=ValueConfig()))
    sampler = make_sampler(sampler_grids(entries, {"kl_weight": (0.5,)}), config.sampler)
    mesh = make_mesh([family.lifetimes.size for family in families], devices)
    return MetaTrainer(objective, entries, families, sampler, config, mesh)


ONE_FAMILY = "entry('tests.worlds:RING', 5), entry('tests.worlds:RING', 3, updates=2 * N)"
NETWORK = "entry('tests.worlds:OBSERVED_RING', agent=AgentConfig('dense', (4,), (), 'adam'))"
TWO_FAMILIES = f"entry('tests.worlds:RING', 5), {NETWORK}, entry('tests.worlds:RING', 3, updates=2 * N)"


@pytest.fixture(scope="module")
def trainer(quick_compilation):
    return make_trainer()


@pytest.fixture(scope="module")
def states(trainer):
    """The first six states and the metrics of the five meta-updates between them."""
    step = jax.jit(trainer.step)
    states, told = [trainer.init()], []
    for _ in range(5):
        state, metrics = step(states[-1])
        states.append(state)
        told.append(metrics)
    return jax.device_get(states[0]), states, jax.device_get(told), step


def joined(state, name):
    return np.concatenate([np.asarray(getattr(population, name)) for population in state.populations])


def test_families_share_programs_and_keep_their_tasks(trainer):
    assert [family.tasks for family in trainer.families] == [(0, 2), (1,)]
    np.testing.assert_array_equal(trainer.families[0].lifetimes, [0] * 5 + [1] * 3)
    np.testing.assert_array_equal(trainer.families[0].updates, [N, 2 * N])
    assert trainer.steps_per_update == 16 * 2 * 3 * (K + 1)


def test_lives_shorter_than_an_update_are_refused():
    """Where an update of theirs is longer than what lives are counted in."""
    objective = LPG(LPGConfig(units=5, prediction_size=4, embedding_units=3))
    programs = on_policy(objective, rollout_steps=10, discount=0.9, value=ValueConfig())
    (family,) = make_families([entry("tests.worlds:RING", updates=4)], programs, rollout_steps=3)
    assert family.updates.tolist() == [1]
    with pytest.raises(LengthError, match="RING.updates: 3 given; lives of 18 steps are shorter than one update"):
        make_families([entry("tests.worlds:RING", updates=3)], programs, rollout_steps=3)


def test_no_number_of_the_first_state_is_weakly_typed(states):
    """A restored one is not either: else a resumed run would be another program."""
    arrays = [leaf for leaf in jax.tree.leaves(states[1][0]) if not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)]
    assert arrays and not any(leaf.weak_type for leaf in arrays)


def test_first_lifetimes_are_staggered(states):
    first, *_ = states
    pairs = first.populations[1]
    np.testing.assert_array_equal(np.sort(pairs.length), np.arange(1, 9) * N // 8)
    np.testing.assert_array_equal(pairs.reports, pairs.length == N)
    tables = first.populations[0]
    full = np.where(tables.task == 0, N, 2 * N)
    np.testing.assert_array_equal(np.sort(np.ceil(tables.length / full * 8)), np.arange(1, 9))
    np.testing.assert_array_equal(tables.reports, tables.length == full)
    assert not joined(first, "updates").any()


def test_lifetimes_end_and_are_renewed(trainer, states):
    _, states, told, _ = states
    finished = 0
    for before, after, metrics in zip(states, states[1:], told, strict=False):
        lived, length = joined(before, "updates") + K, joined(before, "length")
        ended = lived >= length
        np.testing.assert_array_equal(joined(after, "updates"), np.where(ended, 0, lived))
        task = joined(after, "task")
        np.testing.assert_array_equal(task, joined(before, "task"))
        full = np.array([N, N, 2 * N])[task]
        np.testing.assert_array_equal(joined(after, "length"), np.where(ended, full, length))
        np.testing.assert_array_equal(joined(after, "reports"), joined(before, "reports") | ended)
        np.testing.assert_array_equal(joined(after, "steps") == 0, ended)
        assert metrics["ended"] == ended.sum() and metrics["not_finite"] == 0
        finished += (ended & joined(before, "reports")).sum()
        assert np.asarray(after.sampler.trials).sum() == finished
        tables, new = after.populations[0], ended[:8]
        touched = np.abs(np.asarray(tables.learner.params["policy"])).sum((1, 2)) > 0
        np.testing.assert_array_equal(touched, ~new)
        drawn = np.asarray(tables.environment_params.reward) != np.asarray(
            before.populations[0].environment_params.reward
        )
        np.testing.assert_array_equal(drawn.all((1, 2)), new)
        assert int(after.step) == int(before.step) + 1
    assert finished > 0 and ended.any()


def test_new_lives_are_the_same_one_by_one_and_all_at_once(trainer, states):
    first, family = states[0], trainer.families[0]

    @partial(jax.jit, static_argnums=2)
    def after(population, ended, at_once):
        return renew(family, trainer.sampler, first.sampler, population, ended, at_once)

    population = states[1][-1].populations[0]
    for ended in (jnp.arange(8) % 3 == 0, jnp.zeros(8, bool)):
        one_by_one, at_once = (after(population, ended, way) for way in (False, True))
        assert (np.asarray(at_once.steps) == 0).sum() == ended.sum()
        jax.tree.map(np.testing.assert_array_equal, *map(_plain, (one_by_one, at_once)))


def _plain(population):
    return population.replace(key=jax.random.key_data(population.key))


def test_shortened_lives_do_not_report(states):
    """After the first meta-update lives of one or two updates have ended, and the sampler has heard nothing."""
    _, states, told, _ = states
    assert told[0]["ended"] > 0
    assert np.asarray(states[1].sampler.trials).sum() == 0


def test_reports_are_the_mean_reward_per_step(trainer, states):
    """Of the whole lifetime, with a sampler that hears of one life alone. Worlds that pay the same for every step tell
    what it must be.
    """
    _, states, _, step = states
    state = states[2]
    tables, others = state.populations
    full = np.where(np.asarray(tables.task) == 0, N, 2 * N)
    at = int(np.flatnonzero(np.asarray(tables.task) == 0)[0])
    # A life that is to end in this meta-update, after 40 steps that earned 0.25 each, in a world that pays 2 a step.
    params = tables.environment_params.replace(reward=tables.environment_params.reward.at[at].set(2.0))
    tables = tables.replace(
        environment_params=params,
        updates=tables.updates.at[at].set(int(full[at]) - K),
        length=tables.length.at[at].set(int(full[at])),
        reports=jnp.zeros_like(tables.reports).at[at].set(True),
        reward_mean=tables.reward_mean.at[at].set(0.25),
        steps=tables.steps.at[at].set(40),
    )
    others = others.replace(reports=jnp.zeros_like(others.reports))
    after, _ = step(state.replace(populations=(tables, others)))
    task, setting = int(tables.task[at]), int(tables.setting[at])
    new = np.asarray(after.sampler.trials) - np.asarray(state.sampler.trials)
    assert new.sum() == new[task, setting] == 1
    slot = int(state.sampler.trials[task, setting]) % trainer.sampler.config.window
    taken = (K + 1) * 3 * 2
    np.testing.assert_allclose(after.sampler.returns[task, setting, slot], (10 + 2 * taken) / (40 + taken), rtol=1e-6)


def test_the_objective_moves(states):
    first, states, told, _ = states
    moved = jax.tree.map(lambda a, b: float(np.abs(a - b).max()), first.eta, jax.device_get(states[-1].eta))
    assert all(size < 0.051 for size in jax.tree.leaves(moved)), moved  # five steps of at most 0.01
    assert all(size > 0.005 for size in moved["lstm"].values()), moved
    assert all(0 < metrics["meta_gradient_norm"] <= 0.1 for metrics in told)


@pytest.mark.slow
def test_each_family_may_have_an_adam_of_its_own(states):
    """Its step is the mean of Adam's on each family's own mean meta-gradient, and each Adam remembers its own."""
    trainer = make_trainer(family_adam=True)
    state = trainer.init()
    after, metrics = jax.jit(trainer.step)(state)
    adam = optax.adam(optax.cosine_decay_schedule(0.01, trainer.config.meta_updates))
    expected, mean = state.eta, jax.tree.map(jnp.zeros_like, state.eta)
    for family, population, memory in zip(trainer.families, state.populations, after.optimiser, strict=True):
        differentiate = jax.jit(partial(meta_gradient, trainer.objective, family, trainer.config))
        total, _, _, told = differentiate(state.eta, population, state.step)
        assert bool(told["finite"].all())
        size = family.lifetimes.size
        updates, remembered = adam.update(jax.tree.map(lambda g, n=size: g / n, total), adam.init(state.eta))
        expected = jax.tree.map(lambda e, u, n=size: e + n / 16 * u, expected, updates)
        mean = jax.tree.map(lambda m, g: m + g / 16, mean, total)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-7), memory[0].mu, remembered[0].mu)
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), after.eta, expected)
    np.testing.assert_allclose(metrics["meta_gradient_norm"], optax.tree.norm(mean), rtol=1e-4)
    shared = states[1][1].eta  # one Adam for both goes elsewhere
    assert (
        max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (after.eta, shared)), strict=True)) > 1e-3
    )


@pytest.mark.slow
def test_each_lifetime_may_have_an_adam_of_its_own(states):
    """Each weight moves by the mean of their steps; what their Adams remember goes on in new lifetimes."""
    trainer = make_trainer(lifetime_adam=True)
    state = trainer.init()
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(state.adams))
    expected, finite = jax.tree.map(jnp.zeros_like, state.eta), 0
    for family, population, own in zip(trainer.families, state.populations, state.adams, strict=True):
        live = jax.jit(partial(meta_gradient, trainer.objective, family, trainer.config))
        total, _, _, told = live(state.eta, population, state.step, own)
        expected, finite = jax.tree.map(jnp.add, expected, total), finite + told["finite"].sum()
    assert finite == 16
    step = jax.jit(trainer.step)
    after, metrics = step(state)
    moved = jax.tree.map(lambda a, b: (b - a) / 0.01, after.eta, state.eta)
    jax.tree.map(lambda m, e: np.testing.assert_allclose(m, e / 16, atol=2e-3), moved, expected)
    np.testing.assert_allclose(metrics["meta_gradient_norm"], optax.tree.norm(expected) / 16, rtol=1e-3)
    ended = 0
    for number in range(2, 6):
        after, metrics = step(after)
        ended += int(metrics["ended"])
        assert all((np.asarray(own.count) == number).all() for own in after.adams)
    assert ended > 4


def test_metrics_are_of_the_lifetimes(states):
    _, _, told, _ = states
    for metrics in told:
        assert all(np.isfinite(value).all() for value in metrics.values())
        assert metrics["task_reward"].shape == (3,)
        share = np.array([5, 8, 3]) / 16
        np.testing.assert_allclose(metrics["reward"], metrics["task_reward"] @ share, rtol=1e-4)
        assert metrics["gradient_norm"] <= metrics["gradient_norm_max"]
        assert metrics["task_episodes"].sum() > 0


def test_a_broken_lifetime_is_left_out_restarted_and_counted(states):
    _, states, _, step = states
    state = states[3]
    tables, others = state.populations
    broken = int(np.flatnonzero(np.asarray(tables.updates + K < tables.length))[0])
    params = tables.learner.params
    params = {**params, "policy": params["policy"].at[broken].set(jnp.nan)}
    after, metrics = step(
        state.replace(populations=(tables.replace(learner=tables.learner.replace(params=params)), others))
    )
    healthy, expected = states[4], step(state)[1]
    assert metrics["not_finite"] == 1 and expected["not_finite"] == 0

    # All others live on as if nothing had happened; this one is new, full length, and reported nothing.
    def same(a, b):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(np.delete(a, broken, 0), np.delete(b, broken, 0))

    jax.tree.map(same, after.populations[0], healthy.populations[0])
    new = jax.tree.map(lambda leaf: leaf[broken], after.populations[0])
    assert int(new.updates) == 0 and int(new.length) == [N, N, 2 * N][int(new.task)] and int(new.steps) == 0
    assert not np.any(new.learner.params["policy"]) and np.all(np.isfinite(new.learner.params["prediction"]))
    assert int(healthy.populations[0].updates[broken]) > 0
    np.testing.assert_array_equal(after.sampler.trials, healthy.sampler.trials)

    # The mean is over the other fifteen.
    assert all(np.isfinite(value).all() for value in jax.tree.leaves((after.eta, metrics)))
    kept = 16 * float(expected["reward"]) - 15 * float(metrics["reward"])
    assert -3 < kept < 3 and abs(float(metrics["meta_gradient_norm"]) - float(expected["meta_gradient_norm"])) > 1e-7
    moment, was = after.optimiser[0].mu, state.optimiser[0].mu
    gradient = jax.tree.map(lambda m, w: (m - 0.9 * w) / 0.1, moment, was)
    norm = np.sqrt(sum(float(jnp.sum(g**2)) for g in jax.tree.leaves(gradient)))
    np.testing.assert_allclose(norm, metrics["meta_gradient_norm"], rtol=1e-3)


def test_all_lifetimes_broken_leaves_the_objective_finite(states):
    _, states, _, step = states
    state = states[2]

    def nan(population):
        broken = jax.tree.map(lambda leaf: jnp.full_like(leaf, jnp.nan), population.learner)
        return population.replace(learner=broken)

    after, metrics = step(state.replace(populations=tuple(map(nan, state.populations))))
    assert metrics.pop("not_finite") == 16 and metrics.pop("ended") >= 0 and metrics.pop("first_steps") == 0
    assert not metrics.pop("task_episodes").any() and not metrics.pop("task_return_sum").any()
    assert all(np.isnan(value).all() for value in metrics.values()), "nothing is known, and nothing is 0"
    before = (state.eta, state.optimiser)  # momentum alone does not move it
    jax.tree.map(np.testing.assert_array_equal, (after.eta, after.optimiser), before)
    assert not joined(after, "updates").any()
    np.testing.assert_array_equal(after.sampler.trials, state.sampler.trials)


@pytest.mark.slow
def test_lifetimes_that_make_up_for_others_count_for_nothing(states):
    """Eight in equal chunks of at most three are nine on one device; `test_spread.py` has more, in float64."""
    trainer = make_trainer(chunk=3)
    assert trainer.places == [9, 9] and trainer.lifetimes == 16
    _, straight, told, _ = states
    step, state = jax.jit(trainer.step), trainer.init()
    for wanted, metrics in zip(straight[1:], told, strict=True):
        state, found = step(state)
        for name in ("task", "updates", "length", "setting", "reports"):
            for population, other in zip(state.populations, wanted.populations, strict=True):
                np.testing.assert_array_equal(getattr(population, name)[:8], getattr(other, name), name)
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-5), found, metrics)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-5), state.eta, wanted.eta)
        np.testing.assert_array_equal(state.sampler.trials, wanted.sampler.trials)
    assert sum(metrics["ended"] for metrics in told) > 4


def test_device_counts_are_checked():
    with pytest.raises(UserError, match="devices: 0 given"):
        make_mesh([8], 0)
    with pytest.raises(UserError, match=f"devices: {len(jax.devices()) + 1} given; there are"):
        make_mesh([8], len(jax.devices()) + 1)


def compare_devices(*entries, others=(2, 8)):
    """Run in a process of its own: states after six meta-updates on several devices are those on one, in float64."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)
    assert len(jax.devices()) == 8

    def run(devices):
        trainer = make_trainer(devices, entries)
        state = trainer.init()
        step = jax.jit(trainer.step)
        history = []
        for _ in range(6):
            state, metrics = step(state)
            history.append(metrics)
        spread = {len(leaf.sharding.device_set) for leaf in jax.tree.leaves(state.populations)}
        assert spread == {devices}, spread

        def numbers(leaf):
            is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

        return jax.tree.map(numbers, (state, history))

    one = run(1)
    assert sum(metrics["ended"] for metrics in one[1]) > 4 and one[0].sampler.trials.sum() > 0
    assert one[0].eta["lstm"]["input"].dtype == np.float64
    for devices in others:
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(run(devices)), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-10, atol=1e-10, err_msg=f"{devices}: {jax.tree_util.keystr(path)}")


@pytest.mark.parametrize(
    ("entries", "others"),
    [
        pytest.param(ONE_FAMILY, (2,), id="one family, two", marks=pytest.mark.slow),
        pytest.param(ONE_FAMILY, (8,), id="one family, eight", marks=pytest.mark.slow),
        pytest.param(TWO_FAMILIES, (2, 8), id="two families", marks=pytest.mark.slow),
    ],
)
def test_several_devices_equal_one(entries, others):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    }
    code = f"from tests.test_meta_step import *; compare_devices({entries}, others={others})"
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
