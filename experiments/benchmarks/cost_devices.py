"""What a meta-update would take over many devices such as the one that `cost.csv` was measured on; on paper.

    python -m experiments.benchmarks.cost_devices [--case lpg/lpg-paper@64] [--bandwidth 1.25e9] [--latency 3e-5]

Prices are those of all rows of `cost.csv`; work is counted in the preset's program, which is not run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jax
import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.benchmarks.cost import work_in
from experiments.rows import read
from metaobj.common.files import write_csv
from metaobj.common.memory import size_of
from metaobj.common.meta.cost import Link, Prices, Work, fitted, on_devices, work_of
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.objectives.benchmark import single_updates

SCALARS = 19
"""Sums beside the gradient, 4 bytes each; by environment there are some more."""
REPORT = 20
"""Bytes that every lifetime tells the sampler of all devices."""
PARTS = ("lifetimes", "uneven", "fixed", "exchange", "host")


@dataclass(frozen=True)
class Arguments:
    """A preset over 1, 2, 4, ... devices."""

    case: str = "lpg/lpg-paper@64"
    """KIND/PRESET@SCALE."""
    most: int = 1024
    """Devices."""
    bandwidth: float = 1.25e9
    """Bytes a second between two devices; by default ten gigabits."""
    latency: float = 3e-5
    """Seconds of a message."""
    log_every: int = 1
    """Meta-updates of a chunk."""
    costs: Path = Path("experiments/results/benchmarks/cost.csv")
    out: Path = Path("experiments/results/benchmarks/cost-devices.csv")


def counted(trainer: MetaTrainer) -> Work:
    """Of one meta-update."""
    state = jax.eval_shape(trainer.first, jax.random.key(0))
    return work_of(trainer.run_chunk.trace(state).jaxpr.jaxpr)


def fixed_and_each(smaller: MetaTrainer, larger: MetaTrainer) -> tuple[Work, Work]:
    """Work that does not grow with the lifetimes, and that of each: what two numbers of them tell."""
    few, many = counted(smaller), counted(larger)
    each = (many + few * -1.0) * (1 / (larger.lifetimes - smaller.lifetimes))
    return few + each * -float(smaller.lifetimes), each


def over_devices(arguments: Arguments, prices: Prices, host_seconds: float) -> list[dict[str, float]]:
    """A row for each number of devices: seconds by what they go to, their sum, the part of it that is of use."""
    name, _, scale = arguments.case.partition("@")
    kind, preset = name.split("/")
    one, two = (single_updates(kind, preset, times, 1, chunk=4096) for times in (1, 2))  # in one piece each
    fixed, each = fixed_and_each(one, two)
    families = [family.lifetimes.size * int(scale) for family in one.families]
    summed = size_of(jax.eval_shape(one.objective.init, jax.random.key(0))) + 4 * SCALARS
    link, rows, devices = Link(arguments.bandwidth, arguments.latency), [], 1
    while devices <= arguments.most:
        gathered = REPORT * sum(families)
        host = host_seconds / arguments.log_every
        parts = on_devices(devices, families, prices, fixed, each, link, summed, gathered, host)
        total = sum(parts.values())
        rows.append({"devices": devices, **parts, "seconds": total, "useful": parts["lifetimes"] / total})
        devices *= 2
    return rows


def table(rows: Sequence[dict[str, float]], title: str) -> Table:
    """What a person reads."""
    made = Table(title=title, box=box.SIMPLE_HEAD)
    for head in ("devices", *(f"{part}, ms" for part in PARTS), "all, ms", "useful", "most of it"):
        made.add_column(head, justify="right")
    for row in rows:
        largest = max(PARTS, key=lambda part: row[part])
        parts = (f"{1e3 * row[part]:.3g}" for part in (*PARTS, "seconds"))
        made.add_row(f"{row['devices']:.0f}", *parts, f"{row['useful']:.0%}", largest)
    return made


def main() -> None:
    """Count, tell, keep."""
    arguments = tyro.cli(Arguments)
    measured = read(arguments.costs)
    prices = fitted([work_in(row) for row in measured], [row["seconds"] for row in measured])
    rows = over_devices(arguments, prices, max(row["host_seconds"] for row in measured))
    Console(width=100).print(table(rows, f"{arguments.case}, a meta-update"))
    write_csv(arguments.out, rows[0], (row.values() for row in rows))


if __name__ == "__main__":
    main()
