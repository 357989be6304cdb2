"""What a program costs, from what is counted in it: for how long it runs here, and how long over many devices.

A model of four rates: every floating-point operation of a matrix product, every byte that an operation reads or writes,
every result of a dear function and every operation that is started takes its time, and times add up. In a jaxpr bytes
and operations are upper bounds, since compilers fuse operations; `kernels.py` counts what they make of them.
"""

import math
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from jax.extend.core import Jaxpr, jaxprs_in_params
from scipy.optimize import nnls

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


@dataclass(frozen=True)
class Prices:
    """Seconds that each kind of work takes on one device."""

    product: float
    """Of a floating-point operation within a matrix product."""
    byte: float
    dear: float
    operation: float

    def seconds(self, work: Work) -> float:
        """Of a program."""
        return float(np.dot(_counts(work), astuple(self)))


def fitted(
    works: Sequence[Work], seconds: Sequence[float], of: Sequence[str] = ("product", "byte", "dear", "operation")
) -> Prices:
    """The prices, none of them negative, with the least squares of relative errors.

    Args:
        works: of measured programs.
        seconds: that they took.
        of: what has a price; few programs tell few apart. All else is free.
    """
    priced = np.array([field.name in of for field in fields(Prices)])
    relative = priced * np.array([_counts(work) for work in works]) / np.array(seconds)[:, None]
    scale = np.maximum(relative.max(0), np.finfo(float).tiny)  # of what no program does, any price fits: it is 0
    found, _ = nnls(relative / scale, np.ones(len(works)))
    return Prices(*map(float, found / scale))


def _counts(work: Work) -> tuple[float, float, float, float]:
    return work.products, work.bytes, work.dear, work.operations


@dataclass(frozen=True)
class Link:
    """Between neighbours in a ring of devices."""

    bandwidth: float
    """Bytes a second, each way."""
    latency: float
    """Seconds until a message's first byte is there."""

    def all_reduce(self, devices: int, size: float) -> float:
        """Seconds to sum so many bytes over all devices: twice what it takes to collect them, a D-th part each, and no
        all-reduce sends fewer (Patarasuk and Yuan 2009).
        """
        return 2 * self.all_gather(devices, size)

    def all_gather(self, devices: int, size: float) -> float:
        """Seconds until all devices have so many bytes, of which each has had a D-th part: D - 1 messages."""
        return (devices - 1) * (self.latency + size / devices / self.bandwidth)


def on_devices(
    devices: int,
    families: Sequence[int],
    prices: Prices,
    fixed: Work,
    piece: Work,
    each: Work,
    chunk: int,
    link: Link,
    summed: float,
    gathered: float,
    host_seconds: float,
) -> dict[str, float]:
    """Seconds of a meta-update over so many devices, by what they are spent on; they add up.

    Args:
        devices: D.
        families: lifetimes of each, whose shares every device runs one family after the other.
        prices: of a device.
        fixed: work that does not grow with the lifetimes.
        piece: work of every chunk of lifetimes, however few it holds, such as to start its operations.
        each: work of one further lifetime.
        chunk: lifetimes of a family that go through the program at once, at most.
        link: what devices tell each other over.
        summed: bytes of the sum over all devices, see `exchange` in `together.py`.
        gathered: bytes that all tell each other beside it.
        host_seconds: between chunks, for each meta-update of a chunk.

    Returns:
        "lifetimes": an equal share of their work; "uneven": what a device's share is larger than that, since of each
        family it has a whole number of lifetimes, and one at least; "pieces"; "fixed"; "exchange"; "host".
    """
    shares, equal = [-(-lifetimes // devices) for lifetimes in families], sum(families) / devices
    return {
        "lifetimes": equal * prices.seconds(each),
        "uneven": (sum(shares) - equal) * prices.seconds(each),
        "pieces": sum(-(-share // chunk) for share in shares) * prices.seconds(piece),
        "fixed": prices.seconds(fixed),
        "exchange": link.all_reduce(devices, summed) + link.all_gather(devices, gathered),
        "host": host_seconds,
    }
