"""What a program does, counted in its jaxpr: products, bytes, operations.

Bytes and operations are upper bounds, since compilers fuse operations.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from jax.extend.core import Jaxpr, jaxprs_in_params

from metaobj.common.memory import size_of

DEAR = frozenset(
    ("acos", "acosh", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "cos", "cosh", "digamma", "erf", "erf_inv")
    + ("erfc", "exp", "exp2", "expm1", "lgamma", "log", "log1p", "logistic", "pow", "random_bits", "random_gamma")
    + ("rsqrt", "sin", "sinh", "sqrt", "tan", "tanh", "threefry2x32")
)
"""Primitives of whose results each takes tens of instructions."""
_OF_NUMBERS = ("reduce", "scatter", "select_and", "argm", "cum")
"""How primitives begin whose inner programs tell what is done with two numbers, and are no work by themselves."""


@dataclass(frozen=True)
class Work:
    """What a program does, on one device."""

    products: float = 0.0
    """Floating-point operations of matrix products and convolutions: 2 b m n k each."""
    bytes: float = 0.0
    """That operations read and write, as if none were fused."""
    dear: float = 0.0
    """Results of `DEAR` functions."""
    operations: float = 0.0
    """That are started."""
    stacked: float = 0.0
    """Bytes that loops keep of their steps or are given for them. No fusion saves these; a part of `bytes`."""

    def __add__(self, other: "Work") -> "Work":
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, times: float) -> "Work":
        return Work(*(times * a for a in astuple(self)))


def work_of(jaxpr: Jaxpr) -> Work:
    """Count a program: loops of a known length as often as they run, others once, of branches the one with the most
    bytes. Within a `shard_map` shapes are those of one device, and so is the work.
    """
    total = Work()
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        inner = [] if name.startswith(_OF_NUMBERS) else [work_of(part) for part in jaxprs_in_params(equation.params)]
        if name == "scan":
            fixed = equation.params["num_consts"] + equation.params["num_carry"]
            stacked = _bytes(equation.invars[fixed:]) + _bytes(equation.outvars[equation.params["num_carry"] :])
            total += sum(inner, Work()) * equation.params["length"] + Work(bytes=stacked, stacked=stacked)
        elif name == "cond":
            total += max(inner, key=lambda work: work.bytes)
        elif inner:
            total += sum(inner, Work())
        else:
            total += _of_operation(equation)
    return total


def _of_operation(equation: Any) -> Work:
    results = sum(math.prod(out.aval.shape) for out in equation.outvars if hasattr(out.aval, "shape"))
    name, moved = equation.primitive.name, _bytes(equation.invars) + _bytes(equation.outvars)
    products = 0.0
    if name == "dot_general":
        (contracted, _), _ = equation.params["dimension_numbers"]
        shape = equation.invars[0].aval.shape
        products = 2.0 * results * math.prod(shape[axis] for axis in contracted)
    elif name == "conv_general_dilated":
        shape = equation.invars[1].aval.shape
        outputs = shape[equation.params["dimension_numbers"].rhs_spec[0]]
        products = 2.0 * results * math.prod(shape) / outputs
    return Work(products, float(moved), float(results) if name in DEAR else 0.0, 1.0)


def _bytes(variables: Sequence[Any]) -> int:
    return size_of([variable.aval for variable in variables])
