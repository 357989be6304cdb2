"""A start for Disco from a policy improvement that people wrote."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rich.console import Console

from metaobj.common.errors import UserError
from metaobj.common.objectives.teaching import BY_STUDENT
from metaobj.common.objectives.train import make_trainer, started
from metaobj.disco.config import PRESETS
from metaobj.disco.objective import Disco, DiscoConfig, see
from metaobj.disco.plugin import plugin
from metaobj.disco.scalars import BINS, expected, two_hot
from metaobj.disco.start import DiscoDistillation, Muesli, distil
from tests.disco.parity import batch_of

pytestmark = pytest.mark.usefixtures("quick_compilation")
RULE = Disco(DiscoConfig(units=3, life_units=2, hidden=3, categories=4))
T, B, A = 2, 1, 3


def lived(student: float):
    """A rollout, and what an agent says of it whose action values are a bin each: (batch, heads, next heads)."""
    batch = batch_of(
        jnp.zeros((T + 1, B, 2)),
        jnp.zeros((T + 1, B), int),
        jnp.ones((T + 1, B)),
        np.ones((T + 1, B)),
        jnp.zeros((T + 1, B, A)),
        RULE.first_memory(),
        **{BY_STUDENT: student},
    )
    bins = jnp.array([302, 303, 300])  # of the three actions
    sizes = {"policy": (A,), "y": (4,), "z": (A, 4), "q": (A, BINS), "next_policy": (A, A)}
    heads = {name: jnp.zeros((T, B, *size)) for name, size in sizes.items()}
    heads["q"] = heads["q"] - 1e9 * (1 - jax.nn.one_hot(bins, BINS))
    heads |= {f"target_{name}": x for name, x in heads.items()}
    heads["target_policy"] = jnp.broadcast_to(jnp.log(jnp.array([0.2, 0.3, 0.5])), (T, B, A))
    return batch, heads, heads


def test_it_moves_the_targets_policy_towards_better_actions_and_no_further_than_it_may():
    eta, rule = jax.jit(RULE.init)(jax.random.key(0)), DiscoDistillation(RULE, Muesli(0.9))

    @jax.jit
    def told(eta, batch, heads, after):
        seen, _ = see(heads, after, batch, 0.9)
        return rule.targets(eta, heads, after, batch), RULE.targets(eta, heads, after, batch)[0], seen

    batch, heads, after = lived(student=0.0)
    (targets, about), given, seen = told(eta, batch, heads, after)
    moved = targets.said.policy - heads["target_policy"]
    values = expected(heads["q"])  # the policy is uniform
    advantages = np.array(values - values.mean(-1, keepdims=True))
    advantages[..., 0] = seen.values.returns - values.mean(-1)  # of the action taken
    advantages = (advantages - seen.advantages.mean) / seen.advantages.deviation
    np.testing.assert_allclose(moved, np.clip(advantages, -1.0, 1.0), rtol=1e-5, atol=1e-6)
    assert (abs(moved[..., 0]) < 1).all() and (moved[..., 1] == 1).all() and (moved[..., 2] == -1).all(), "clipped"
    log_wanted, log_given = (jax.nn.log_softmax(x.said.policy) for x in (targets, given))
    kl = jnp.mean(jnp.sum(jnp.exp(log_wanted) * (log_wanted - log_given), -1))
    np.testing.assert_allclose(about["policy_error"], kl, rtol=1e-5)
    assert kl > 0.01
    np.testing.assert_array_equal(targets.said.y, given.said.y)
    (targets, _), given, _ = told(eta, *lived(student=1.0))
    jax.tree.map(np.testing.assert_array_equal, targets, given)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"start": "a2c"}, "start: 'a2c' given; choose from none, muesli"),
        ({"start": "muesli", "init": "x"}, "start: muesli given; must be none where init"),
        ({"start": "muesli", "start_updates": 7}, r"log_every: 2 given; must divide .* and start_updates \(7\)"),
    ],
)
def test_what_cannot_be_started_is_told(changes, says):
    with pytest.raises(UserError, match=says):
        replace(PRESETS["smoke"], **changes)


def test_a_length_without_a_start_is_told():
    config = replace(PRESETS["smoke"], start="none", start_updates=4)
    with pytest.raises(UserError, match="start_updates: 4 given; start says that nothing is distilled"):
        started(plugin, make_trainer(plugin, config), None, Console())


def said_at_random(key):
    """A rollout of many environments, and what an agent says of it, all drawn anew: (batch, heads, next heads)."""
    rows, keys = 64, iter(jax.random.split(key, 12))
    draw = lambda *shape: jax.random.normal(next(keys), (T + 1, rows, *shape))  # noqa: E731
    actions = jax.random.randint(next(keys), (T + 1, rows), 0, A)
    nothing, one = np.zeros((T + 1, rows, 2)), np.ones((T + 1, rows))
    batch = batch_of(nothing, actions, draw(), one, draw(A), RULE.first_memory(), **{BY_STUDENT: 1.0})
    bins = 300 + 3 * draw(A)
    heads = {"policy": draw(A), "y": draw(4), "z": draw(A, 4), "next_policy": draw(A, A)}
    heads["q"] = 1e2 * two_hot(jnp.clip(bins, 290, 310)) - 1e2
    heads |= {f"target_{name}": x for name, x in heads.items()}
    before, after = jax.tree.map(lambda x: x[:-1], heads), jax.tree.map(lambda x: x[1:], heads)
    return batch, before, after


def test_a_network_can_be_what_the_teacher_is():
    """By descent of the teacher's errors, each on a rollout that it has not seen."""
    rule, optimiser = DiscoDistillation(RULE, Muesli(0.9)), optax.adam(1e-2)

    def error(eta, key):
        batch, heads, after = said_at_random(key)
        return rule.targets(eta, heads, after, batch)[1]["policy_error"]

    def update(state, key):
        eta, moments = state
        found, gradient = jax.value_and_grad(error)(eta, key)
        steps, moments = optimiser.update(gradient, moments)
        return (optax.apply_updates(eta, steps), moments), found

    @jax.jit
    def errors(key):
        first, lessons = jax.random.split(key)
        eta = RULE.init(first)
        return jax.lax.scan(update, (eta, optimiser.init(eta)), jax.random.split(lessons, 200))[1]

    found = errors(jax.random.key(0))
    assert found[-20:].mean() < 0.25 * found[0], found[::20]


@pytest.mark.slow
def test_the_network_learns_it(tmp_path):
    """A fresh network's targets differ by 0.48 nats in these worlds."""
    few = tmp_path / "few.toml"
    few.write_text("""
[[entries]]
environment = "grid/moving_any_small"
lifetimes = 4
updates = 400
learning_rates = [0.003, 0.01]
agent = {torso = "dense", hidden = [16]}
""")
    console = Console(record=True, width=200)
    config = replace(PRESETS["smoke"], start="muesli", start_updates=600, meta_updates=2, distribution=str(few))
    distil(config, console)
    told = re.search(r"targets differ by (\d\.\d+) nats", console.export_text())
    assert told is not None and float(told[1]) < 0.24, console.export_text()
