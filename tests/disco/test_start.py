"""A start for Disco from a policy improvement that people wrote."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from experiments.study import frozen
from metaobj.common.errors import UserError
from metaobj.common.evaluation.protocol import EvaluationProtocol, Trials
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives.contestants import learned
from metaobj.common.objectives.train import make_trainer, started
from metaobj.disco import start
from metaobj.disco.config import PRESETS, WIDE
from metaobj.disco.drawn import draw
from metaobj.disco.muesli import departure, muesli
from metaobj.disco.network import Sizes, say
from metaobj.disco.objective import Disco, DiscoConfig, DiscoMetaLoss, see
from metaobj.disco.plugin import plugin
from metaobj.disco.scalars import BINS, expected
from tests.disco.parity import batch_of

pytestmark = pytest.mark.usefixtures("quick_compilation")
RULE = Disco(DiscoConfig(units=3, life_units=2, hidden=3, categories=4, discount=0.9))
T, B, A = 2, 1, 3
POLICY = jnp.array([0.2, 0.3, 0.5])


def lived():
    """A rollout, and what an agent says of it whose action values are a bin each: (batch, heads, next heads)."""
    states = jnp.zeros((T + 1, B, 2))
    actions, rewards, logits = jnp.zeros((T + 1, B), int), jnp.ones((T + 1, B)), jnp.zeros((T + 1, B, A))
    batch = batch_of(states, actions, rewards, np.ones((T + 1, B)), logits, RULE.first_memory())
    bins = jnp.array([302, 303, 300])  # of the three actions
    sizes = {"policy": (A,), "y": (4,), "z": (A, 4), "q": (A, BINS), "next_policy": (A, A)}
    heads = {name: jnp.zeros((T, B, *size)) for name, size in sizes.items()}
    heads["q"] = heads["q"] - 1e9 * (1 - jax.nn.one_hot(bins, BINS))
    heads |= {f"target_{name}": x for name, x in heads.items()}
    heads["policy"] = jnp.broadcast_to(jnp.log(POLICY), (T, B, A))
    return batch, heads, heads


def test_it_moves_the_policy_towards_better_actions_and_no_further_than_it_may():
    batch, heads, after = lived()
    seen, _ = jax.jit(lambda: see(heads, after, batch, RULE.config.discount))()
    moved = muesli(seen) - heads["policy"]
    values = expected(heads["q"])
    mean = np.sum(POLICY * values, -1)
    advantages = np.array(values - mean[..., None])
    advantages[..., 0] = seen.values.returns - mean  # of the action taken
    advantages = (advantages - seen.advantages.mean) / seen.advantages.deviation
    np.testing.assert_allclose(moved, np.clip(advantages, -1.0, 1.0), rtol=1e-5, atol=1e-6)
    assert (abs(moved[..., 0]) < 1).all() and (moved[..., 1] == 1).all() and (moved[..., 2] == -1).all(), "clipped"
    eta = jax.jit(RULE.init)(jax.random.key(0))
    rule = replace(RULE, meta_loss_config=DiscoMetaLoss(anchor=2.0))
    targets, about = jax.jit(lambda: rule.targets(eta, heads, after, batch))()
    log_wanted, log_given = jax.nn.log_softmax(muesli(seen)), jax.nn.log_softmax(targets.said.policy)
    error = np.mean(np.sum(np.exp(log_wanted) * (log_wanted - log_given), -1))
    np.testing.assert_allclose(about["policy_error"], error, rtol=1e-5)
    assert error > 0.01
    (held, _), (free, _) = (rule.meta_loss(heads, after, batch, about) for rule in (rule, RULE))
    np.testing.assert_allclose(held - free, 2 * error, rtol=1e-4)


def test_what_is_drawn_agrees_with_itself_and_is_of_all_sizes():
    seen, _ = jax.jit(jax.vmap(lambda key: draw(key, 4, 5, Sizes(3, 2, 3, 6))))(jax.random.split(jax.random.key(0), 40))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(seen))
    values, pi, action = seen.values, jax.nn.softmax(seen.heads["policy"]), seen.steps.action
    scale = np.abs(values.target_q).max((1, 2, 3), keepdims=True)  # of each rollout

    def same(found, wanted):
        np.testing.assert_allclose(found / scale[..., 0], wanted / scale[..., 0], atol=1e-5)

    same(np.sum(pi * values.target_q, -1), values.target)
    same(values.returns - values.target[:, :-1], values.advantages)
    taken = np.take_along_axis(values.relative[:, :-1], action[..., None], -1)[..., 0]
    same(values.returns - values.online[:, :-1] - taken, values.errors)
    np.testing.assert_allclose(jax.scipy.special.logsumexp(seen.behaviour, -1), 0, atol=1e-5)
    scale = np.abs(values.relative).max((1, 2, 3))
    assert scale.min() < 0.1 and scale.max() > 10
    within = np.mean(np.abs(jax.vmap(lambda seen: seen.advantages.normalise(seen.values.advantages))(seen)) < 1)
    assert 0.3 < within < 0.9, "some advantages are clipped and some are not"
    assert pi.max(-1).mean() < 0.9 and (pi.max(-1) > 0.99).any() and (pi.max(-1) < 0.3).any()
    shares = [np.mean(np.asarray(x) == 1) for x in (seen.steps.over, action)]
    assert 0.01 < shares[0] < 0.2 and 0.15 < shares[1] < 0.35


def test_the_network_learns_it(monkeypatch):
    """More than what the policy is already; of y and z it says nothing."""
    monkeypatch.setattr(start, "_ACTIONS", (3,))
    lengths = dict.fromkeys(("meta_updates", "checkpoint_every", "log_every"), 250)
    network = DiscoConfig(32, 4, 16, 4)
    config = replace(PRESETS["smoke"], start="muesli", start_updates=1000, network=network, rollout_steps=3, **lengths)
    console = Console(record=True, width=200)
    learnt = start.distil(config, console)
    told = re.search(r"targets differ by (\d\.\d+) nats", console.export_text())
    assert told is not None

    @jax.jit
    def errors(key):
        seen, life = draw(key, 3, 3, network.sizes)
        said = say(learnt, life, seen)
        found, without = (departure(seen, policy) for policy in (said.policy, seen.heads["policy"][:-1]))
        return found, jnp.mean(said.policy) ** 2, without, said.y, said.z

    found, size, without, *others = zip(*(errors(jax.random.key(i)) for i in range(60)), strict=True)
    assert np.mean(found) < 0.6 * np.mean(without) and not np.any(others)
    assert np.mean(size) < 0.1, "logits are about 0, of which policies know nothing"
    assert 0.7 < float(told[1]) / np.mean(found) < 1.4


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


@pytest.mark.slow
def test_agents_learn_catch_by_it():
    """A world that none of it has met, whose reward comes at the end of an episode."""
    trainer = make_trainer(plugin, PRESETS["disco-cpu"])
    loaded = frozen(plugin, trainer, started(plugin, trainer, trainer.init(), Console(quiet=True)))
    entry = Entry("Catch-bsuite", updates=1000, agent=WIDE, split="any")  # of 16 environments and 20 steps
    trials = Trials(EvaluationProtocol(seeds=2))
    record = trials.train(learned(loaded, "start"), entry, [{"learning_rate": 1e-2}], "evaluation")[0]
    assert record.returns[:, -2:].mean() > 0.8, record.returns  # -0.6 by uniform actions
