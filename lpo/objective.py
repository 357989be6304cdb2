"""LPO: a learned drift (Lu et al. 2022, "Discovered Policy Optimisation", arXiv 2210.05639).

Agents live as PPO's do and descend -(r A - f), r = pi(a|s) / pi_old(a|s), where f is a network of r and A. That f is
nowhere negative and has value and slope 0 at r = 1 holds whatever the weights are: the network has no biases and reads
nothing at r = 1, and what is less than a margin is cut off.
"""

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

import chex
import jax
import jax.numpy as jnp

from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.rules.handwritten import clipped_surrogate
from metaobj.common.rules.surrogate import HYPERPARAMETERS
from metaobj.common.types import PRNGKey, PyTree

MARGIN = 1e-4
"""What the network must say for the drift to rise: around r = 1 there is none."""
FEATURES = 8


@dataclass(frozen=True)
class LPOConfig:
    """The network that is the objective, and what it is added to."""

    units: int = 128
    """Units of its one hidden layer."""
    around: Literal["nothing", "clip"] = "nothing"
    """What the network is added to: at first agents learn by the policy gradient alone, or by PPO's clip."""
    clip: float = 0.2
    """eps of that clip."""

    def __post_init__(self) -> None:
        check_numbers(self, "units", at_least=1, at_most=MOST, prefix="network.")
        check_numbers(self, "clip", above=0, prefix="network.")
        if self.around not in (known := get_args(get_type_hints(LPOConfig)["around"])):
            raise UserError(f"network.around: {self.around!r} given; choose from {', '.join(known)}")


@dataclass(frozen=True)
class LPO:
    """See `common.rules.surrogate.SurrogateRule`. eta is {"hidden": [8, units], "output": [units]}."""

    config: LPOConfig = LPOConfig()

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return HYPERPARAMETERS

    def init(self, key: PRNGKey) -> PyTree:
        """At first the network says nothing."""
        hidden = jax.nn.initializers.lecun_normal()(key, (FEATURES, self.config.units))
        return {"hidden": hidden, "output": jnp.zeros(self.config.units)}

    def drift(self, weights: PyTree, log_ratio: jax.Array, advantage: jax.Array) -> jax.Array:
        """The drift f [...] in -(r A - f), from log r [...] and A [...].

        f = relu(g + net(x) - 1e-4), where g is 0 or PPO's relu((r - clip(r, 1 - eps, 1 + eps)) A), and x is (1 - r),
        (1 - r)^2, log r, (log r)^2 and A times each of these.

        Raises:
            AssertionError: shapes differ.
        """
        chex.assert_equal_shape([log_ratio, advantage])
        ratio = jnp.exp(log_ratio)
        of_ratio = jnp.stack([1.0 - ratio, (1.0 - ratio) ** 2, log_ratio, log_ratio**2], -1)  # [..., 4]
        x = jnp.concatenate([of_ratio, of_ratio * advantage[..., None]], -1)  # [..., 8]
        said = jnp.tanh(x @ weights["hidden"]) @ weights["output"]  # [...]
        if self.config.around == "clip":
            said += clipped_surrogate(log_ratio, advantage, self.config.clip) + ratio * advantage
        return jax.nn.relu(said - MARGIN)

    def surrogate(self, weights: PyTree, log_ratio: jax.Array, advantage: jax.Array) -> jax.Array:
        return self.drift(weights, log_ratio, advantage) - jnp.exp(log_ratio) * advantage
