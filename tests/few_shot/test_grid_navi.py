"""GridNavi by hand, what there is to be earned in it by brute force, and trials: what lasts and what does not."""

from dataclasses import replace
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.few_shot.grid import GridNavi
from experiments.few_shot.search import bayes_optimal, known_goal
from experiments.few_shot.trials import TrialAgent

pytestmark = pytest.mark.usefixtures("quick_compilation")
GRID = GridNavi()
SMALL = TrialAgent(GridNavi(3, 4), episodes=3, units=8, trials=6, minibatches=2)
STAY, RIGHT, LEFT, DOWN, UP = range(5)


def test_a_walk_by_hand():
    goal = jnp.int32(7)  # row 1, column 2
    cell, state = GRID.reset(jax.random.key(0), goal)
    seen = []
    for action in (LEFT, RIGHT, RIGHT, DOWN, STAY, UP, UP):
        cell, state, reward, terminated, truncated, _ = GRID.step(jax.random.key(0), state, action, goal)
        seen.append((int(cell), float(np.float32(reward))))
        assert not terminated
        assert not truncated
    assert [cell for cell, _ in seen] == [0, 1, 2, 7, 7, 2, 2]
    np.testing.assert_allclose([reward for _, reward in seen], [-0.1, -0.1, -0.1, 1, 1, -0.1, -0.1])
    for _ in range(8):
        *_, truncated, _ = after = GRID.step(jax.random.key(0), state, STAY, goal)
        state = after[1]
    assert truncated


def test_goals_are_outside_the_block_at_the_start_and_equally_likely():
    assert len(GRID.goals) == 21
    assert not {0, 1, 5, 6} & set(GRID.goals.tolist())
    drawn = jax.jit(jax.vmap(lambda key: GRID.sample_params(key, ())))(jax.random.split(jax.random.key(0), 21 * 200))
    cells, counts = np.unique(drawn, return_counts=True)
    np.testing.assert_array_equal(cells, GRID.goals)
    assert np.all(np.abs(counts - 200) < 70)  # five standard deviations


def by_brute_force(grid, episodes):
    """The best of all routes: each is walked until the goal is found, and each episode after goes straight there."""
    best = -np.inf
    T = grid.time_limit
    for actions in product(range(1, 5), repeat=episodes * T):
        total = 0.0
        cells, cell = [], 0
        for step, action in enumerate(actions):
            cell = grid.moves[0 if step % T == 0 else cell, action]
            cells.append(cell)
        for goal in grid.goals:
            found = cells.index(goal) if goal in cells else episodes * T
            episode, step = divmod(found, T)
            total -= 0.1 * T * episode
            if episode < episodes:
                total += T - step - 0.1 * step
                far = goal // grid.size + goal % grid.size
                there = max(T - far + 1, 0)
                total += (episodes - episode - 1) * (there - 0.1 * (T - there))
        best = max(best, total / len(grid.goals))
    return best


@pytest.mark.parametrize(("size", "steps", "episodes"), [(3, 4, 1), (3, 3, 2), (3, 6, 1), (4, 3, 2)])
def test_the_best_search_is_that_of_brute_force(size, steps, episodes):
    grid = GridNavi(size, steps)
    found = bayes_optimal(grid, episodes)
    assert found.returns.sum() == pytest.approx(by_brute_force(grid, episodes))
    assert found.returns.max() <= known_goal(grid) + 1e-9


def test_the_best_search_of_the_published_grid():
    found = bayes_optimal(GRID, 4)
    assert found.returns.sum() == pytest.approx(37.2142857)
    assert known_goal(GRID) == pytest.approx(11.0714286)
    # The route is one that can be walked, from the start in each episode.
    for row in found.route:
        before = np.concatenate([[0], row[:-1]])
        assert all(after in GRID.moves[cell] for cell, after in zip(before, row, strict=True))


@pytest.fixture(scope="module")
def params(quick_compilation):
    return jax.jit(SMALL.init)(jax.random.key(1))


@pytest.fixture(scope="module")
def trials(params):
    goals = jnp.array([8, 8, 2, 2, 5, 5], jnp.int32)
    return jax.tree.map(np.asarray, jax.jit(SMALL.play)(params, jax.random.key(2), goals))


def test_a_trial_puts_the_agent_back_and_tells_it(trials):
    places = SMALL.grid.observation_space.n
    cell, action = trials.inputs[..., :places].argmax(-1), trials.inputs[..., places : places + 5]
    reward, ended = trials.inputs[..., -2], trials.inputs[..., -1]
    starts = np.arange(0, SMALL.steps, 4)
    assert np.all(cell[starts] == 0)
    np.testing.assert_array_equal(ended.any(1), [step in starts[1:] for step in range(SMALL.steps)])
    np.testing.assert_array_equal(action[0], 0)
    np.testing.assert_array_equal(action[1:].argmax(-1), trials.action[:-1])
    np.testing.assert_array_equal(reward, np.concatenate([np.zeros((1, 6)), trials.reward[:-1]]))
    for step in range(SMALL.steps - 1):
        if step + 1 not in starts:
            np.testing.assert_array_equal(cell[step + 1], SMALL.grid.moves[cell[step], trials.action[step]])


def test_returns_are_sums_over_episodes(trials):
    returns = SMALL.returns(trials)
    assert returns.shape == (3, 6)
    np.testing.assert_allclose(returns[1], trials.reward[4:8].sum(0), rtol=1e-6)


def test_memory_lasts_over_episodes_and_is_fresh_in_each_trial(params, trials):

    other = trials.inputs.copy()
    other[2, 0, -2] += 1.0  # a reward in the first episode
    forgets = replace(SMALL, remembers=False)

    @jax.jit
    def logits(params):
        """As they were; with the other reward; of the first step alone; both again without memory."""
        empty = SMALL.no_memory(6)
        of = (SMALL.apply(params, empty, inputs)[1] for inputs in (trials.inputs, other, trials.inputs[:1]))
        theirs = forgets.init(jax.random.key(1))
        return *of, *(forgets.apply(theirs, empty, inputs)[1] for inputs in (trials.inputs, other))

    ours, changed, first, forgetful, forgetful_changed = map(np.asarray, logits(params))
    # What was acted by is what learning computes, over all episodes; trials begin with an empty memory.
    log_p = ours - np.log(np.exp(ours).sum(-1, keepdims=True))
    taken = np.take_along_axis(log_p, trials.action[..., None], -1)[..., 0]
    np.testing.assert_allclose(taken, trials.log_probability, atol=1e-5)
    np.testing.assert_allclose(first, ours[:1], atol=1e-6)
    # The reward is remembered in the last episode, in its own trial alone; without memory it is forgotten at once.
    change = np.abs(changed - ours).max(-1)
    assert np.all(change[8:, 0] > 0)
    assert np.all(change[:2] == 0)
    assert np.all(change[:, 1:] == 0)
    assert np.any(forgetful_changed[2] != forgetful[2])
    np.testing.assert_array_equal(forgetful_changed[3:], forgetful[3:])


def test_estimates_go_on_over_episodes_and_end_with_the_trial(trials):
    agent = replace(SMALL, lambda_=1.0, discount=0.5)
    advantage, returns = jax.jit(agent.estimates)(trials)
    by_hand = sum(0.5**k * np.asarray(trials.reward[3 + k]) for k in range(SMALL.steps - 3))
    np.testing.assert_allclose(returns[3], by_hand, rtol=1e-5)
    np.testing.assert_allclose(advantage, returns - trials.value, rtol=1e-6)
