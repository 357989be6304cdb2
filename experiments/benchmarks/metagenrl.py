"""Speed and memory of MetaGenRL's meta-update and of TD3."""

import time
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp

from metaobj.common.agents.settings import AgentSettings
from metaobj.common.devices import make_mesh
from metaobj.common.evaluation.baselines import td3
from metaobj.common.lifetimes.distributions import ACTOR_CRITIC, Entry
from metaobj.common.lifetimes.off_policy import OffPolicyLifetime
from metaobj.common.lifetimes.population import make_families, sampler_grids
from metaobj.common.lifetimes.sampler import make_sampler
from metaobj.common.meta.timed import MetaUpdate, median, timed
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.rules.off_policy import HYPERPARAMETERS
from metaobj.metagenrl.config import PRESETS
from metaobj.metagenrl.plugin import plugin

ENVIRONMENT = "brax/hopper"


def trainer(agents: int, replay_steps: int, chunk: int, cycles: int) -> MetaTrainer:
    """`metagenrl-paper` with agents in hopper.

    For one agent that is two environment steps, two critic updates of 100 windows of 20 steps, one policy update of
    100, and a meta-gradient of 200.
    """
    paper = PRESETS["metagenrl-paper"]
    settings = replace(paper.agent, replay_steps=replay_steps, random_steps=1000)
    config = replace(paper, log_every=cycles, checkpoint_every=cycles, chunk=chunk, agent=settings)
    objective = plugin.build(config)
    entries = (Entry(ENVIRONMENT, agents, 1, 2**30, (1e-3,), ACTOR_CRITIC),)
    families = make_families(entries, plugin.programs(config, objective))
    sampler = make_sampler(sampler_grids(entries, plugin.hyperparameters(config)), config.sampler)
    return MetaTrainer(objective, entries, families, sampler, config, make_mesh([agents]))


def cycle(
    repetitions: int, agents: int, replay_steps: int = 20_000, chunk: int = 1, cycles: int = 10
) -> dict[str, Any]:
    """A meta-update of some agents, by runs of `cycles` in one compiled program, whose memory is found once."""
    run = MetaUpdate(trainer(agents, replay_steps, chunk, cycles))
    run()
    wall, cpu = (seconds / cycles for seconds in median([timed(run) for _ in range(repetitions)]))
    (population,) = run.state.populations
    assert isinstance(population, OffPolicyLifetime)
    return {
        "compile_seconds": run.compile_seconds,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "steps_per_second": run.trainer.steps_per_update / wall,
        "updates_per_second": agents / wall,
        "state_megabytes": run.state_megabytes,
        "replay_megabytes": sum(leaf.nbytes for leaf in jax.tree.leaves(population.replay.steps)) / 1e6,
        "temporary_megabytes": run.temporary_megabytes,
    }


def baseline(repetitions: int, environments: int = 64, updates: int = 16) -> dict[str, Any]:
    """TD3 with batches of 256 single steps and nets of 64 x 64; 16 critic updates per step of all environments."""
    settings = AgentSettings(
        hidden=(64, 64),
        layer_norm=False,
        windows=256,
        window_steps=1,
        critic_updates=2,
        policy_updates=updates // 2,
        replay_steps=100_000,
        random_steps=1280,
    )
    method = td3(1, 0.99, settings)
    (family,) = make_families([Entry(ENVIRONMENT, 1, environments, 1000, agent=ACTOR_CRITIC)], method.programs)
    program = family.program
    hyperparameters = {name: jnp.float32(0.1 if name == "exploration_noise" else 1e-3) for name in HYPERPARAMETERS}
    life = jax.jit(lambda world, life: family.start(world, life, hyperparameters, 1000))(
        jax.random.key(0), jax.random.key(1)
    )

    def some(life: Any) -> Any:
        return jax.lax.scan(lambda life, _: (program.update(method.rule, (), life)[0], None), life, None, length=20)[0]

    begun = time.perf_counter()
    compiled = jax.jit(some, donate_argnums=0).lower(life).compile()
    compile_seconds = time.perf_counter() - begun
    pairs = []
    for at in range(3 + repetitions):
        begun, used = time.perf_counter(), time.process_time()
        life = jax.block_until_ready(compiled(life))
        if at >= 3:
            pairs.append((time.perf_counter() - begun, time.process_time() - used))
    wall, cpu = (seconds / 20 for seconds in median(pairs))
    return {
        "compile_seconds": compile_seconds,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "steps_per_second": environments / wall,
        "updates_per_second": updates / wall,
    }
