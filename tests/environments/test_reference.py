import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments import (
    GridParams,
    GridWorld,
    GymnaxEnvironment,
    grid_spec,
    make_chain,
    make_grid,
    reference_returns,
)
from metaobj.common.environments.grid.reference import optimal_return, random_return
from metaobj.common.experience.rollout import reset, rollout, sampled
from tests.environments.sampling import sample_world, sample_worlds

pytestmark = pytest.mark.usefixtures("quick_compilation")

OBJECTS = [(1, 0.2, 0.3), (0.5, 0.0, 0.05), (-1, 0.5, 0.5)]


def tiny(collect_action: bool, seed: int, max_steps: int = 5) -> tuple[GridWorld, GridParams]:
    """A 3x3 world with up to three objects and a wall, padded to 4x4 and four objects."""
    environment = GridWorld(4, 4, 4, 16 * 16, collect_action=collect_action)
    slip = (0.0, 0.0, 0.3)[seed % 3]
    spec = grid_spec(
        environment,
        height=3,
        width=3,
        objects=OBJECTS,
        min_objects=2,
        max_steps=max_steps,
        max_random_walls=2,
        step_reward=(-1, 1),
        reward_scale=(0.5, 2),
        slip=slip,
    )
    return environment, sample_world(environment, spec, seed)


def brute_force(environment: GridWorld, params: GridParams, optimal: bool) -> float:
    """Recursion over explicit states, actions and every combination of what may come back, from the rules alone."""
    walls = np.asarray(params.walls)
    exists = np.flatnonzero(np.asarray(params.object_exists)).tolist()
    cells = {tuple(np.asarray(params.object_positions)[i].tolist()): i for i in exists}
    rewards, ends, returns = (
        np.asarray(x, float).tolist()
        for x in (params.object_rewards, params.end_probability, params.return_probability)
    )
    every_step, slip = float(params.step_reward), float(params.slip)

    @functools.cache
    def value(y: int, x: int, present: frozenset, left: int) -> float:
        if left == 0:
            return 0.0
        outcomes = []  # of moves 0 to 8, and of the same nine with collection
        for action in range(environment.action_space.n):
            to = (y + action % 9 // 3 - 1, x + action % 3 - 1)
            if not (0 <= to[0] < 4 and 0 <= to[1] < 4) or walls[to]:
                to = (y, x)
            hit = cells.get(to)
            collects = hit in present and (not environment.collect_action or action >= 9)
            absent = [i for i in exists if i not in present]
            expected = 0.0
            for back in itertools.product((False, True), repeat=len(absent)):
                probability = np.prod([returns[i] if b else 1 - returns[i] for i, b in zip(absent, back, strict=True)])
                after = present - {hit} if collects else present
                after |= {i for i, b in zip(absent, back, strict=True) if b}
                expected += probability * value(*to, frozenset(after), left - 1)
            outcomes.append(every_step + (rewards[hit] + (1 - ends[hit]) * expected if collects else expected))
        # A slip changes the move and not whether it collects.
        kinds = [outcomes[at : at + 9] for at in range(0, len(outcomes), 9)]
        slipped = sum(map(max, *kinds)) / 9 if optimal and len(kinds) > 1 else sum(outcomes) / len(outcomes)
        chosen = max(outcomes) if optimal else sum(outcomes) / len(outcomes)
        return (1 - slip) * chosen + slip * slipped

    starts = [(y, x) for y, x in itertools.product(range(3), range(3)) if not walls[y, x] and (y, x) not in cells]
    return sum(value(*cell, frozenset(exists), int(params.max_steps)) for cell in starts) / len(starts)


@pytest.mark.parametrize("collect_action", [pytest.param(False, marks=pytest.mark.slow), True])
def test_equals_exhaustive_recursion(collect_action):
    worlds = [tiny(collect_action, seed) for seed in range(6)]
    assert {int(w.object_exists.sum()) for _, w in worlds} == {2, 3}
    assert len({float(w.step_reward) for _, w in worlds}) == 6 and any(w.slip > 0 for _, w in worlds)
    environment = worlds[0][0]
    params = jax.tree.map(lambda *x: jnp.stack(x), *(w for _, w in worlds))
    random, optimal = reference_returns(environment, params)
    for i, (_, world) in enumerate(worlds):
        assert random[i] == pytest.approx(brute_force(environment, world, optimal=False), abs=1e-5)
        assert optimal[i] == pytest.approx(brute_force(environment, world, optimal=True), abs=1e-5)
    # Without trimming, under vmap, the padding changes nothing.
    if not collect_action:
        mapped = jax.jit(jax.vmap(lambda w: optimal_return(environment, w)))(params)
        np.testing.assert_allclose(mapped, optimal, rtol=1e-5)


@pytest.mark.parametrize("moving", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_random_return_equals_simulation(moving):
    environment = GridWorld(4, 5, 3, 160, moving_objects=moving)
    spec = grid_spec(environment, height=4, width=5, objects=OBJECTS, max_steps=20, step_reward=0.1, slip=0.5)
    params = sample_world(environment, spec)

    def uniform(observation):
        return jnp.zeros((observation.shape[0], 9))

    @jax.jit
    def play(key, params):  # a key that is known to the compiler would be folded for seconds
        worlds = reset(key, environment, params, 4000)
        return rollout(jax.random.fold_in(key, 1), environment, params, worlds, sampled(uniform), 20)[1]

    steps = play(jax.random.key(1), params)  # the time limit ends every first episode within it
    ended = np.asarray(steps.terminated | steps.truncated)
    first = np.cumsum(ended, axis=0) - ended == 0  # [T, B]
    simulated = np.sum(np.asarray(steps.reward) * first, axis=0)
    error = simulated.std() / np.sqrt(len(simulated))
    computed = float(jax.jit(lambda world: random_return(environment, world))(params))
    assert error < 0.05
    assert computed == pytest.approx(simulated.mean(), abs=5 * error + (0.08 if moving else 0.0))


def test_known_optimum():
    environment = GridWorld(1, 9, 1, 18)
    spec = grid_spec(environment, height=1, width=9, objects=[(1, 1, 0)], max_steps=8)
    params = sample_world(environment, spec)
    optimal = jax.jit(lambda world: optimal_return(environment, world))
    assert optimal(params) == pytest.approx(1.0)  # every cell is within reach
    nearer = dataclasses.replace(params, max_steps=jnp.asarray(1), object_positions=jnp.array([[0, 0]]))
    assert optimal(nearer) == pytest.approx(1 / 8)  # of eight starts only the neighbour's


@pytest.mark.slow
def test_largest_named_worlds_are_finite():
    environment, spec = make_grid("longer_horizon", "held_out")
    params = jax.tree.map(lambda x: x[:1], sample_worlds(environment, spec))
    random, optimal = reference_returns(environment, params)
    assert random[0] < 0 < optimal[0] < 20


def test_chains_and_gymnax():
    environment, spec = make_chain("long_noisy")
    params = jax.vmap(environment.sample_params, (0, None))(jax.random.split(jax.random.key(0), 3), spec)
    random, optimal = reference_returns(environment, params)
    assert (random.tolist(), optimal.tolist()) == ([0.0] * 3, [1.0] * 3)
    for name, best in (("CartPole-v1", 500.0), ("Acrobot-v1", None)):
        adapted = GymnaxEnvironment(name)
        params = jax.tree.map(lambda x: jnp.stack([x, x]), adapted.sample_params(jax.random.key(0)))
        result = reference_returns(adapted, params)
        assert result is None if best is None else result[1].tolist() == [best, best]
