"""The LSTM that reads a rollout from its end to its start.

An LSTM step is two matrix products. Here the input's is done for all steps at once before the scan, and in the reverse
pass the weights' gradients are formed after the scan from the stacked gate gradients, in one product each, where
transposing the scan would add up a [H, 4H] matrix step by step. The reverse pass is therefore written out.
"""

import jax
import jax.numpy as jnp

from common.types import PyTree


def init_lstm(key: jax.Array, inputs: int, units: int) -> PyTree:
    """Weights for `inputs` features and H = `units`; the forget gate starts open (bias 1)."""
    input_key, recurrent_key = jax.random.split(key)
    bias = jnp.zeros((4, units)).at[1].set(1.0).reshape(-1)
    return {
        "input": jax.nn.initializers.lecun_normal()(input_key, (inputs, 4 * units)),
        "recurrent": jax.nn.initializers.orthogonal()(recurrent_key, (units, 4 * units)),
        "bias": bias,
    }


def _gates(preactivations: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """[..., 4H] to input, forget, output gates and candidate, [..., H] each."""
    i, f, g, o = jnp.split(preactivations, 4, axis=-1)
    return jax.nn.sigmoid(i), jax.nn.sigmoid(f), jnp.tanh(g), jax.nn.sigmoid(o)


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


def _forward(weights: PyTree, x: jax.Array, keep: jax.Array) -> tuple[jax.Array, PyTree]:
    units = weights["recurrent"].shape[0]
    projected = x @ weights["input"] + weights["bias"]  # [T, B, 4H]
    zeros = jnp.zeros((x.shape[1], units), projected.dtype)

    def step(carry, inputs):
        projected, keep = inputs
        hidden, cell = (keep[:, None] * part for part in carry)
        i, f, g, o = _gates(projected + hidden @ weights["recurrent"])
        cell = f * cell + i * g
        squashed = jnp.tanh(cell)
        hidden = o * squashed
        return (hidden, cell), (hidden, cell, i, f, g, o)

    _, (hidden, *saved) = jax.lax.scan(step, (zeros, zeros), (projected, keep), reverse=True)
    return hidden, (weights, x, keep, hidden, *saved)


def _reverse(residuals: PyTree, hidden_bar: jax.Array) -> tuple[PyTree, jax.Array, jax.Array]:
    weights, x, keep, hidden, cell, i, f, g, o = residuals

    def shifted(states: jax.Array) -> jax.Array:
        """What each step received from the step after it."""
        return jnp.concatenate([states[1:], jnp.zeros_like(states[:1])]) * keep[..., None]

    hidden_before, cell_before = shifted(hidden), shifted(cell)

    def step(carry, inputs):
        hidden_bar, cell_bar = carry
        bar, cell, cell_before, i, f, g, o, keep = inputs
        hidden_bar = hidden_bar + bar
        squashed = jnp.tanh(cell)
        cell_bar = cell_bar + hidden_bar * o * (1 - squashed**2)
        gates_bar = jnp.concatenate(
            [
                cell_bar * g * i * (1 - i),
                cell_bar * cell_before * f * (1 - f),
                cell_bar * i * (1 - g**2),
                hidden_bar * squashed * o * (1 - o),
            ],
            axis=-1,
        )  # [B, 4H]
        keep = keep[:, None]
        return (keep * (gates_bar @ weights["recurrent"].T), keep * cell_bar * f), gates_bar

    zeros = jnp.zeros_like(hidden[0])
    _, gates_bar = jax.lax.scan(step, (zeros, zeros), (hidden_bar, cell, cell_before, i, f, g, o, keep))
    weights_bar = {
        "input": jnp.einsum("tbd,tbk->dk", x, gates_bar),
        "recurrent": jnp.einsum("tbh,tbk->hk", hidden_before, gates_bar),
        "bias": jnp.sum(gates_bar, (0, 1)),
    }
    return weights_bar, gates_bar @ weights["input"].T, jnp.zeros_like(keep)


backward_lstm.defvjp(_forward, _reverse)
