"""Worlds that are tables, and the grids made of them that nothing is trained on."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments.measured import uniform_returns
from metaobj.common.environments.unseen.grids import (
    UNSEEN_GRID,
    UNSEEN_NAMES,
    UnseenParams,
    make_unseen,
    make_world,
)
from metaobj.common.environments.unseen.layouts import CELLS, NOWHERE, STAY, Layout
from metaobj.common.environments.viewer import render
from metaobj.common.errors import UserError

pytestmark = pytest.mark.usefixtures("quick_compilation")

WORLDS = 64
UP, RIGHT, DOWN, LEFT = range(4)
WAYS = {UP: (-1, 0), RIGHT: (0, 1), DOWN: (1, 0), LEFT: (0, -1)}

_draw = jax.jit(jax.vmap(UNSEEN_GRID.sample_params, (0, None)))
step = jax.jit(UNSEEN_GRID.step)
world = jax.jit(make_world)


@functools.cache
def worlds(name: str, seed: int = 5) -> UnseenParams:
    return jax.tree.map(np.asarray, _draw(jax.random.split(jax.random.key(seed), WORLDS), make_unseen(name)[1]))


def one(params: UnseenParams, number: int) -> UnseenParams:
    return jax.tree.map(lambda leaf: leaf[number], params)


def by_hand(rows: int, columns: int, start: int, goal: int, **changes) -> Layout:
    calm = Layout(
        size=jnp.array([rows, columns]),
        start=jnp.int32(start),
        goal=jnp.int32(goal),
        key=jnp.int32(NOWHERE),
        lure=jnp.int32(NOWHERE),
        lure_reward=jnp.float32(0),
        walls=jnp.zeros(CELLS, bool),
        cliffs=jnp.zeros(CELLS, bool),
        wind=jnp.full(CELLS, STAY, jnp.int32),
    )
    return dataclasses.replace(calm, **changes)


def at(*cells: int) -> jax.Array:
    return jnp.zeros(CELLS, bool).at[jnp.array(cells)].set(True)


def solved(params: UnseenParams, steps: int) -> tuple[float, float]:
    """(random, optimal) of a world with another time limit."""
    limited = dataclasses.replace(params, max_steps=jnp.int32(steps))
    random, optimal = UNSEEN_GRID.reference_returns(jax.tree.map(lambda leaf: jnp.asarray(leaf)[None], limited))
    return random[0], optimal[0]


def play(params: UnseenParams, actions: list[int]) -> list[tuple[int, float, bool, bool]]:
    """(observation, reward, terminated, truncated) of each step."""
    _, state = UNSEEN_GRID.reset(jax.random.key(0), params)
    steps = []
    for i, action in enumerate(actions):
        observation, state, *rest, _ = step(jax.random.key(i), state, jnp.int32(action), params)
        steps.append((int(observation), *(leaf.item() for leaf in rest)))
    return steps


def test_two_by_two_by_hand():
    """From one corner to the opposite one: half of all moves there lead nowhere, a quarter of those beside it home."""
    params = world(by_hand(2, 2, start=0, goal=3))
    for steps, random, optimal in ((1, 0, 0), (2, 1 / 8, 1), (3, 1 / 4, 1)):
        np.testing.assert_allclose(solved(params, steps), (random, optimal), atol=1e-6)
    costly = world(by_hand(2, 2, start=0, goal=3), step_reward=-0.1)
    # Uniform actions: a step, another, and a third in the 7 of 8 episodes that go on.
    np.testing.assert_allclose(solved(costly, 3), (0.25 - 0.1 * (2 + 7 / 8), 0.8), atol=1e-6)
    # Nine of ten first moves lead beside the goal, one stays; eight of ten second ones then lead to it.
    slippery = world(by_hand(2, 2, start=0, goal=3), slip=0.2)
    np.testing.assert_allclose(solved(slippery, 2), (1 / 8, 0.72), atol=1e-6)


def test_a_cliff_and_a_lure_end_the_episode():
    row = by_hand(1, 5, start=1, goal=4, lure=jnp.int32(0), lure_reward=jnp.float32(0.25))
    assert play(world(row), [LEFT])[-1] == (0, 0.25, True, False)
    assert play(world(row), [UP, RIGHT, DOWN, RIGHT, RIGHT])[-1] == (4, 1.0, True, False)
    assert solved(world(row), 2)[1] == 0.25 and solved(world(row), 3)[1] == 1
    steep = world(by_hand(2, 2, start=0, goal=3, cliffs=at(1)))
    assert play(steep, [RIGHT])[-1] == (1, -1.0, True, False)
    assert play(steep, [DOWN, RIGHT])[-1] == (3, 1.0, True, False)
    np.testing.assert_allclose(solved(steep, 1), (-1 / 4, 0))


def test_the_goal_needs_the_key():
    params = world(by_hand(1, 3, start=1, goal=2, key=jnp.int32(0)))
    assert play(params, [RIGHT, LEFT, LEFT, RIGHT, RIGHT]) == [
        (2, 0.0, False, False),
        (1, 0.0, False, False),
        (CELLS, 0.0, False, False),
        (CELLS + 1, 0.0, False, False),
        (CELLS + 2, 1.0, True, False),
    ]
    assert solved(params, 2)[1] == 0 and solved(params, 3)[1] == 1


def test_wind_pushes_from_where_a_move_begins():
    blows = jnp.full(CELLS, STAY).at[jnp.array([1, 4, 7])].set(DOWN)  # the middle column of three
    params = world(by_hand(3, 3, start=0, goal=8, wind=blows))
    assert [s[0] for s in play(params, [RIGHT, RIGHT])] == [1, 5]
    assert [s[0] for s in play(params, [RIGHT, DOWN, UP, LEFT])] == [1, 7, 7, 6]
    assert [s[0] for s in play(params, [RIGHT, UP])] == [1, 4]  # against the edge, and then down
    walled = world(by_hand(3, 3, start=1, goal=8, wind=blows, walls=at(5)))
    assert [s[0] for s in play(walled, [RIGHT])] == [2]  # a wall stops the wind, not the move


def test_a_fifth_of_the_moves_slip():
    params = world(by_hand(3, 3, start=4, goal=8), slip=0.2)
    _, state = UNSEEN_GRID.reset(jax.random.key(0), params)
    keys = jax.random.split(jax.random.key(1), 4000)
    cells = jax.jit(jax.vmap(lambda key: UNSEEN_GRID.step(key, state, jnp.int32(UP), params)[0]))(keys)
    cells, counts = np.unique(cells, return_counts=True)
    assert cells.tolist() == [1, 3, 5]
    np.testing.assert_allclose(counts / 4000, [0.8, 0.1, 0.1], atol=0.03)


def test_the_time_limit_truncates_what_did_not_end():
    params = world(by_hand(1, 4, start=0, goal=3), max_steps=3)
    assert [s[2:] for s in play(params, [UP] * 3)] == [(False, False), (False, False), (False, True)]
    assert play(params, [RIGHT] * 3)[-1] == (3, 1.0, True, False)


def shortest(layout: Layout) -> int | None:
    """Fewest steps from start to goal, by way of the key, by breadth first and from the rules alone."""
    height, width = layout.size.tolist()
    closed = layout.walls | layout.cliffs
    closed = {divmod(i, width) for i in np.flatnonzero(closed).tolist()}
    spots = {name: divmod(getattr(layout, name).item(), width) for name in ("start", "goal", "key")}
    needs_key = layout.key.item() != NOWHERE

    def towards(place: tuple[int, int], way: tuple[int, int]) -> tuple[int, int]:
        y, x = place[0] + way[0], place[1] + way[1]
        return (y, x) if 0 <= y < height and 0 <= x < width and (y, x) not in closed else place

    reached = {(spots["start"], not needs_key)}
    for steps in range(1, 100):
        after = set()
        for place, holds in reached:
            wind = int(layout.wind[place[0] * width + place[1]])
            for way in WAYS.values():
                there = towards(place, way)
                there = towards(there, WAYS[wind]) if wind != STAY else there
                after.add((there, holds or there == spots["key"]))
        if (spots["goal"], True) in after:
            return steps
        reached |= after
    return None


@pytest.mark.parametrize("name", UNSEEN_NAMES)
def test_the_best_is_the_shortest_way(name):
    """Nothing short of its length earns the goal, where moves do not slip; and a longer limit does not help."""
    params = worlds(name)
    lengths = [shortest(one(params, i).layout) for i in range(WORLDS)]
    assert None not in lengths
    least = {"unseen/wind": 4, "unseen/corridor": 10}.get(name, 6)
    assert least <= min(lengths) and max(lengths) < params.max_steps.min() / 2
    if name == "unseen/slip":
        return
    steps = np.array(lengths, np.int32)
    pays = 1 - 0.01 * steps if name == "unseen/cost" else np.ones(WORLDS)
    for limit in (steps, params.max_steps):
        _, optimal = UNSEEN_GRID.reference_returns(dataclasses.replace(params, max_steps=limit))
        np.testing.assert_allclose(optimal, pays, atol=1e-5)
    _, too_soon = UNSEEN_GRID.reference_returns(dataclasses.replace(params, max_steps=steps - 1))
    assert (too_soon < 0.31).all()  # the corridor's lure is all there is to be had


@pytest.mark.parametrize("name", UNSEEN_NAMES)
def test_worlds_are_many_sound_and_worth_learning(name):
    params = worlds(name)
    states = np.arange(2 * CELLS)
    assert ((params.next_state >= 0) & (params.next_state < 2 * CELLS)).all()
    np.testing.assert_allclose(params.probability.sum(-1), 1, atol=1e-6)
    assert (params.probability >= 0).all() and params.next_state.shape[1:] == (states.size, 4, 3)
    random, optimal = UNSEEN_GRID.reference_returns(params)
    assert (optimal - random > 0.05).mean() > 0.95
    assert len({b"".join(leaf.tobytes() for leaf in jax.tree.leaves(one(params, i))) for i in range(WORLDS)}) == WORLDS
    again = _draw(jax.random.split(jax.random.key(5), WORLDS), make_unseen(name, "held_out")[1])
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_kinds_are_what_they_are_called():
    layouts = {name.partition("/")[2]: worlds(name).layout for name in UNSEEN_NAMES}
    for kind, layout in layouts.items():
        rows = {tuple(size) for size in layout.size.tolist()}
        if kind == "corridor":
            assert {y for y, _ in rows} == {1} and {x for _, x in rows} == set(range(14, 21))
            # Start between them, the lure near by.
            near, far = layout.start - layout.lure, layout.goal - layout.start
            assert (np.sign(near) == np.sign(far)).all() and set(np.abs(near).tolist()) == {2, 3}
            assert ((layout.lure_reward > 0.1) & (layout.lure_reward < 0.3)).all()
        else:
            assert rows == {(y, x) for y in (5, 6, 7) for x in (5, 6, 7)} and (layout.lure == NOWHERE).all()
        assert ((layout.key != NOWHERE) == (kind == "key")).all()
        assert ((layout.wind != STAY).any(-1) == (kind == "wind")).all()
        cliffs, walls = set(layout.cliffs.sum(-1).tolist()), set(layout.walls.sum(-1).tolist())
        assert cliffs == ({4, 5, 6, 7, 8} if kind == "cliff" else {0})
        assert walls == ({0} if kind in ("cliff", "corridor") else {1, 2, 3, 4})
    # Wind blows across a line that lies between start and goal.
    for i in range(WORLDS):
        layout = one(layouts["wind"], i)
        height, width = layout.size.tolist()
        (direction,) = set(layout.wind.tolist()) - {STAY}
        axis = 1 if direction in (UP, DOWN) else 0
        lines = {divmod(cell, width)[axis] for cell in np.flatnonzero(layout.wind[: height * width] != STAY).tolist()}
        assert len(lines) == 1
        ends = sorted(divmod(cell.item(), width)[axis] for cell in (layout.start, layout.goal))
        assert ends[0] < lines.pop() < ends[1]


@pytest.mark.parametrize("name", ["unseen/slip", "unseen/key", "unseen/cliff"])
def test_random_returns_equal_simulation(name):
    few = jax.tree.map(lambda leaf: jnp.asarray(leaf[:4]), worlds(name))
    random, _ = UNSEEN_GRID.reference_returns(few)
    # Returns lie within 2 of each other: the standard error of 500 episodes is at most 1 / 22.
    np.testing.assert_allclose(uniform_returns(UNSEEN_GRID, few, 500), random, atol=0.14)


@pytest.mark.parametrize("name", UNSEEN_NAMES)
def test_they_have_pictures(name):
    params = one(worlds(name), 0)
    _, state = UNSEEN_GRID.reset(jax.random.key(0), params)
    before = render(UNSEEN_GRID, state, params)
    with_key = render(UNSEEN_GRID, dataclasses.replace(state, index=state.index + CELLS), params)
    assert before.dtype == np.uint8 and before.std() > 0
    assert (before != with_key).any() == (name == "unseen/key")


def test_bad_names_and_parts_are_refused():
    with pytest.raises(UserError, match="'unseen/near' is unknown; choose from unseen/far"):
        make_unseen("unseen/near")
    with pytest.raises(UserError, match="'unseen/far' has no training part"):
        make_unseen("unseen/far", "training")
