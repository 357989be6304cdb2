"""Physics that differ from lifetime to lifetime: factors on an environment's constants, as data.

Each constant is multiplied or divided by a factor of its own, in [1, 1.3] in training and in [1.3, 1.6] held out.
"""

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.splits import Split
from metaobj.common.types import PRNGKey

FACTORS: dict[Split, tuple[float, float]] = {"training": (1.0, 1.3), "held_out": (1.3, 1.6), "any": (1.0, 1.6)}


def factor_spec(varied: bool, split: Split) -> np.ndarray:
    """[2] the least and the largest logarithm of a factor; zeros where nothing varies."""
    return (np.log(FACTORS[split]) if varied else np.zeros(2)).astype(np.float32)


def draw_factors(key: PRNGKey, spec: jax.Array, number: int) -> jax.Array:
    """[number] factors for a spec of `factor_spec`, [2], or of one such for each factor, [number, 2]."""
    size_key, sign_key = jax.random.split(key)
    low, high = jnp.moveaxis(jnp.asarray(spec), -1, 0)
    size = jax.random.uniform(size_key, (number,), minval=low, maxval=high)
    return jnp.exp(jnp.where(jax.random.bernoulli(sign_key, shape=(number,)), size, -size))
