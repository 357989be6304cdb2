import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments import CHAIN_NAMES, Box, Discrete, chain_spec, make_chain
from metaobj.common.environments.delayed_chain import CHAIN, DISTRACTED_CHAIN, ChainParams, DelayedChain
from metaobj.common.errors import UserError

step = jax.jit(DelayedChain.step, static_argnums=0)


def play(environment: DelayedChain, params: ChainParams, actions: list[int]) -> list[tuple]:
    _, state = environment.reset(jax.random.key(0), params)
    steps = []
    for i, action in enumerate(actions):
        observation, state, reward, terminated, truncated, _ = step(
            environment, jax.random.key(i + 1), state, jnp.asarray(action), params
        )
        steps.append((np.asarray(observation), float(reward), bool(terminated), bool(truncated)))
    return steps


@pytest.mark.parametrize("correct", [0, 1])
@pytest.mark.parametrize("first", [0, 1])
def test_first_action_alone_decides_the_payment(correct, first):
    params = ChainParams(jnp.asarray(4), jnp.asarray(correct), jnp.asarray(False))
    for others in ([0, 0, 0], [1, 1, 1]):
        steps = play(CHAIN, params, [first, *others])
        assert [s[1] for s in steps] == [0, 0, 0, 1.0 if first == correct else -1.0]
        assert [s[2] for s in steps] == [False, False, False, True]
        assert not any(s[3] for s in steps)
        assert [int(s[0]) for s in steps] == [1, 2, 3, 4]  # the same whatever was done first


def test_chain_of_one_step_pays_at_once():
    params = ChainParams(jnp.asarray(1), jnp.asarray(1), jnp.asarray(True))
    assert play(CHAIN, params, [1])[0][1:] == (1.0, True, False)


def test_noise_is_fair_and_strictly_between():
    params = ChainParams(jnp.asarray(4), jnp.asarray(0), jnp.asarray(True))

    def episode(key):
        def one(state, key):
            _, state, reward, *_ = CHAIN.step(key, state, jnp.asarray(0), params)
            return state, reward

        return jax.lax.scan(one, CHAIN.reset(key, params)[1], jax.random.split(key, 4))[1]

    rewards = np.asarray(jax.vmap(episode)(jax.random.split(jax.random.key(0), 2000)))  # [n, 4]
    assert (rewards[:, 0] == 0).all() and (rewards[:, 3] == 1).all()
    assert set(np.unique(rewards[:, 1:3])) == {-1.0, 1.0}
    assert abs(rewards[:, 1:3].mean()) < 0.1


def test_distractors_tell_first_and_last_step_and_nothing_else():
    params = ChainParams(jnp.asarray(3), jnp.asarray(0), jnp.asarray(False))
    assert DISTRACTED_CHAIN.observation_space == Box((22,), 0.0, 1.0)
    keys = jax.random.split(jax.random.key(0), 1000)
    first = np.asarray(jax.vmap(DISTRACTED_CHAIN.reset, (0, None))(keys, params)[0])
    assert first.dtype == np.float32 and (first[:, :2] == [1, 0]).all()
    assert np.abs(first[:, 2:].mean(0) - 0.5).max() < 0.1
    zero, one = (play(DISTRACTED_CHAIN, params, [action, 0, 0]) for action in (0, 1))
    assert [s[0][:2].tolist() for s in zero] == [[0, 0], [0, 1], [0, 0]]
    assert all((a[0] == b[0]).all() for a, b in zip(zero, one, strict=True))


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


def test_named_chains():
    assert CHAIN_NAMES == ("short", "long", "short_noisy", "long_noisy", "state_distractor")
    noisy = {name: bool(make_chain(name)[1].noisy) for name in CHAIN_NAMES}
    assert [name for name, n in noisy.items() if n] == ["short_noisy", "long_noisy"]
    assert make_chain("long")[1].length.tolist() == [5, 50]
    assert CHAIN.observation_space == Discrete(51)


def test_bad_chains_are_refused():
    for arguments, word in (((51,), "length"), ((5, False, "held_out"), "split"), ((5, False, "x"), "split")):
        with pytest.raises(UserError, match=word):
            chain_spec(CHAIN, *arguments)
    with pytest.raises(UserError, match="unknown"):
        make_chain("x")
