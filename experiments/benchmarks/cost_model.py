"""What programs cost by what is counted in them: for how long they run here, and how long over many devices.

A model of four rates: every floating-point operation of a matrix product, every byte that an operation reads or writes,
every result of a dear function and every operation that is started takes its time, and times add up. Bytes and
operations are those of compiled programs, see `kernels.py`.
"""

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields

import numpy as np
from scipy.optimize import nnls

from metaobj.common.meta.cost import Work


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
