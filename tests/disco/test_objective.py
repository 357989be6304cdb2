"""Disco: gradients of a small network, agents of one's own, the published file, what is refused."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.disco_parts import Weighed
from metaobj.common.agents.agent import AgentConfig
from metaobj.common.command.cli import main
from metaobj.common.environments.protocol import Box, Discrete
from metaobj.common.errors import UserError
from metaobj.common.objectives import file
from metaobj.common.objectives.loading import load_objective
from metaobj.disco.agent import ModelAgent, ModelConfig, model_agents, of_taken
from metaobj.disco.convert import convert, nested
from metaobj.disco.interface import LoadedDisco
from metaobj.disco.objective import Disco, DiscoConfig, DiscoMetaLoss
from tests.disco.parity import batch_of
from tests.disco.test_parity import LAYERS

pytestmark = pytest.mark.usefixtures("float64")
RULE = Disco(DiscoConfig(units=3, life_units=2, hidden=3, categories=4))
T, B, A = 4, 2, 3
AGENT = ModelAgent(Box((2,)), tuple(RULE.heads(A).items()), AgentConfig("dense", hidden=(3,)), ModelConfig(2, 2))


@pytest.fixture(scope="module")
def batch(float64):
    keys = jax.random.split(jax.random.key(0), 4)
    over = np.ones((T + 1, B))
    over[2, 0] = 0
    parts = (
        jax.random.normal(keys[0], (T + 1, B, 2)),
        jax.random.randint(keys[1], (T + 1, B), 0, A),
        jax.random.normal(keys[2], (T + 1, B)),
        over,
        jax.random.normal(keys[3], (T + 1, B, A)),
    )
    return batch_of(*parts, RULE.first_memory(), learning_rate=0.1)


INIT = jax.jit(AGENT.init)


@jax.jit
def heads_of(params, target, batch):
    """(at T time steps, after them)"""
    observations = jnp.concatenate([batch.rollout.observation, batch.rollout.next_observation[-1:]])
    both = AGENT.apply(params, observations)
    both |= {f"target_{name}": x for name, x in AGENT.apply(target, observations).items()}
    return {name: x[:-1] for name, x in both.items()}, {name: x[1:] for name, x in both.items()}


@pytest.mark.slow
def test_gradients_of_targets_are_finite_differences(batch):
    """With respect to weights, and to the predictions that they are made of; and what is remembered."""
    learner = INIT(jax.random.key(1))
    heads, next_heads = heads_of(learner.params, INIT(jax.random.key(2)).params, batch)
    flat, back = jax.flatten_util.ravel_pytree(RULE.init(jax.random.key(3)))

    @jax.jit
    def value(flat, y):
        eta = back(flat)
        online = {**heads, "y": y}
        first, _ = RULE.targets(eta, online, next_heads, batch)
        return sum(jnp.sum(jnp.sin(x)) for x in (*first.said, *first.memory.life))

    gradient, of_y = jax.jit(jax.grad(value, argnums=(0, 1)))(flat, heads["y"])
    direction = jax.random.normal(jax.random.key(4), flat.shape)
    above, below = (value(flat + step * direction, heads["y"]) for step in (1e-6, -1e-6))
    np.testing.assert_allclose(gradient @ direction, (above - below) / 2e-6, rtol=1e-5)
    along = jax.random.normal(jax.random.key(5), heads["y"].shape)
    above, below = (value(flat, heads["y"] + step * along) for step in (1e-6, -1e-6))
    np.testing.assert_allclose(jnp.sum(of_y * along), (above - below) / 2e-6, rtol=1e-5)


@pytest.mark.slow
def test_an_agent_of_ones_own_descends_the_same(batch):
    eta = RULE.init(jax.random.key(3))
    learner = replace(INIT(jax.random.key(1)), memory=RULE.first_memory())
    learner = replace(learner, target=INIT(jax.random.key(2)).params)
    loaded = LoadedDisco(RULE, eta, {})
    gradient, memory = jax.jit(partial(loaded.gradient, AGENT.apply))(
        learner.params, learner.target, batch.rollout, batch.behaviour, learner.memory
    )
    step, _ = AGENT.optimiser.update(gradient, learner.optimiser)
    wanted = jax.tree.map(lambda p, u: p - 0.1 * u, learner.params, step)
    after, about = jax.jit(lambda learner: AGENT.learn(learner, RULE, eta, batch))(learner)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9), (after.params, after.memory), (wanted, memory))
    target = jax.tree.map(lambda t, p: 0.9 * t + 0.1 * p, learner.target, learner.params)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12), after.target, target)
    assert all(np.isfinite(value) for value in about.values())


@pytest.mark.slow
def test_heads_that_are_missing_or_of_another_size_are_told(batch):
    loaded = LoadedDisco(RULE, RULE.init(jax.random.key(3)), {})
    params = INIT(jax.random.key(1)).params
    given = (params, params, batch.rollout, batch.behaviour, RULE.first_memory())

    def without(params, observation):
        return {name: x for name, x in AGENT.apply(params, observation).items() if name != "q"}

    def narrow(params, observation):
        return {name: x[..., :2] if name == "z" else x for name, x in AGENT.apply(params, observation).items()}

    with pytest.raises(UserError, match="apply: gives .*; the head q is missing"):
        loaded.gradient(without, *given)
    with pytest.raises(UserError, match=r"apply: the head z is \[\d+, \d+, 3, 2\]; must be \[\d+, \d+, 3, 4\]"):
        loaded.gradient(narrow, *given)


@pytest.mark.parametrize(
    ("config", "observations", "actions", "says"),
    [
        (AgentConfig("dense"), Box((2,)), Box((1,)), "is continuous; this objective needs discrete actions"),
        (
            AgentConfig("dense"),
            Box((2,)),
            Discrete(1),
            "action_space: 1 action given; this objective needs two or more",
        ),
        (AgentConfig("dense"), Discrete(3), Discrete(2), "agent.torso: dense needs a Box observation space"),
        (AgentConfig("tabular"), Discrete(3), Discrete(2), "tabular given; this objective's agents are dense or conv"),
        (AgentConfig("dense", apart=("q",)), Box((2,)), Discrete(2), "agent.apart: q given; this objective's agents"),
        (AgentConfig("conv"), Box((2,)), Discrete(2), "agent.torso: conv needs"),
        (AgentConfig("actor-critic"), Box((2,)), Discrete(2), "agent.torso: actor-critic given; this objective's"),
    ],
)
def test_agents_that_cannot_be_are_told(config, observations, actions, says):
    with pytest.raises(UserError, match=says):
        model_agents(ModelConfig())(config, observations, actions, RULE.heads)


def test_outputs_are_of_the_sizes_asked_for():
    config = AgentConfig("conv", channels=(2,), hidden=(4,))
    agent = model_agents(ModelConfig(3, 3))(config, Box((3, 3, 2)), Discrete(A), RULE.heads)
    learner = jax.jit(agent.init)(jax.random.key(0))
    heads = jax.jit(agent.apply)(learner.params, jnp.zeros((T, B, 3, 3, 2)))
    assert {name: x.shape for name, x in heads.items()} == {
        "policy": (T, B, A),
        "y": (T, B, 4),
        "z": (T, B, A, 4),
        "q": (T, B, A, 601),
        "next_policy": (T, B, A, A),
    }
    jax.tree.map(np.testing.assert_array_equal, learner.target, learner.params)


def test_a_new_agents_action_values_are_0_where_asked():
    params = [INIT(jax.random.key(0)).params]
    for size in (0.0, 0.1):
        agent = replace(AGENT, model=replace(AGENT.model, first_values=size))
        params.append(jax.jit(agent.init)(jax.random.key(0)).params)
    published, none, tenth = (each["params"] for each in params)
    first = published.pop("q")
    assert not none.pop("q")["kernel"].any() and first["kernel"].any()
    np.testing.assert_allclose(tenth.pop("q")["kernel"], 0.1 * first["kernel"], rtol=1e-12)
    jax.tree.map(np.testing.assert_array_equal, published, none)
    jax.tree.map(np.testing.assert_array_equal, published, tenth)
    with pytest.raises(UserError, match="model.first_values: -1 given; must be at least 0"):
        ModelConfig(first_values=-1)


def test_heads_of_the_action_taken_alone_are_those_of_all_actions(batch):
    learner, action = INIT(jax.random.key(1)), batch.rollout.action
    everything = jax.jit(AGENT.apply)(learner.params, batch.rollout.observation)
    alone = jax.jit(AGENT.apply)(learner.params, batch.rollout.observation, action)
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-12, atol=1e-13), alone, of_taken(everything, action))


def test_agents_are_judged_by_hand(batch):
    """Advantages over their size, entropies, the squared mean of targets and their drift, each by its weight."""
    logits = jnp.asarray([2.0, 0.0, -1.0])
    heads = {
        "policy": jnp.broadcast_to(logits, (T, B, A)),
        "y": jnp.zeros((T, B, 4)),
        "z": jnp.zeros((T, B, A, 4)),
    }
    rule = replace(RULE, meta_loss_config=DiscoMetaLoss(0.1, 0.01, 0.5, 0.25))
    seen = batch._replace(advantages=jnp.full((T, B), 3.0), advantage_size=jnp.asarray(1.5))
    loss, metrics = rule.meta_loss(heads, heads, seen, {"target_size": 2.0, "policy_drift": 4.0})
    p = np.exp([2.0, 0.0, -1.0]) / np.exp([2.0, 0.0, -1.0]).sum()
    spread = -(p * np.log(p)).sum()
    chosen = np.log(p)[np.asarray(batch.rollout.action)].mean()
    parts = [-2.0 * chosen, -0.1 * spread, -0.01 * 2 * np.log(4), 0.5 * 2, 0.25 * 4, 0.0]
    np.testing.assert_allclose(loss, sum(parts))
    updates = {"target_size": 2.0, "policy_drift": 4.0}
    one_by_one = [
        Weighed(rule.config, rule.meta_loss_config, w).meta_loss(heads, heads, seen, updates)[0] for w in np.eye(6)
    ]
    np.testing.assert_allclose(one_by_one, parts, atol=1e-12)
    np.testing.assert_allclose(metrics["policy_entropy"], spread)
    with pytest.raises(UserError, match="updates: nothing given of what targets were"):
        rule.meta_loss(heads, heads, seen, {})


def test_the_size_of_targets_is_that_of_their_mean(batch):
    learner = INIT(jax.random.key(1))
    sides = heads_of(learner.params, learner.params, batch)
    targets, about = jax.jit(RULE.targets)(RULE.init(jax.random.key(3)), *sides, batch)
    said = targets.said
    np.testing.assert_allclose(about["target_size"], sum(jnp.mean(x) ** 2 for x in (said.policy, said.y, said.z)))


def test_published_arrays_are_those_of_the_network():
    """By name and shape; what was converted is what a fresh network of these sizes has."""
    arrays, metadata = file.load("pretrained:disco103")
    wanted = file.flatten(jax.eval_shape(Disco().init, jax.random.key(0)))
    assert {name: x.shape for name, x in arrays.items()} == {name: x.shape for name, x in wanted.items()}
    assert sum(x.size for x in arrays.values()) == 754_778
    assert metadata["card"]["published"] is True and "Nature 648" in metadata["card"]["paper"]


def published(eta):
    """The published names and layouts of these weights."""
    found = {}
    for ours, theirs in LAYERS.items():
        layer = eta
        for name in ours.split("/"):
            layer = layer[name]
        if "kernel" in layer:
            kernel, bias = np.asarray(layer["kernel"]), np.asarray(layer["bias"])
        else:
            joined = (np.concatenate([layer["input"], layer["recurrent"]]), np.asarray(layer["bias"]))
            (i, f, o, g), (bi, bf, bo, bg) = (np.split(x, 4, -1) for x in joined)
            kernel, bias = np.concatenate([i, g, f, o], -1), np.concatenate([bi, bg, bf - 1.0, bo], -1)
        convolution = "conv1_d" in theirs
        found[f"{theirs}/w"] = kernel[None] if convolution else kernel
        found[f"{theirs}/b"] = bias
    return {name: x.astype(np.float32) for name, x in found.items()}


@pytest.mark.slow
def test_the_command_converts(tmp_path, capsys):
    eta = Disco().init(jax.random.key(0))
    np.savez(tmp_path / "weights.npz", **published(eta))
    out = tmp_path / "weights.safetensors"
    for name, status in (("weights.npz", 0), ("weights.npz", 2), (".", 2)):
        with pytest.raises(SystemExit) as ended:
            main(["convert", str(tmp_path / name), "--out", str(out)])
        assert ended.value.code == status
    said = capsys.readouterr()
    assert "not the published Disco103" in said.out and said.err.count("\n") == 2
    assert "is there already" in said.err and "no such file" in said.err
    jax.tree.map(partial(np.testing.assert_allclose, atol=1e-6), load_objective(out).eta, eta)


def test_what_is_no_published_file_is_told(tmp_path):
    with pytest.raises(UserError, match="none.npz: cannot be read"):
        convert(tmp_path / "none.npz")
    (tmp_path / "damaged.npz").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(UserError, match="damaged.npz: is not an archive of arrays, or is damaged"):
        convert(tmp_path / "damaged.npz")
    np.savez_compressed(tmp_path / "flipped.npz", x=np.arange(1000.0))
    bits = bytearray((tmp_path / "flipped.npz").read_bytes())
    bits[80:90] = bytes(10)
    (tmp_path / "flipped.npz").write_bytes(bits)
    np.save(tmp_path / "alone.npy", np.zeros(3))
    for name in ("flipped.npz", "alone.npy"):
        with pytest.raises(UserError, match=f"{name}: is not an archive of arrays, or is damaged"):
            convert(tmp_path / name)
    np.savez(tmp_path / "pickled.npz", x=np.array([object()], dtype=object))
    with pytest.raises(UserError, match="pickled.npz: is not an archive of arrays, or is damaged"):
        convert(tmp_path / "pickled.npz")
    first = "lstm/sequential/conv1_d/w"
    with pytest.raises(UserError, match=f"other.npz: its array {first} is missing"):
        nested({}, "other.npz")
    with pytest.raises(UserError, match=rf"its array {first} is \[2, 2\]; must be \[1, 18, 16\]"):
        nested({first: np.zeros((2, 2))}, "other.npz")
    with pytest.raises(UserError, match="holds what is not a finite number"):
        nested({first: np.full((1, 18, 16), np.nan)}, "other.npz")
