"""Disco103 against what the published package computed with the published weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.networks.dense import sign_log
from metaobj.common.objectives.loading import load_objective
from metaobj.disco import scalars
from metaobj.disco.agent import of_taken
from metaobj.disco.network import live, read, say
from metaobj.disco.objective import Disco, losses, see
from metaobj.disco.values import Moments
from tests.disco.parity import arrays, batch_of, close

pytestmark = pytest.mark.usefixtures("quick_compilation")
DISCOUNT = Disco().config.discount
NAMES = {"policy": "logits", "y": "y", "z": "z", "q": "q", "next_policy": "aux_pi"}


@pytest.fixture(scope="module")
def eta():
    return load_objective("pretrained:disco103").eta


@pytest.fixture(scope="module")
def data():
    return arrays("parity_a")


@pytest.fixture(scope="module")
def heads(data):
    """(at T time steps, at their successors)"""
    online = {ours: jnp.asarray(data[f"agent_{theirs}"]) for ours, theirs in NAMES.items()}
    target = {f"target_{o}": jnp.asarray(data[f"target_{t}"]) for o, t in NAMES.items() if f"target_{t}" in data}
    both = online | target
    return {name: x[:-1] for name, x in both.items()}, {name: x[1:] for name, x in both.items()}


@pytest.fixture(scope="module")
def batch(data):
    parts = (data[name] for name in ("actions", "rewards", "discounts", "behaviour_logits"))
    return batch_of(np.zeros((*data["actions"].shape, 1)), *parts, Disco().first_memory())


@pytest.fixture(scope="module")
def seen(heads, batch):
    return jax.jit(see)(*heads, batch, DISCOUNT)


def test_scalars(data):
    x, h, bins = (jnp.asarray(data[name]) for name in ("fn_x", "fn_h", "fn_twohot_x"))
    close(sign_log(x), data["fn_signed_log"])
    close(scalars.squash(x), data["fn_signed_hyperbolic"])
    close(scalars.unsquash(h), data["fn_signed_parabolic"])
    hot = scalars.two_hot(bins)
    low = data["fn_twohot_lower_bin"]
    close(jnp.take_along_axis(hot, jnp.asarray(low)[:, None], -1)[:, 0], data["fn_twohot_lower_prob"])
    there = low + 1 < scalars.BINS
    above = jnp.take_along_axis(hot, jnp.minimum(jnp.asarray(low) + 1, scalars.BINS - 1)[:, None], -1)[:, 0]
    close(above[there], data["fn_twohot_upper_prob"][there])
    close(hot.sum(-1), data["fn_twohot_sum"])


def test_values(data, seen):
    found, memory = seen
    values = found.values
    for name, ours in {
        "value": values.online,
        "target_value": values.target,
        "target_q_value": values.target_q,
        "qv_adv": values.relative,
        "q_target": values.returns,
        "adv": values.advantages,
        "q_td": values.errors,
        "normalized_adv": memory.advantages.normalise(values.advantages),
        "normalized_qv_adv": memory.advantages.normalise(values.relative),
        "normalized_q_td": values.errors / memory.errors.deviation,
    }.items():
        close(ours, data[f"value_{name}"])


def test_what_the_network_reads(data, eta, seen):
    x, actions = read(eta["reader"], seen[0])
    close(x, data["mid_inputs"])
    close(actions, data["mid_action_embedding"])
    x, actions = read(eta["life"]["reader"], seen[0])
    close(x, data["mid_life_inputs"])
    close(actions, data["mid_life_action_embedding"])


def test_two_updates(data, eta, heads, batch):
    """Targets, and what is remembered, of the first and of one that remembers it."""
    memory = batch.memory
    for number in (1, 2):
        found, memory = jax.jit(see)(*heads, batch._replace(memory=memory), DISCOUNT)
        said = jax.jit(say)(eta, memory.life, found)
        for name, ours in {
            "pi_hat": said.policy,
            "y_hat": said.y,
            "z_hat": said.z,
            "meta_input_emb": said.embedding,
            "normalized_adv": memory.advantages.normalise(found.values.advantages),
            "normalized_qv_adv": memory.advantages.normalise(found.values.relative),
        }.items():
            close(ours, data[f"out{number}_{name}"])
        memory = memory._replace(life=live(eta, memory.life, found, said))
        state = f"state{number}_"
        close(memory.life[0], data[f"{state}rnn_hidden"])
        close(memory.life[1], data[f"{state}rnn_cell"])
        for moments, name in ((memory.advantages, "adv"), (memory.errors, "td")):
            _close_moments(moments, data, f"{state}{name}_ema_")


def _close_moments(moments: Moments, data, name):
    for ours, theirs in ((moments.first, "moment1"), (moments.second, "moment2"), (moments.unseen, "decay_product")):
        close(ours, data[name + theirs])


@pytest.fixture(scope="module")
def first_targets(eta, heads, batch):
    return jax.jit(Disco().targets)(eta, *heads, batch)[0]


def test_losses_and_their_gradients(data, eta, heads, batch, first_targets):
    wanted = arrays("parity_a_loss")
    mask = jnp.asarray(wanted["loss_mask"])
    # A step that follows an end is left out; the first, of which nothing is known here, is not.
    np.testing.assert_array_equal(first_targets.weight[1:] > 0, mask[1:] > 0)
    targets = first_targets._replace(weight=mask / mask.sum())
    online = {name: heads[0][name] for name in NAMES}
    parts = losses(of_taken(online, batch.rollout.action), targets, batch)
    for ours, theirs in {"policy": "pi", "y": "y", "z": "z", "next_policy": "aux", "value": "q"}.items():
        close(parts[ours], wanted[f"loss_{theirs}_per_step"], 1e-3)

    def loss(online):
        return Disco().loss(of_taken(online, batch.rollout.action), targets, batch)

    total, gradient = jax.jit(jax.value_and_grad(loss))(online)
    close(total, wanted["loss_total"], 1e-3)
    for ours, theirs in NAMES.items():
        close(gradient[ours], wanted[f"grad_{theirs}"][:-1], 1e-3)


@pytest.mark.slow
def test_gradients_go_through_predictions_alone(data, eta, heads, batch):
    weight = jnp.asarray(arrays("parity_a_loss")["probe_weight_pi"])

    def probed(before, after):
        said = Disco().targets(eta, before, after, batch)[0].said
        return sum(jnp.sum(x * jnp.resize(weight, x.shape)) for x in (said.policy, said.y, said.z))

    gradient = jax.jit(jax.grad(probed, argnums=(0, 1)))(*heads)
    for name in heads[0]:
        moved = any(bool((part[name] != 0).any()) for part in gradient)
        assert moved == (name.removeprefix("target_") in ("y", "z")), name


@pytest.mark.slow
def test_gradients_of_the_weights(eta, heads, batch):
    """Of the agent's loss, targets not stopped."""
    wanted = arrays("parity_a_loss")
    mask = jnp.asarray(wanted["loss_mask"])

    def loss(eta):
        targets = Disco().targets(eta, *heads, batch)[0]._replace(weight=mask / mask.sum())
        online = {name: heads[0][name] for name in NAMES}
        return Disco().loss(of_taken(online, batch.rollout.action), targets, batch)

    close_norms(jax.jit(jax.grad(loss))(eta), wanted, "eta_grad_norm/")


LAYERS = {
    "gate": "lstm/linear",
    "embedding": "lstm/linear_1",
    "y_hat": "lstm/linear_2",
    "z_hat": "lstm/linear_3",
    "lstm": "lstm/lstm/linear",
    "policy/hidden": "lstm/sequential_1/conv1_d",
    "policy/output": "lstm/linear_4",
    "life/input": "lstm/~/meta_lstm/~unroll/mlp_2/~/linear_0",
    "life/lstm": "lstm/~/meta_lstm/~unroll/lstm/linear",
    **{
        f"{ours}reader/{part}": f"{theirs}{name}"
        for ours, theirs in (("", "lstm/"), ("life/", "lstm/~/meta_lstm/~unroll/"))
        for part, name in {
            "y/hidden": "mlp/~/linear_0",
            "y/output": "mlp/~/linear_1",
            "z/hidden": "mlp_1/~/linear_0",
            "z/output": "mlp_1/~/linear_1",
            "actions/hidden": "sequential/conv1_d",
            "actions/output": "sequential/conv1_d_1",
        }.items()
    },
}


def close_norms(gradient, wanted, prefix, tolerance=1e-3):
    for ours, theirs in LAYERS.items():
        layer = gradient
        for name in ours.split("/"):
            layer = layer[name]
        kernel = [leaf for name, leaf in layer.items() if name != "bias"]
        for found, part in ((kernel, "w"), ([layer["bias"]], "b")):
            norm, want = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in found)), wanted[f"{prefix}{theirs}/{part}"]
            assert abs(norm - want) <= tolerance * want + 1e-7, (ours, part, norm, want)


def test_the_rule_needs_the_policy_that_acted(heads, batch):
    with pytest.raises(UserError, match="behaviour: none given"):
        Disco().targets((), *heads, batch._replace(behaviour=None))
