"""Meta-training of MetaGenRL on the shared loop: two sizes of environment, resume with replays, faults, refusals."""

import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.settings import AgentSettings
from metaobj.common.errors import UserError
from metaobj.common.experience.windows import Windows
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, DISTRIBUTIONS, Entry
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.lifetimes.off_policy import off_policy
from metaobj.common.lifetimes.population import make_families
from metaobj.common.memory import size_of
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.train import make_trainer, meta_train
from metaobj.common.rules.handwritten import CriticAscent
from metaobj.common.rules.off_policy import HYPERPARAMETERS
from metaobj.common.runs.metrics import read_metrics
from metaobj.metagenrl.config import PRESETS
from metaobj.metagenrl.meta_loss import MetaSettings
from metaobj.metagenrl.objective import MetaGenRLConfig
from metaobj.metagenrl.plugin import plugin
from tests.quick import quick_programs

pytestmark = pytest.mark.usefixtures("quick_compilation")
AGENT = AgentSettings(hidden=(8,), replay_steps=160, random_steps=32, windows=2, window_steps=5, test_environments=2)
DISTRIBUTIONS["tiny-control"] = (Entry("tests.worlds_continuous:LINE", 8, 4, 8, (1e-3,), ACTOR_CRITIC),)
TINY = replace(
    PRESETS["smoke"],
    distribution="tiny-control",
    meta_updates=4,
    log_every=1,
    checkpoint_every=1,
    network=MetaGenRLConfig(units=4),
    agent=AGENT,
)


@pytest.fixture(scope="module", autouse=True)
def programs(tmp_path_factory, quick_compilation):
    """What is compiled twice here is found again."""
    with quick_programs(tmp_path_factory.mktemp("programs")):
        yield


@pytest.fixture(scope="module")
def straight(tmp_path_factory, programs) -> Path:
    folder = tmp_path_factory.mktemp("straight") / "run"
    assert meta_train(plugin, TINY, folder).finished
    return folder


@pytest.mark.slow
def test_a_run_leaves_its_objective_and_its_picture(straight):
    assert (straight / "objective.safetensors").exists() and (straight / "training.png").exists()


@pytest.mark.slow
def test_two_sizes_of_environment_are_one_population(tmp_path):
    both = "tests.worlds_continuous:POINT+tests.worlds_continuous:LINE"
    config = replace(TINY, distribution=both, meta_updates=1)
    trainer = make_trainer(plugin, config)
    assert [family.program.environment.action_space.shape for family in trainer.families] == [(2,), (1,)]
    assert meta_train(plugin, config, tmp_path / "run").finished


@pytest.mark.slow
def test_resumed_with_its_replays_it_ends_the_same(straight, tmp_path):
    again = tmp_path / "run"
    shutil.copytree(straight, again)
    for step in (3, 4):
        shutil.rmtree(again / "checkpoints" / str(step))
    (again / "objective.safetensors").unlink()
    assert meta_train(plugin, TINY, again, resume=True).finished
    assert (again / "objective.safetensors").read_bytes() == (straight / "objective.safetensors").read_bytes()


@pytest.mark.slow
def test_a_diverged_agent_is_restarted_alone_and_counted():
    trainer = make_trainer(plugin, TINY)
    state = trainer.init()
    (first,) = state.populations
    broken, healthy = np.flatnonzero(np.asarray(first.length) > 1)[:2]
    critic = jax.tree.map(lambda leaf: leaf.at[broken].set(jnp.nan), first.learner.critic)
    first = first.replace(learner=first.learner.replace(critic=critic))
    after, metrics = trainer.run_chunk(state.replace(populations=(first,)))
    assert metrics["not_finite"] == 1
    assert after.populations[0].updates[broken] == 0 and after.populations[0].updates[healthy] == 1
    assert after.populations[0].length[broken] == 8, "in full"
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.eta))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after.populations[0].learner.critic))


@pytest.mark.slow
def test_the_steps_that_a_run_reports_are_all_that_were_taken(straight):
    """The random first steps of every lifetime are among them, those of renewed ones too."""
    trainer = make_trainer(plugin, TINY)
    lifetimes, first = 8, 32
    assert {family.program.first_steps for family in trainer.families} == {first}
    rows = read_metrics(straight / "metrics.jsonl")
    began, steps = lifetimes, 0
    for row in rows:
        began += row["ended"] + row["not_finite"]
        steps += lifetimes * 2 * 4
        assert row["environment_steps"] == began * first + steps
    assert began > lifetimes
    assert load_objective(straight).metadata["environment_steps"] == rows[-1]["environment_steps"]


def test_the_papers_warm_start_is_ten_thousand_steps():
    """Of each agent: a meta-update takes one rollout in each of its environments."""
    paper = PRESETS["metagenrl-paper"]
    for entry in plugin.distributions[paper.distribution]:
        assert paper.meta.warm_start * paper.rollout_steps * entry.num_environments == 10_000


@pytest.mark.parametrize(
    ("environment", "agent", "line"),
    [
        ("CartPole-v1", AGENT, "CartPole-v1: action_space: .* needs a vector of continuous actions"),
        ("tests.worlds_continuous:UNBOUNDED", AGENT, "action_space: bounds -inf to inf given; must be finite"),
        (
            "tests.worlds_continuous:POINT",
            replace(AGENT, window_steps=200),
            "agent.window_steps: 200 given; the replay",
        ),
        (
            "tests.worlds_continuous:POINT",
            replace(AGENT, random_steps=500),
            "agent.random_steps: 500 given; the replay",
        ),
        (
            "tests.worlds_continuous:POINT",
            replace(AGENT, replay_steps=2**31 - 1),
            r"agent.replay_steps: 2147483647 given; the replays of 2 agents take \d+ GiB, and there are \d+ GiB",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(environment, agent, line):
    make = off_policy(rollout_steps=2, discount=0.9, agent=agent)
    with pytest.raises(UserError, match=line):
        make_families([Entry(environment, 2, 4, 10, agent=ACTOR_CRITIC)], make)


def test_a_world_that_shows_nan_is_refused_in_one_line(tmp_path):
    config = replace(TINY, distribution="tests.worlds_continuous:BROKEN")
    with pytest.raises(UserError, match="BROKEN': observations with NaN or infinity are returned; must be finite"):
        meta_train(plugin, config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_memory_of_a_replay_is_foreseen():
    make = off_policy(rollout_steps=2, discount=0.9, agent=AGENT)
    (family,) = make_families([Entry("tests.worlds_continuous:POINT", 1, 4, 10, agent=ACTOR_CRITIC)], make)
    hyperparameters = {name: 0.1 for name in HYPERPARAMETERS}
    life = jax.eval_shape(lambda key: family.program.start(key, Birth((), hyperparameters, 9)), jax.random.key(0))
    assert size_of(life.replay.steps) == family.program.replay_bytes


@pytest.mark.slow
def test_updates_per_rollout_are_as_many_as_asked_for():
    agent = replace(AGENT, critic_updates=3, policy_updates=2)
    make = off_policy(rollout_steps=2, discount=0.9, agent=agent)
    (family,) = make_families([Entry("tests.worlds_continuous:POINT", 1, 4, 10, agent=ACTOR_CRITIC)], make)
    hyperparameters = {name: 0.1 for name in HYPERPARAMETERS}

    @jax.jit
    def one_update(key):
        life = family.program.start(key, Birth((), hyperparameters, 9))
        return life, family.program.update(CriticAscent(), (), life)[0]

    before, after = one_update(jax.random.key(0))
    assert (after.learner.actor_optimiser.count, after.learner.critic_optimiser.count, after.updates) == (2, 6, 1)
    assert after.replay.next_row - before.replay.next_row == 2


@pytest.mark.parametrize(
    "wrong", [{"windows": 0}, {"target_step_size": 0.0}, {"target_noise": -1.0}, {"critic_updates": 0}]
)
def test_impossible_agents_are_refused(wrong):
    with pytest.raises(UserError, match=rf"agent\.{next(iter(wrong))}: .* given; must be"):
        AgentSettings(**wrong)


@pytest.mark.parametrize(
    ("make", "wrong", "line"),
    [
        (AgentSettings, {"hidden": (8, 0)}, "agent.hidden: 8 0 given; widths must be at least 1"),
        (
            MetaSettings,
            {"inner_step": "sum"},
            "meta.inner_step: sum given; makes a difference to sgd only, not to adam",
        ),
        (MetaGenRLConfig, {"centred": True}, "network.centred: true given; needs network.product"),
        (MetaGenRLConfig, {"td_error": True, "use_values": False}, "network.td_error: true given; needs network.use_v"),
    ],
)
def test_settings_that_would_be_ignored_are_refused(make, wrong, line):
    with pytest.raises(UserError, match=line):
        make(**wrong)


@pytest.mark.slow
def test_a_time_limit_that_counts_as_an_end_has_no_value_after_it():
    @partial(jax.jit, static_argnums=0)
    def lived(program, key):
        hyperparameters = {name: 0.1 for name in HYPERPARAMETERS}
        life = program.start(key, Birth((), hyperparameters, 9))
        steps = jax.tree.map(lambda leaf: leaf[:40].reshape(10, 4, *leaf.shape[1:]), life.replay.steps)
        windows = Windows(steps, jnp.ones(steps.reward.shape, bool))
        return steps, program.agent.experience(life.learner.critic, life.learner.actor, windows).next_values

    for ends in (False, True):
        make = off_policy(rollout_steps=2, discount=0.9, agent=replace(AGENT, time_limits_end=ends))
        (family,) = make_families([Entry("tests.worlds_continuous:POINT", 1, 4, 10, agent=ACTOR_CRITIC)], make)
        steps, values = jax.device_get(lived(family.program, jax.random.key(0)))
        assert steps.truncated.any() and (values[steps.terminated] == 0).all()
        assert (values[steps.truncated] == 0).all() == ends


def compare_devices() -> None:
    """Run in a process of its own: states after three meta-updates on 2 and 8 devices are those on one, in float64."""
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_disable_most_optimizations", True)

    def run(devices):
        config: MetaTrainingConfig = replace(TINY, distribution="tests.worlds_continuous:LINE")
        trainer = make_trainer(plugin, config, devices)
        state = trainer.init()
        step = jax.jit(trainer.step)
        for _ in range(3):
            state, metrics = step(state)

        def numbers(leaf):
            is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

        return jax.tree.map(numbers, (state, metrics))

    one = run(1)
    assert one[0].eta["lstm"]["input"].dtype == np.float64
    for devices in (2, 8):
        for (path, a), b in zip(jax.tree_util.tree_leaves_with_path(one), jax.tree.leaves(run(devices)), strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-8, atol=1e-10, err_msg=f"{devices}: {jax.tree_util.keystr(path)}")


@pytest.mark.slow
def test_two_and_eight_devices_equal_one():
    import os

    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8", "JAX_PLATFORMS": "cpu"}
    code = "from tests.metagenrl.test_training import *; compare_devices()"
    root = Path(__file__).parent.parent.parent
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
