"""Numbers that are tuned within bounds."""

import math
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from metaobj.common.errors import UserError


@dataclass(frozen=True)
class Bounded:
    """A number between two bounds, as low + (high - low) sigmoid(x) of an unconstrained x."""

    initial: float
    low: float = 0.0
    high: float = 1.0
    tuned: bool = True
    """Whether it is; one that is not stays at its initial value, which may then be a bound."""

    def check(self, name: str) -> None:
        """Raises:
        UserError: bounds are not in order, or exclude the initial value.
        """
        if not -math.inf < self.low < self.high < math.inf:
            raise UserError(f"{name}: low {self.low:g} and high {self.high:g} given; must be finite and in this order")
        inside = self.low < self.initial < self.high if self.tuned else self.low <= self.initial <= self.high
        if not inside:
            where = "between" if self.tuned else "within"
            raise UserError(
                f"{name}.initial: {self.initial:g} given; must be {where} its bounds {self.low:g} and {self.high:g}"
            )

    @property
    def unconstrained(self) -> float:
        """X of the initial value; 0 of a number that is not tuned."""
        if not self.tuned:
            return 0.0
        share = (self.initial - self.low) / (self.high - self.low)
        return math.log(share / (1.0 - share))

    def value(self, x: jax.Array) -> jax.Array:
        """The number; of one that is not tuned a constant."""
        if not self.tuned:
            return jnp.full_like(x, self.initial)
        return self.low + (self.high - self.low) * jax.nn.sigmoid(x)
