import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments import GRID_NAMES, Discrete, GridParams, GridState, GridWorld, grid_spec, make_grid
from metaobj.common.environments.grid.specs import (
    FOUR_ROOMS_WALLS,
    LONGER_HORIZON_WALLS,
    MOVING,
    SMALL,
    SMALL_MOVING,
    SMALL_WALLS,
    TABULAR,
)
from metaobj.common.errors import UserError
from tests.environments.sampling import sample_worlds

pytestmark = pytest.mark.usefixtures("quick_compilation")

STAY, RIGHT, DOWN, UP = 4, 5, 7, 1
WORLD = GridWorld(height=5, width=6, num_objects=3, num_states=8 * 30)


def world(environment: GridWorld = WORLD, walls: tuple[tuple[int, int], ...] = (), **fields: object) -> GridParams:
    """A 3x4 world, padded: a good object at (0, 3), a bad one at (2, 0), no third."""
    blocked = np.ones((environment.height, environment.width), bool)
    blocked[:3, :4] = False
    for cell in walls:
        blocked[cell] = True
    free = ~blocked
    if not environment.moving_objects:
        free[0, 3] = free[2, 0] = False
    params = GridParams(
        height=jnp.asarray(3),
        width=jnp.asarray(4),
        walls=jnp.asarray(blocked),
        object_positions=jnp.array([[0, 3], [2, 0], [0, 0]]),
        object_rewards=jnp.array([2.0, -1.0, 0.0]),
        end_probability=jnp.array([0.0, 1.0, 0.0]),
        return_probability=jnp.array([1.0, 0.0, 0.0]),
        object_exists=jnp.array([True, True, False]),
        step_reward=jnp.asarray(0.0),
        slip=jnp.asarray(0.0),
        max_steps=jnp.asarray(20),
        free_cells=jnp.argsort(~jnp.asarray(free).ravel(), stable=True),
        num_free=jnp.asarray(int(free.sum())),
        split=jnp.asarray(0),
    )
    return dataclasses.replace(params, **fields)


def at(y: int, x: int, present: tuple[bool, bool, bool] = (True, True, False), time: int = 0) -> GridState:
    return GridState(jnp.array([y, x]), jnp.array(present), None, jnp.asarray(time))


def step(state: GridState, action: int, params: GridParams, environment: GridWorld = WORLD) -> tuple:
    return step_jitted(environment, jax.random.key(0), state, jnp.asarray(action), params)


@pytest.mark.parametrize("action", range(9))
def test_moves_reach_all_neighbours(action):
    state = step(at(1, 1), action, world())[1]
    assert state.position.tolist() == [action // 3, action % 3]


@pytest.mark.parametrize(
    ("position", "action"), [((0, 1), UP), ((2, 3), DOWN), ((2, 3), RIGHT), ((1, 0), RIGHT), ((0, 0), 8)]
)
def test_walls_edges_and_padding_block(position, action):
    state = step(at(*position), action, world(walls=((1, 1),)))[1]
    assert tuple(state.position.tolist()) == position


def test_collection_pays_removes_and_object_returns_one_step_later():
    observation, state, reward, terminated, truncated, _ = step(at(0, 2), RIGHT, world())
    assert (float(reward), state.present.tolist()) == (2.0, [False, True, False])
    assert not terminated and not truncated
    assert observation == 0b10 * 12 + 3
    observation, state, reward, *_ = step(state, STAY, world())
    assert (float(reward), state.present.tolist()) == (0.0, [True, True, False])
    assert step(state, STAY, world())[2] == 2.0  # standing on a returned object collects it


def test_absent_object_pays_nothing_and_may_stay_away():
    params = world(return_probability=jnp.zeros(3))
    state, reward = step(at(0, 2, (False, True, False)), RIGHT, params)[1:3]
    assert (float(reward), state.present.tolist()) == (0.0, [False, True, False])


def test_end_probability_and_time_limit_never_both():
    _, _, reward, terminated, truncated, _ = step(at(2, 1, time=19), 3, world())
    assert (float(reward), bool(terminated), bool(truncated)) == (-1.0, True, False)
    _, state, _, terminated, truncated, _ = step(at(1, 1, time=19), STAY, world())
    assert (int(state.time), bool(terminated), bool(truncated)) == (20, False, True)
    assert not step(at(1, 1, time=18), STAY, world())[4]


def test_collect_action_collects_only_with_the_latter_nine():
    environment = dataclasses.replace(WORLD, collect_action=True)
    assert (WORLD.action_space, environment.action_space) == (Discrete(9), Discrete(18))
    state, reward = step(at(0, 2), RIGHT, world(), environment)[1:3]
    assert (state.position.tolist(), float(reward)) == ([0, 3], 0.0)
    assert state.present[0]
    assert step(state, 9 + STAY, world(), environment)[2] == 2.0
    assert step(at(0, 2), 9 + RIGHT, world(), environment)[2] == 2.0


def test_index_is_a_bijection_on_the_worlds_own_size():
    params = world(object_exists=jnp.array([True, True, True]))
    masks = np.array([[m >> i & 1 for i in range(3)] for m in range(8)], bool)
    cells = [(y, x) for y in range(3) for x in range(4)]
    seen = [int(WORLD.observe(at(*cell, tuple(mask)), params)) for mask in masks for cell in cells]
    assert seen == list(range(8 * 12))


def test_end_and_return_happen_at_their_rates():
    params = world(end_probability=jnp.full(3, 0.3), return_probability=jnp.full(3, 0.2))
    keys = jax.random.split(jax.random.key(1), 4000)
    batched = jax.vmap(WORLD.step, (0, None, None, None))
    terminated = batched(keys, at(0, 2), jnp.asarray(RIGHT), params)[3]
    assert abs(float(terminated.mean()) - 0.3) < 0.04
    present = batched(keys, at(1, 1, (False, False, False)), jnp.asarray(STAY), params)[1].present
    assert abs(float(present[:, 0].mean()) - 0.2) < 0.04
    assert abs(float((present[:, 0] & present[:, 1]).mean()) - 0.04) < 0.02  # independent
    assert not present[:, 2].any()  # padding never appears


def test_agent_starts_uniformly_on_free_cells():
    params = world(walls=((1, 1),))
    keys = jax.random.split(jax.random.key(2), 4500)
    positions = np.asarray(jax.vmap(WORLD.reset, (0, None))(keys, params)[1].position)
    counts = np.zeros((5, 6))
    np.add.at(counts, tuple(positions.T), 1)
    assert int((counts > 0).sum()) == 9  # 12 cells, 1 wall, 2 objects
    assert counts[counts > 0].min() > 400 and counts.max() < 600
    assert counts[1, 1] == counts[0, 3] == counts[2, 0] == 0


def test_moving_objects_are_placed_uniformly_on_distinct_free_cells_and_seen():
    environment = dataclasses.replace(WORLD, moving_objects=True)
    params = world(environment, walls=((1, 1),))
    keys = jax.random.split(jax.random.key(3), 5500)
    observation, state = jax.vmap(environment.reset, (0, None))(keys, params)
    cells = np.asarray(jnp.concatenate([state.object_positions[:, :2], state.position[:, None]], 1))  # [n, 3, 2]
    number = cells[..., 0] * 6 + cells[..., 1]
    assert all(len(set(row)) == 3 for row in number.tolist())
    for column in number.T:
        counts = np.bincount(column, minlength=30)
        assert (counts > 0).sum() == 11 and counts[7] == 0
        assert counts[counts > 0].min() > 390 and counts.max() < 610
    assert observation.dtype == bool and observation.shape == (5500, 5, 6, 4)
    assert observation.sum((1, 2)).tolist() == [[1, 1, 0, 1]] * 5500
    seen = np.argwhere(np.asarray(observation[7]).transpose(2, 0, 1))  # (plane, y, x)
    assert seen.tolist() == [[0, *cells[7, 0]], [1, *cells[7, 1]], [3, *cells[7, 2]]]


def test_moving_object_is_collected_where_it_was_placed():
    environment = dataclasses.replace(WORLD, moving_objects=True)
    params = world(environment)
    state = dataclasses.replace(at(1, 1), object_positions=jnp.array([[1, 2], [2, 2], [0, 0]]))
    observation, state, reward, *_ = step(state, RIGHT, params, environment)
    assert reward == 2.0 and not observation[..., 0].any() and observation[2, 2, 1]
    assert step(state, STAY, params, environment)[0][1, 2, 0]  # back, on the same cell


def layouts(params: GridParams) -> set[tuple]:
    """Layouts up to the order of objects."""
    cells = np.sort(np.asarray(params.object_positions @ jnp.array([100, 1])) * np.asarray(params.object_exists), -1)
    rest = np.asarray(params.walls).reshape(len(cells), -1)
    sizes = np.stack([params.height, params.width], -1)
    return {(*c, *w, *s) for c, w, s in zip(cells.tolist(), rest.tolist(), sizes.tolist(), strict=True)}


def sample(name: str, split: str, n: int) -> tuple[GridWorld, GridParams]:
    environment, spec = make_grid(name, split)
    return environment, jax.tree.map(lambda x: x[:n], sample_worlds(environment, spec))


step_jitted = jax.jit(GridWorld.step, static_argnums=0)


@pytest.mark.parametrize("name", ["small_layouts", pytest.param("random_small_worlds", marks=pytest.mark.slow)])
def test_training_and_held_out_worlds_are_disjoint(name):
    training, held_out, both = (layouts(sample(name, split, 3000)[1]) for split in ("training", "held_out", "any"))
    assert len(training) > 500 and len(held_out) > 200
    assert not training & held_out
    if name == "small_layouts":  # 2300 layouts: both kinds occur among all of them
        assert both & training and both & held_out


@pytest.mark.slow
def test_moving_placements_are_split_by_the_first_object():
    for split, allowed in (("training", {0, 1, 2}), ("held_out", {3}), ("any", {0, 1, 2, 3})):
        environment, params = sample("random_small", split, 1)
        params = jax.tree.map(lambda x: x[0], params)
        keys = jax.random.split(jax.random.key(6), 2000)
        cells = jax.vmap(environment.reset, (0, None))(keys, params)[1].object_positions[:, 0] @ jnp.array([11, 1])
        ranks = np.searchsorted(np.asarray(params.free_cells)[: int(params.num_free)], np.asarray(cells))
        assert set((ranks % 4).tolist()) == allowed
        assert len(set(ranks.tolist())) == sum(r % 4 in allowed for r in range(33))


@pytest.mark.parametrize("name", GRID_NAMES)
def test_named_worlds_are_valid(name):
    environment, params = sample(name, "training", 64)
    walls, exists, positions = (np.asarray(x) for x in (params.walls, params.object_exists, params.object_positions))
    inside = (np.arange(environment.height)[:, None] < np.asarray(params.height)[:, None, None]) & (
        np.arange(environment.width) < np.asarray(params.width)[:, None, None]
    )
    assert (walls | inside).all()
    for world_walls, e, p in zip(walls, exists, positions, strict=True):
        cells = [tuple(c) for c in p[e].tolist()]
        assert len(set(cells)) == len(cells) and not any(world_walls[c] for c in cells)
    assert (np.asarray(params.num_free) >= 2).all()
    for probability in (params.end_probability, params.return_probability):
        assert (probability >= 0).all() and (probability <= 1).all()
    if not environment.moving_objects:
        states = 2 ** exists.sum(-1) * np.asarray(params.height) * np.asarray(params.width)
        assert states.max() <= environment.num_states


def test_random_small_worlds_span_their_ranges():
    params = sample("random_small_worlds", "any", 2000)[1]
    exists = np.asarray(params.object_exists)
    assert set(np.asarray(params.height).tolist()) == set(np.asarray(params.width).tolist()) == set(range(4, 11))
    assert set(exists.sum(-1).tolist()) == {1, 2, 3, 4, 5}
    steps = np.asarray(params.max_steps)
    assert steps.min() < 25 and steps.max() > 650 and steps.min() >= 20 and steps.max() <= 750
    assert 95 < np.median(steps) < 160  # log-uniform: the geometric mean of its ends is 122
    own = np.asarray(params.height) * np.asarray(params.width)
    num_walls = own - exists.sum(-1) - np.asarray(params.num_free)
    assert num_walls.min() == 0 and num_walls.max() == 15
    rewards = np.asarray(params.object_rewards)
    assert (rewards[:, 0] >= 0).all() and -1 <= rewards.min() < -0.95 and rewards[~exists].max() == 0


def test_fixed_numbers_are_exact():
    params = sample("longer_horizon", "training", 8)[1]
    assert np.asarray(params.max_steps).tolist() == [2000] * 8
    np.testing.assert_array_equal(params.end_probability[0], np.float32([0.1] * 2 + [0.8] * 5))
    np.testing.assert_array_equal(params.return_probability[0], np.float32([0.01] * 2 + [1] * 5))
    assert [row.count("1") for row in LONGER_HORIZON_WALLS] == [1, 0, 1, 3, 1, 0, 1]
    assert sum(row.count("1") for row in SMALL_WALLS) == 2
    assert [row.count("1") for row in FOUR_ROOMS_WALLS] == [0, 1, 1, 1, 9, 1, 1, 0, 1, 1, 1]


def test_every_step_pays_and_scales_go_over_all_rewards():
    assert float(step(at(1, 1), STAY, world(step_reward=jnp.asarray(-0.5)))[2]) == -0.5
    assert float(step(at(0, 2), RIGHT, world(step_reward=jnp.asarray(-0.5)))[2]) == 1.5
    fields = {"height": 4, "width": 4, "objects": [(2, 0, 0.1)], "max_steps": 10, "step_reward": 0.5}
    params = sample_worlds(TABULAR, grid_spec(TABULAR, reward_scale=(0.1, 10), **fields))
    scale = np.asarray(params.step_reward) / 0.5
    np.testing.assert_allclose(params.object_rewards[:, 0], 2 * scale, rtol=1e-6)
    assert 0.1 <= scale.min() < 0.11 and 9 < scale.max() <= 10 and 0.8 < np.median(scale) < 1.25


def test_a_slip_leads_to_every_neighbour_alike():
    """Slips of probability 0.9: the chosen cell has 0.1 + 0.9 / 9 and each of the eight others 0.1."""
    params = world(slip=jnp.asarray(0.9))
    keys = jax.random.split(jax.random.key(0), 4000)
    move = jax.jit(jax.vmap(WORLD.step, (0, None, None, None)))
    cells = np.asarray(move(keys, at(1, 1), jnp.asarray(RIGHT), params)[1].position) @ [3, 1]
    shares = np.bincount(cells, minlength=9) / len(keys)
    np.testing.assert_allclose(shares, np.where(np.arange(9) == 5, 0.2, 0.1), atol=0.03)


@pytest.mark.parametrize("moving", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_small_worlds_that_pay_or_cost_on_every_step(moving):
    prefix = "moving_" if moving else ""
    environment, spec = make_grid(f"{prefix}survive", "training")
    params = sample_worlds(environment, spec)
    exists = np.asarray(params.object_exists)
    assert (np.asarray(params.step_reward) > 0).all() and (np.asarray(params.slip) >= 0.05).all()
    assert (np.asarray(params.end_probability)[exists] == 1).all() and (np.asarray(params.object_rewards) <= 0).all()
    negative = sample_worlds(environment, make_grid(f"{prefix}negative", "training")[1])
    assert (np.asarray(negative.step_reward) < 0).all()
    any_small = sample_worlds(environment, make_grid(f"{prefix}any_small", "training")[1])
    assert (np.asarray(any_small.object_rewards)[:, 0] > 0).all() and np.asarray(any_small.object_rewards).min() < -5
    one = jax.tree.map(lambda leaf: leaf[:2], params)
    random, optimal = environment.reference_returns(one)
    assert (random > 0).all() and (random < optimal).all()


def test_families_share_one_program():
    families = {make_grid(name)[0] for name in GRID_NAMES if name != "small_layouts"}
    assert families == {TABULAR, MOVING, SMALL, SMALL_MOVING}
    specs = [make_grid(name)[1] for name in GRID_NAMES if make_grid(name)[0] == TABULAR]
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), spec) for spec in specs]
    assert all(shape == shapes[0] for shape in shapes)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *specs)  # one lifetime per distribution
    params = jax.jit(jax.vmap(TABULAR.sample_params))(jax.random.split(jax.random.key(0), len(specs)), stacked)
    assert params.max_steps[:5].tolist() == [500, 50, 1000, 2000, 2000]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"split": "test"}, "split"),
        ({"height": 14}, "height"),
        ({"objects": [(1, 0, 0)] * 8}, "objects"),
        ({"objects": [(1, 2, 0)]}, "end probability"),
        ({"objects": [(1, 0, (0, 0.5))]}, "return probability"),
        ({"objects": [(1, 0, 0)] * 7, "height": 13, "width": 13}, "num_states"),
        ({"max_steps": 0}, "max_steps"),
        ({"height": 2, "width": 2}, "free cells"),
        ({"height": 3, "width": 3, "split": "held_out"}, "too few"),
        ({"max_random_walls": -1}, "max_random_walls"),
        ({"reward_scale": 0.0}, "reward_scale"),
        ({"slip": (0.0, 1.5)}, "slip"),
        ({"step_reward": float("nan")}, "step_reward"),
    ],
)
def test_bad_worlds_are_refused(change, word):
    fields = {"height": 5, "width": 5, "objects": [(1, 0, 0.1)], "max_steps": 10, **change}
    with pytest.raises(UserError, match=word):
        grid_spec(TABULAR, **fields)
    with pytest.raises(UserError, match="unknown"):
        make_grid("nowhere")
