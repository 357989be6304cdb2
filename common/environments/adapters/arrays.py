"""What other packages' numbers become here."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def strong(x: Any) -> jax.Array:
    """An array whose type does not bend to what it is combined with."""
    x = jnp.asarray(x)
    return x if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else jax.lax.convert_element_type(x, x.dtype)


def floats(x: Any) -> jax.Array:
    """As floats of this program's width."""
    return jnp.asarray(x, jnp.result_type(float))


def bound(values: Any) -> float | tuple[float, ...]:
    """A bound of a `Box`: one number where all are the same."""
    entries: list[float] = np.asarray(values, float).ravel().tolist()
    return entries[0] if len(set(entries)) == 1 else tuple(entries)
