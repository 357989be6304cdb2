"""Differentiating through an agent's own learning: time and memory, and nothing of reinforcement learning."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.ad_checkpoint import checkpoint_name
from jax.flatten_util import ravel_pytree

from metaobj.common.types import PyTree


def mixed_mode_gradient(
    loss: Callable[[PyTree, PyTree, PyTree], jax.Array],
) -> Callable[[PyTree, PyTree, PyTree], PyTree]:
    """g(theta, context, data) = d loss / d theta, cheap to differentiate once more.

    Second derivatives are symmetric, so the vector-Jacobian products of g with a cotangent v are the directional
    derivative along v of (d loss / d theta, d loss / d context): one forward-over-reverse pass, where reverse over
    reverse would keep and revisit the whole inner backward pass (MixFlow-MG, Kemaev et al. 2025, arXiv 2505.00793).

    `loss(theta, context, data)` must be a true scalar function without a custom_vjp inside. `context` is differentiated
    (targets, the weights of a learned loss); `data` is constant: what depends on theta or on the meta-parameters must
    not go there.
    """

    @jax.custom_vjp
    def gradient(theta: PyTree, context: PyTree, data: PyTree) -> PyTree:
        return jax.grad(loss)(theta, context, data)

    def forward(theta: PyTree, context: PyTree, data: PyTree) -> tuple[PyTree, PyTree]:
        value = checkpoint_name(gradient(theta, context, data), "inner_gradient")
        return value, (theta, context, data)

    def backward(residuals: PyTree, cotangent: PyTree) -> tuple[PyTree, PyTree, None]:
        theta, context, data = residuals
        both = jax.grad(loss, argnums=(0, 1))
        _, (theta_bar, context_bar) = jax.jvp(lambda t: both(t, context, data), (theta,), (cotangent,))
        return theta_bar, context_bar, None

    gradient.defvjp(forward, backward)
    return gradient


def numbers(tree: PyTree) -> tuple[jax.Array, Callable[[jax.Array], PyTree]]:
    """All that is inexact in a tree as one vector, and the way back, to a tree whose other leaves are as they were."""
    leaves, structure = jax.tree.flatten(tree)
    inexact = [at for at, leaf in enumerate(leaves) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    flat, unravel = ravel_pytree([leaves[at] for at in inexact])

    def back(vector: jax.Array) -> PyTree:
        new = dict(zip(inexact, unravel(vector), strict=True))
        return jax.tree.unflatten(structure, [new.get(at, leaf) for at, leaf in enumerate(leaves)])

    return flat, back


def is_finite(tree: PyTree) -> jax.Array:
    """Whether all that is inexact in a tree is finite, []."""
    leaves = [leaf for leaf in jax.tree.leaves(tree) if jnp.issubdtype(leaf.dtype, jnp.inexact)]
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))


def directional(
    function: Callable[..., jax.Array], at: tuple[jax.Array, ...], directions: tuple[jax.Array, ...]
) -> jax.Array:
    """The derivatives [n, ...] of a function along n directions, each [n, ...] and one for each argument.

    Forward mode out of reverse mode twice: the pullback is linear in its cotangent, and its own pullback is the
    pushforward. So it goes through functions that tell their own reverse pass and no forward one.
    """
    value, pullback = jax.vjp(function, *at)
    _, pushforward = jax.vjp(pullback, jnp.zeros_like(value))
    return jax.vmap(lambda *direction: pushforward(direction)[0])(*directions)


def clip_by_norm(gradient: PyTree, limit: float) -> tuple[PyTree, jax.Array]:
    """Scale one lifetime's gradient to at most `limit` in global norm; also its norm before."""
    norm = optax.tree.norm(gradient)
    scale = jnp.minimum(1.0, limit / jnp.maximum(norm, 1e-30))
    return jax.tree.map(lambda g: g * scale, gradient), norm


def sum_over_chunks(
    function: Callable[[PyTree], tuple[PyTree, PyTree]], population: PyTree, chunk: int
) -> tuple[PyTree, PyTree]:
    """Map `function(part) -> (sums, outputs)` over parts of `chunk` lifetimes; add the sums, join the outputs.

    The lifetimes are the leading axis of every leaf of `population`; only one part's residuals are alive at a time, so
    memory is set by `chunk` and not by the population. `chunk` must divide the number of lifetimes.
    """
    size = jax.tree.leaves(population)[0].shape[0]
    parts = size // chunk
    if parts == 1:
        return function(population)

    def body(total: PyTree, part: PyTree) -> tuple[PyTree, PyTree]:
        sums, outputs = function(part)
        return jax.tree.map(jnp.add, total, sums), outputs

    split = jax.tree.map(lambda leaf: leaf.reshape(parts, chunk, *leaf.shape[1:]), population)
    shapes = jax.eval_shape(function, jax.tree.map(lambda leaf: leaf[0], split))[0]
    zeros: Any = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    total, outputs = jax.lax.scan(body, zeros, split)
    return total, jax.tree.map(lambda leaf: leaf.reshape(size, *leaf.shape[2:]), outputs)
