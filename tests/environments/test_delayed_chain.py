import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments import CHAIN_NAMES, Box, Discrete, chain_spec, make_chain
from metaobj.common.environments.delayed_chain import (
    CHAIN,
    DISTRACTED_CHAIN,
    ChainParams,
    ChainState,
    DelayedChain,
)
from metaobj.common.errors import UserError

ALIASED, ALIASED_DISTRACTED = DelayedChain(50, aliased=True), DelayedChain(50, distractors=20, aliased=True)

step = jax.jit(DelayedChain.step, static_argnums=0)


def chain(length: int, correct: int = 0, noisy: bool = False, cost: float = 0.0, narrow: bool = False) -> ChainParams:
    """In branch 0 the right later actions are 0, 1, 0, 1, ... by steps taken, in branch 1 the others."""
    later = jnp.stack([jnp.arange(50) % 2, (jnp.arange(50) + 1) % 2])
    return ChainParams(
        jnp.asarray(length), jnp.asarray(correct), later, jnp.asarray(cost), jnp.asarray(narrow), jnp.asarray(noisy)
    )


def play(environment: DelayedChain, params: ChainParams, actions: list[int]) -> list[tuple]:
    _, state = environment.reset(jax.random.key(0), params)
    steps = []
    for i, action in enumerate(actions):
        observation, state, reward, terminated, truncated, _ = step(
            environment, jax.random.key(i + 1), state, jnp.asarray(action), params
        )
        steps.append((np.asarray(observation), float(reward), bool(terminated), bool(truncated)))
    return steps


@pytest.mark.parametrize("environment", [CHAIN, ALIASED])
@pytest.mark.parametrize("correct", [0, 1])
@pytest.mark.parametrize("first", [0, 1])
def test_first_action_alone_decides_the_payment(environment, correct, first):
    for others in ([0, 0, 0], [1, 1, 1]):
        steps = play(environment, chain(4, correct), [first, *others])
        assert [s[1] for s in steps] == [0, 0, 0, 1.0 if first == correct else -1.0]
        assert [s[2] for s in steps] == [False, False, False, True]
        assert not any(s[3] for s in steps)
        shown = [1, 2, 3, 4] if environment.aliased else [[1, 3, 5, 7], [2, 4, 6, 8]][first]
        assert [int(s[0]) for s in steps] == shown
        assert int(environment.reset(jax.random.key(0), chain(4))[0]) == 0


def test_chain_of_one_step_pays_at_once():
    for kind in ({"noisy": True}, {"cost": 0.5}, {"narrow": True}):
        assert play(CHAIN, chain(1, 1, **kind), [1])[0][1:] == (1.0, True, False)


def test_wrong_later_actions_cost_or_end():
    """In branch 1 the right ones after 1, 2 and 3 steps are 0, 1, 0."""
    assert [s[1] for s in play(CHAIN, chain(4, 1, cost=0.25), [1, 0, 1, 0])] == [0, 0, 0, 1]
    assert [s[1] for s in play(CHAIN, chain(4, 0, cost=0.25), [1, 1, 1, 1])] == [0, -0.25, 0, -1.25]
    assert [s[1:3] for s in play(CHAIN, chain(3, 1, narrow=True), [1, 0, 1])] == [(0, False), (0, False), (1, True)]
    assert play(CHAIN, chain(4, 1, narrow=True), [1, 0, 0])[-1][1:3] == (-2, True)
    assert play(CHAIN, chain(2, 0, narrow=True), [0, 0])[-1][1:3] == (-2, True)  # the last step's too


def test_noise_is_fair_and_strictly_between():
    def episode(key):
        def one(state, key):
            _, state, reward, *_ = CHAIN.step(key, state, jnp.asarray(0), chain(4, noisy=True))
            return state, reward

        return jax.lax.scan(one, CHAIN.reset(key, chain(4))[1], jax.random.split(key, 4))[1]

    rewards = np.asarray(jax.vmap(episode)(jax.random.split(jax.random.key(0), 2000)))  # [n, 4]
    assert (rewards[:, 0] == 0).all() and (rewards[:, 3] == 1).all()
    assert set(np.unique(rewards[:, 1:3])) == {-1.0, 1.0}
    assert abs(rewards[:, 1:3].mean()) < 0.1


@pytest.mark.parametrize("environment", [DISTRACTED_CHAIN, ALIASED_DISTRACTED])
def test_distractors_tell_two_bits_and_nothing_else(environment):
    aliased = environment.aliased
    assert environment.observation_space == Box((22,), 0.0, 1.0)
    keys = jax.random.split(jax.random.key(0), 1000)
    first = np.asarray(jax.vmap(environment.reset, (0, None))(keys, chain(3))[0])
    assert first.dtype == np.float32 and (first[:, :2] == ([1, 0] if aliased else [0, 0])).all()
    assert np.abs(first[:, 2:].mean(0) - 0.5).max() < 0.1
    zero, one = (play(environment, chain(3), [action, 0, 0]) for action in (0, 1))
    assert [s[0][:2].tolist() for s in zero] == ([[0, 0], [0, 1], [0, 0]] if aliased else [[1, 0]] * 3)
    assert [s[0][:2].tolist() for s in one] == ([[0, 0], [0, 1], [0, 0]] if aliased else [[0, 1]] * 3)
    assert all((a[0][2:] == b[0][2:]).all() for a, b in zip(zero, one, strict=True))


@pytest.mark.parametrize("kind", [{}, {"cost": 0.25}, {"narrow": True}, {"noisy": True}])
def test_reference_returns_are_those_of_value_iteration(kind):
    """Over states (steps taken, branch), with the mean of 2000 draws of the noise as reward."""
    length = 4
    params = chain(length, 1, **kind)

    @jax.jit
    def look(time, branch, action):
        keys = jax.random.split(jax.random.key(0), 2000)
        state = ChainState(time, branch)
        _, after, reward, ended, *_ = jax.vmap(CHAIN.step, (0, None, None, None))(keys, state, action, params)
        return after.time[0], after.branch[0], jnp.mean(reward), ended[0]

    values = {}
    for pick in (np.mean, np.max):
        value = {}
        for time in reversed(range(length)):
            for branch in (0, 1) if time else (0,):
                of_actions = []
                for action in (0, 1):
                    next_time, next_branch, reward, ended = look(*map(jnp.int32, (time, branch, action)))
                    following = 0.0 if ended else value[int(next_time), int(next_branch)]
                    of_actions.append(float(reward) + following)
                value[time, branch] = pick(of_actions)
        values[pick] = value[0, 0]
    (random,), (optimal,) = CHAIN.reference_returns(jax.tree.map(lambda leaf: leaf[None], params))
    tolerance = 0.1 if "noisy" in kind else 1e-6
    np.testing.assert_allclose([random, optimal], [values[np.mean], values[np.max]], atol=tolerance)


def test_lengths_and_actions_of_the_splits():
    expected = {
        "any": set(range(5, 31)),
        "held_out": set(range(8, 31, 4)),
        "training": {n for n in range(5, 31) if n % 4},
    }
    for split, lengths in expected.items():
        environment, spec = make_chain("short", split)
        keys = jax.random.split(jax.random.key(0), 2000)
        params = jax.vmap(environment.sample_params, (0, None))(keys, spec)
        values, counts = np.unique(params.length, return_counts=True)
        assert set(values.tolist()) == lengths
        assert counts.min() > 0.5 * 2000 / len(lengths)
        assert 0.4 < float(params.correct_action.mean()) < 0.6
        assert 0.48 < float(params.later_actions.mean()) < 0.52


def test_named_chains():
    shown = ("short", "long", "short_noisy", "long_noisy", "state_distractor")
    aliased = tuple(f"aliased_{name}" for name in shown)
    assert (*shown, "short_costly", "long_costly", "short_narrow", *aliased) == CHAIN_NAMES
    for name in CHAIN_NAMES:
        environment, spec = make_chain(name)
        assert bool(spec.noisy) == ("noisy" in name) and bool(spec.narrow) == ("narrow" in name)
        assert float(spec.cost) == pytest.approx(0.05 if "costly" in name else 0.0)
        assert environment.aliased == name.startswith("aliased") and spec.length[1] == (50 if "long" in name else 30)
    assert make_chain("long")[1].length.tolist() == [5, 50]
    assert CHAIN.observation_space == Discrete(101) and make_chain("aliased_long")[0].observation_space == Discrete(51)


def test_bad_chains_are_refused():
    for arguments, word in (
        ({"length": 51}, "length"),
        ({"length": 5, "split": "held_out"}, "split"),
        ({"length": 5, "split": "x"}, "split"),
        ({"length": 5, "cost": -1.0}, "cost"),
    ):
        with pytest.raises(UserError, match=word):
            chain_spec(CHAIN, **arguments)
    with pytest.raises(UserError, match="unknown"):
        make_chain("x")
