"""The LSTM that reads a rollout from its end to its start.

An LSTM step is a matrix product of what it reads, [x, 1, h], with all weights. In the reverse pass the weights'
gradient is formed after the scan from the stacked gate gradients, in one product, where transposing the scan would add
up a matrix of that size step by step. The reverse pass is therefore written out. It keeps little, since moving what
is kept to and from memory is most of what it costs beside its products.
"""

from typing import TypeAlias

import jax
import jax.numpy as jnp

from metaobj.common.types import PyTree

State: TypeAlias = tuple[jax.Array, jax.Array]
"""Hidden and cell state [B, H], or their gradients."""


def init_lstm(key: jax.Array, inputs: int, units: int) -> PyTree:
    """Weights for `inputs` features and H = `units`. Gates are in the order input, forget, output, candidate; the
    forget gate starts open (bias 1).
    """
    input_key, recurrent_key = jax.random.split(key)
    bias = jnp.zeros((4, units)).at[1].set(1.0).reshape(-1)
    return {
        "input": jax.nn.initializers.lecun_normal()(input_key, (inputs, 4 * units)),
        "recurrent": jax.nn.initializers.orthogonal()(recurrent_key, (units, 4 * units)),
        "bias": bias,
    }


def _activate(preactivations: jax.Array) -> jax.Array:
    """[..., 4H] of input, forget and output gates and candidate; sigmoid(x) = (1 + tanh(x / 2)) / 2 makes it one tanh
    over all of them, which XLA vectorises.
    """
    units = preactivations.shape[-1] // 4
    is_gate = jnp.arange(4 * units) < 3 * units
    half = jnp.where(is_gate, 0.5, 1.0).astype(preactivations.dtype)
    return half * jnp.tanh(half * preactivations) + (1.0 - half)


def lstm_step(weights: PyTree, x: jax.Array, state: State) -> State:
    """One step: features [B, D] and a state to the state after it."""
    return lstm_cell(jnp.concatenate([_with_one(x), state[0]], -1) @ _joined(weights), state[1])


def lstm_cell(preactivations: jax.Array, cell: jax.Array) -> State:
    """What gates before their activation [..., 4H] make of a cell [..., H]."""
    i, f, o, g = jnp.split(_activate(preactivations), 4, axis=-1)
    cell = f * cell + i * g
    return o * jnp.tanh(cell), cell


@jax.custom_vjp
def backward_lstm(weights: PyTree, x: jax.Array, keep: jax.Array) -> jax.Array:
    """Run from the last step to the first.

    Args:
        weights: as `init_lstm` makes them.
        x: features [T, B, D].
        keep: [T, B], 1 where step t goes on from step t + 1, 0 where its episode ended at t.

    Returns:
        hidden states [T, B, H]; the one at t has read steps t, t + 1, ... up to the end of t's episode.
    """
    return _forward(weights, x, keep)[0]


def backward_lstm_plain(weights: PyTree, x: jax.Array, keep: jax.Array) -> jax.Array:
    """The same without the reverse pass written out: slower to differentiate, but forward as well as in reverse."""
    return _forward(weights, x, keep)[0]


def _forward(weights: PyTree, x: jax.Array, keep: jax.Array) -> tuple[jax.Array, PyTree]:
    matrix = _joined(weights)
    zeros = jnp.zeros((x.shape[1], weights["recurrent"].shape[0]), x.dtype)

    def step(carry: State, inputs: tuple[jax.Array, jax.Array]) -> tuple[State, tuple[jax.Array, ...]]:
        x, keep = inputs
        hidden, cell = (keep[:, None] * part for part in carry)
        gates = _activate(jnp.concatenate([x, hidden], -1) @ matrix)
        i, f, o, g = jnp.split(gates, 4, axis=-1)
        after = f * cell + i * g
        hidden = o * jnp.tanh(after)
        return (hidden, after), (hidden, cell, gates)

    _, (hidden, *saved) = jax.lax.scan(step, (zeros, zeros), (_with_one(x), keep), reverse=True)
    return hidden, (weights, x, keep, hidden, *saved)


def _joined(weights: PyTree) -> jax.Array:
    return jnp.concatenate([weights["input"], weights["bias"][None], weights["recurrent"]])  # [D + 1 + H, 4H]


def _with_one(x: jax.Array) -> jax.Array:
    return jnp.concatenate([x, jnp.ones_like(x[..., :1])], -1)  # [T, B, D + 1]


def _reverse(residuals: PyTree, hidden_bar: jax.Array) -> tuple[PyTree, jax.Array, jax.Array]:
    weights, x, keep, hidden, cell, gates = residuals
    features = x.shape[-1]
    matrix = _joined(weights)

    def step(carry: State, inputs: tuple[jax.Array, ...]) -> tuple[State, tuple[jax.Array, jax.Array]]:
        hidden_bar, cell_bar = carry
        bar, hidden, cell, gates, keep = inputs
        i, f, o, g = jnp.split(gates, 4, axis=-1)
        hidden_bar = hidden_bar + bar
        squashed = hidden / jnp.maximum(o, jnp.finfo(o.dtype).tiny)  # where o is 0, nothing below depends on it
        cell_bar = cell_bar + hidden_bar * (o - hidden * squashed)
        gates_bar = jnp.concatenate(
            [
                cell_bar * g * (i * (1 - i)),
                cell_bar * cell * (f * (1 - f)),
                hidden_bar * hidden * (1 - o),
                cell_bar * i * (1 - g * g),
            ],
            axis=-1,
        )  # [B, 4H]
        read_bar = gates_bar @ matrix.T  # [B, D + 1 + H]
        keep = keep[:, None]
        return (keep * read_bar[:, features + 1 :], keep * cell_bar * f), (gates_bar, read_bar[:, :features])

    zeros = jnp.zeros_like(cell[0])
    _, (gates_bar, x_bar) = jax.lax.scan(step, (zeros, zeros), (hidden_bar, hidden, cell, gates, keep))
    before = jnp.concatenate([hidden[1:], zeros[None]]) * keep[..., None]
    read = jnp.concatenate([_with_one(x), before], -1)  # [T, B, D + 1 + H]
    matrix_bar = jnp.einsum("tbd,tbk->dk", read, gates_bar)  # [D + 1 + H, 4H]
    weights_bar = {
        "input": matrix_bar[:features],
        "bias": matrix_bar[features],
        "recurrent": matrix_bar[features + 1 :],
    }
    return weights_bar, x_bar, jnp.zeros_like(keep)


backward_lstm.defvjp(_forward, _reverse)
