"""Adams of single lifetimes: each has its own meta-gradient normalised before the mean over lifetimes (Oh et al. 2025,
"Discovering state-of-the-art reinforcement learning algorithms", Nature 648), so that none outweighs the others by the
size of its gradients.
"""

import jax
import jax.numpy as jnp
import optax

from metaobj.common.types import PyTree

_ADAM = optax.scale_by_adam()


def first_adams(eta: PyTree, number: int) -> PyTree:
    """What `number` Adams remember before their first steps, [number, ...]."""
    return jax.vmap(lambda _: _ADAM.init(eta))(jnp.arange(number))


def counted(gradient: PyTree, finite: jax.Array, adam: PyTree | None) -> tuple[PyTree, PyTree | None]:
    """What one lifetime brings to the mean, and what its Adam remembers then.

    Args:
        gradient: its own.
        finite: []; a lifetime that is not brings zeros, and its Adam forgets that it was asked.
        adam: what its Adam remembers. Without one the gradient is brought as it is, else Adam's step, before the
            learning rate.
    """

    def where_finite(new: PyTree, old: PyTree) -> PyTree:
        return jax.tree.map(lambda n, o: jnp.where(finite, n, o), new, old)

    nothing = jax.tree.map(jnp.zeros_like, gradient)
    gradient = where_finite(gradient, nothing)
    if adam is None:
        return gradient, None
    step, after = _ADAM.update(gradient, adam)
    return where_finite(step, nothing), where_finite(after, adam)
