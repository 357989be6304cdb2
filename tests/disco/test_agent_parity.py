"""Agents that learn by Disco103 against the published package's: three updates, the optimiser, a meta-gradient."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.agent import AgentConfig, log_probability
from metaobj.common.environments.protocol import Box
from metaobj.common.objectives.loading import load_objective
from metaobj.disco.agent import ModelAgent, ModelConfig, TargetedLearner
from metaobj.disco.objective import Disco
from metaobj.disco.optimiser import clipped_adam
from tests.disco.parity import arrays, batch_of, close
from tests.disco.test_parity import close_norms

pytestmark = pytest.mark.usefixtures("float64")
AGENT = ModelAgent(
    Box((5,)), tuple(Disco().heads(3).items()), AgentConfig("dense", hidden=(8, 6)), ModelConfig(units=4, head_units=5)
)
LAYERS = {
    "torso_0": "torso0",
    "torso_1": "torso1",
    "policy": "head_logits",
    "y": "head_y",
    "root": "model_root",
    **{
        f"{ours}{ending}": f"model_{theirs}{number}"
        for ours, theirs in (("z", "z"), ("next_policy", "aux_pi"), ("q", "q"))
        for ending, number in (("_hidden", 0), ("", 1))
    },
}


def ordered(x, add=0.0):
    """Gates i, g, f, o as i, f, o, g, with 1 on the forget gate where it is a bias."""
    i, g, f, o = jnp.split(jnp.asarray(x), 4, -1)
    return jnp.concatenate([i, f + add, o, g], -1)


def params_of(data, prefix):
    """Those that there are, in this project's layout."""
    params = {
        ours: {"kernel": jnp.asarray(data[f"{prefix}{theirs}_w"]), "bias": jnp.asarray(data[f"{prefix}{theirs}_b"])}
        for ours, theirs in LAYERS.items()
        if f"{prefix}{theirs}_w" in data
    }
    lstm = ordered(data[f"{prefix}model_lstm_w"])
    params["lstm_input"], params["lstm_recurrent"] = lstm[:3], lstm[3:]
    params["lstm_bias"] = ordered(data[f"{prefix}model_lstm_b"], 1.0)
    return params


@dataclass(frozen=True)
class Counting(Disco):
    """Is told which steps count: here, of the first of a rollout, it is known."""

    def counted(self, batch):
        return batch.hyperparameters["counted"]


RULE = Counting()


@pytest.fixture(scope="module")
def data(float64):
    return arrays("parity_a_agent")


@pytest.fixture(scope="module")
def eta(float64):
    return load_objective("pretrained:disco103").eta


@pytest.fixture(scope="module")
def born(data):
    params = {"params": params_of(data, "start_")}
    return TargetedLearner(params, AGENT.optimiser.init(params), Disco().first_memory(), params)


def rollout(data, number):
    names = ("obs", "actions", "rewards", "discounts", "behaviour_logits")
    counted = (data["rollout_discounts"][number][:-1] != 0) * 1.0
    parts = (data[f"rollout_{name}"][number] for name in names)
    return batch_of(*parts, learning_rate=data["learning_rate"], counted=counted)


def test_outputs(data, born):
    heads = AGENT.apply(born.params, jnp.asarray(data["rollout_obs"][0][:1]))
    for ours, theirs in {"policy": "logits", "y": "y", "z": "z", "q": "q", "next_policy": "aux_pi"}.items():
        close(heads[ours], data[f"forward_{theirs}"])


@pytest.fixture(scope="module")
def grown(data, eta, born):
    """After each of three updates."""
    learn = jax.jit(lambda learner, batch: AGENT.learn(learner, RULE, eta, batch)[0])
    found, learner = [], born
    for number in range(3):
        learner = learn(learner, rollout(data, number))
        found.append(learner)
    return found


def test_three_updates(data, grown):
    for number, learner in enumerate(grown, 1):
        for part, prefix in ((learner.params, f"update{number}_"), (learner.target, f"update{number}_target_")):
            _close_params(part["params"], params_of(data, prefix))
    last = grown[-1]
    _close_params(last.params["params"], params_of(data, "end_"))
    _close_params(last.target["params"], params_of(data, "end_target_"))
    close(last.memory.life[0], data["end_rnn_hidden"], 1e-3)
    close(last.memory.life[1], data["end_rnn_cell"], 1e-3)
    for moments, name in ((last.memory.advantages, "adv"), (last.memory.errors, "td")):
        parts = ((moments.first, "moment1"), (moments.second, "moment2"), (moments.unseen, "decay_product"))
        for ours, theirs in parts:
            close(ours, data[f"end_{name}_ema_{theirs}"], 1e-3)


def _close_params(found, wanted):
    for path, want in jax.tree.leaves_with_path(wanted):
        ours = found
        for key in path:
            ours = ours[key.key]
        close(ours, want, 1e-3)


def test_the_optimiser_clips_its_steps(data):
    optimiser = clipped_adam()

    def step(carry, gradient):
        params, state = carry
        direction, state = optimiser.update(gradient, state)
        params = params - data["learning_rate"] * direction
        return (params, state), params

    first = jnp.zeros(6)
    found = jax.lax.scan(step, (first, optimiser.init(first)), jnp.asarray(data["opt_gradients"]))[1]
    close(found, data["opt_params"], 1e-3)


@pytest.mark.slow
def test_a_meta_gradient_through_two_updates(data, eta, grown):
    last = rollout(data, 2)
    advantages = jnp.asarray(data["meta_adv"])

    @jax.jit
    def both(eta):
        def loss(eta):
            learner = grown[-1]
            for number in (0, 1):
                learner = AGENT.learn(learner, RULE, eta, rollout(data, number))[0]
            logits = AGENT.apply(learner.params, last.rollout.observation)["policy"]
            return -jnp.mean(log_probability(logits, last.rollout.action) * advantages)

        return jax.value_and_grad(loss)(eta)

    loss, gradient = both(eta)
    close(loss, data["meta_loss"], 1e-3)
    norm = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(gradient)))
    assert abs(norm / data["meta_grad_global_norm"] - 1) < 1e-2
    close_norms(gradient, data, "meta_grad_norm/", 2e-2)
    for found, name in (
        (gradient["policy"]["output"], "lstm/linear_4"),
        (gradient["reader"]["actions"]["output"], "lstm/sequential/conv1_d_1"),
        (gradient["reader"]["y"]["output"], "lstm/mlp/~/linear_1"),
        (gradient["life"]["input"], "lstm/~/meta_lstm/~unroll/mlp_2/~/linear_0"),
    ):
        wanted = data[f"meta_grad/{name}/w"]
        close(found["kernel"], wanted.reshape(found["kernel"].shape), 2e-2)
