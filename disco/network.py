"""The meta-network of Disco103 (Oh et al. 2025, "Discovering state-of-the-art reinforcement learning algorithms",
Nature 648, doi 10.1038/s41586-025-09761-x): from what an agent and its target predict along a rollout to what the agent
is to predict.

From the end of a rollout to its start an LSTM reads 27 numbers of each step; a second one, the meta-RNN, goes on from
update to update of an agent and gates the first. All weights are shared over actions, so that one set serves any number
of them. Gradients flow through y and z alone.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads
from metaobj.common.networks.dense import apply_dense, sign_log
from metaobj.common.networks.lstm import State, backward_lstm, init_lstm, lstm_step
from metaobj.common.types import PRNGKey, PyTree
from metaobj.disco.scalars import mean_of
from metaobj.disco.values import Moments, Steps, Values

CATEGORIES = 600
"""Of the predictions y and z."""
_READ, _CHANNELS, _EMBEDDED = 27, 9, 2


class Sizes(NamedTuple):
    """Of the network; the public weights have these."""

    units: int = 256
    """Of the LSTM over a rollout."""
    life_units: int = 128
    """Of the meta-RNN."""
    hidden: int = 16
    """Of everything small."""
    categories: int = CATEGORIES


class Said(NamedTuple):
    """Targets, as logits."""

    policy: jax.Array  # [T, B, A]
    y: jax.Array  # [T, B, categories]
    z: jax.Array  # [T, B, categories] for the action that was taken
    embedding: jax.Array  # [T, B, 1] for the meta-RNN


def init_network(key: PRNGKey, sizes: Sizes) -> PyTree:
    """Fresh weights."""
    keys = iter(jax.random.split(key, 32))
    small, units, categories = sizes.hidden, sizes.units, sizes.categories

    def layer(inputs: int, outputs: int, deviation: float | None = None) -> PyTree:
        deviation = inputs**-0.5 if deviation is None else deviation
        kernel = jax.nn.initializers.truncated_normal(deviation)(next(keys), (inputs, outputs))
        return {"kernel": kernel, "bias": jnp.zeros(outputs)}

    def reader() -> PyTree:
        return {
            "y": {"hidden": layer(categories, small), "output": layer(small, 1)},
            "z": {"hidden": layer(categories, small), "output": layer(small, 1)},
            "actions": {"hidden": layer(2 * _CHANNELS, small), "output": layer(2 * small, _EMBEDDED)},
        }

    return {
        "reader": reader(),
        "lstm": init_lstm(next(keys), _READ, units),
        "gate": layer(sizes.life_units, units, 1.0),
        "embedding": layer(units, 1, 0.3),
        "y_hat": layer(units, categories, 0.3),
        "z_hat": layer(units, categories, 0.3),
        "policy": {"hidden": layer(2 * (units + _EMBEDDED), small), "output": layer(small, 1, 0.3)},
        "life": {
            "reader": reader(),
            "input": layer(_READ + 2, small),
            "lstm": init_lstm(next(keys), small, sizes.life_units),
        },
    }


class Seen(NamedTuple):
    """What the network is given of a rollout of T transitions, T + 1 time steps."""

    heads: Heads  # "policy", "y", "z" of the agent at T + 1 time steps
    target: Heads  # likewise of the target network
    behaviour: jax.Array  # [T, B, A] log mu of the policy that acted
    steps: Steps  # [T, B]
    values: Values
    advantages: Moments  # with this rollout's among them


def read(weights: PyTree, seen: Seen) -> tuple[jax.Array, jax.Array]:
    """The 27 numbers of each step [T, B, 27], and of each action two [T, B, A, 2], which are among them."""
    heads, target, steps, values = seen.heads, seen.target, seen.steps, seen.values
    pi, target_pi = (jax.nn.softmax(jax.lax.stop_gradient(x["policy"])) for x in (heads, target))  # [T + 1, B, A]
    mu = jnp.exp(seen.behaviour)  # [T, B, A]
    z, target_z = (_scalar(weights["z"], x["z"]) for x in (heads, target))  # [T + 1, B, A]
    y, target_y = (_scalar(weights["y"], x["y"]) for x in (heads, target))  # [T + 1, B]
    taken = jax.nn.one_hot(steps.action, pi.shape[-1], dtype=pi.dtype)  # [T, B, A]

    def of_taken(x: jax.Array) -> jax.Array:
        return jnp.sum(x[: len(taken)] * taken, -1)

    channels = (
        pi[:-1],
        mu,
        target_pi[:-1],
        z[:-1],
        target_z[:-1],
        sign_log(values.target_q[:-1]),
        sign_log(values.relative[:-1]),
        seen.advantages.normalise(values.relative[:-1]),
        taken,
    )
    actions = _block(weights["actions"]["hidden"], jnp.stack(channels, -1))
    actions = _block(weights["actions"]["output"], actions)  # [T, B, A, 2]
    columns = (
        of_taken(pi),
        of_taken(mu),
        sign_log(steps.reward),
        1.0 - steps.over,
        *_pair(sign_log(values.online)),
        sign_log(values.advantages),
        seen.advantages.normalise(values.advantages),
        of_taken(target_pi),
        *_pair(y),
        *_pair(target_y),
        of_taken(z),
        *_pair(jnp.sum(pi * z, -1)),
        *_pair(jnp.max(z, -1)),
        of_taken(target_z),
        *_pair(jnp.sum(pi * target_z, -1)),  # under the online policy
        *_pair(jnp.max(target_z, -1)),
    )
    means = jnp.mean(actions, -2)  # [T, B, 2]
    of_action = jnp.sum(actions * taken[..., None], -2)
    return jnp.concatenate([jnp.stack(columns, -1), means, of_action], -1), actions


def say(weights: PyTree, life: State, seen: Seen) -> Said:
    """Targets for a rollout, as the meta-RNN's state has it so far: hidden and cell [units] each."""
    x, actions = read(weights["reader"], seen)
    u = backward_lstm(weights["lstm"], x, 1.0 - seen.steps.over)  # [T, B, units]
    u = u * apply_dense(weights["gate"], life[0])
    policy = _block(weights["policy"]["hidden"], actions, u)
    return Said(
        policy=apply_dense(weights["policy"]["output"], policy)[..., 0],
        y=apply_dense(weights["y_hat"], u),
        z=apply_dense(weights["z_hat"], u),
        embedding=apply_dense(weights["embedding"], u),
    )


def live(weights: PyTree, life: State, seen: Seen, said: Said) -> State:
    """The meta-RNN's state after an update."""
    of = weights["life"]
    x, _ = read(of["reader"], seen)
    y_hat = _scalar(of["reader"]["y"], said.y)[..., None]
    x = apply_dense(of["input"], jnp.concatenate([x, said.embedding, y_hat], -1))  # [T, B, hidden]
    hidden, cell = lstm_step(of["lstm"], jnp.mean(x, (0, 1))[None], (life[0][None], life[1][None]))
    return hidden[0], cell[0]


def _scalar(weights: PyTree, logits: jax.Array) -> jax.Array:
    """Categories [..., n] to what is read of them, [...]."""
    hidden = jax.nn.relu(mean_of(logits, weights["hidden"]["kernel"]) + weights["hidden"]["bias"])
    return apply_dense(weights["output"], hidden)[..., 0]


def _block(weights: PyTree, x: jax.Array, shared: jax.Array | None = None) -> jax.Array:
    """[..., A, n] to [..., A, m]: each action's channels and their mean over actions. Those that are the same for all
    actions come first and are given once, `shared` [..., k]: their mean is what they are.
    """
    both = jnp.concatenate([x, jnp.broadcast_to(jnp.mean(x, -2, keepdims=True), x.shape)], -1)
    if shared is None:
        return jax.nn.relu(apply_dense(weights, both))
    own, mean = jnp.split(weights["kernel"], 2)  # [k + n, m] each
    k = shared.shape[-1]
    of_shared = shared @ (own[:k] + mean[:k]) + weights["bias"]  # [..., m]
    return jax.nn.relu(of_shared[..., None, :] + both @ jnp.concatenate([own[k:], mean[k:]]))


def _pair(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    """[T + 1, B] as what is before and what is after each transition."""
    return x[:-1], x[1:]
