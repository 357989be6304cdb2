"""What a meta-update would take over many devices such as the one that `cost.csv` was measured on; on paper.

    python -m experiments.benchmarks.cost_devices [--case lpg/lpg-demo@64] [--bandwidth 1.25e9] [--latency 3e-5]

Prices are those of all rows of `cost.csv`. What does not grow with the lifetimes, what each chunk and what
each of them adds is told by the two rows there of the preset at its least and its largest scale.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.benchmarks.cost import preset_of, prices_of, work_in
from experiments.benchmarks.cost_model import Link, on_devices
from experiments.rows import Row, read
from experiments.script import run_script
from metaobj.common.errors import UserError
from metaobj.common.files import write_csv
from metaobj.common.meta.cost import Work
from metaobj.common.objectives.benchmark import short_chunks

SCALARS = 19
"""Sums beside the gradient, 4 bytes each; by environment there are some more."""
REPORT = 20
"""Bytes that every lifetime tells the sampler of all devices."""
PARTS = ("lifetimes", "uneven", "pieces", "fixed", "exchange", "host")


@dataclass(frozen=True)
class Arguments:
    """A preset over 1, 2, 4, ... devices."""

    case: str = "lpg/lpg-demo@64"
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


def parts_of(rows: Sequence[Row], chunk: int) -> tuple[Work, Work, Work]:
    """Work that does not grow with the lifetimes, that of each chunk of them, and that of each lifetime: operations
    are started once for a chunk, all else grows with the lifetimes. Of presets of one family.

    Raises:
        UserError: the rows do not tell.
    """
    few, many = min(rows, key=lambda row: row["lifetimes"]), max(rows, key=lambda row: row["lifetimes"])
    chunks = [-(-int(row["lifetimes"]) // chunk) for row in (few, many)]
    if chunks[0] == chunks[1]:
        raise UserError("case: the table of costs must hold its preset at two scales, in more chunks at one of them")
    more = work_in(many) + work_in(few) * -1.0
    piece = Work(operations=more.operations / (chunks[1] - chunks[0]))
    each = replace(more * (1 / (many["lifetimes"] - few["lifetimes"])), operations=0.0)
    return work_in(few) + piece * -chunks[0] + each * -few["lifetimes"], piece, each


def over_devices(arguments: Arguments, rows: Sequence[Row], families: Sequence[int], chunk: int) -> list[Row]:
    """A row for each number of devices: seconds by what they go to, their sum, the part of it that is of use."""
    own = [row for row in rows if preset_of(row["case"]) == preset_of(arguments.case)]
    works = parts_of(own, chunk)
    prices, link = prices_of(rows), Link(arguments.bandwidth, arguments.latency)
    summed, gathered = own[0]["eta_bytes"] + 4 * SCALARS, REPORT * sum(families)
    host = max(row["host_seconds"] for row in own) / arguments.log_every
    told, devices = [], 1
    while devices <= arguments.most:
        parts = on_devices(devices, families, prices, *works, chunk, link, summed, gathered, host)
        total = sum(parts.values())
        told.append({"devices": devices, **parts, "seconds": total, "useful": parts["lifetimes"] / total})
        devices *= 2
    return told


def table(rows: Sequence[Row], title: str) -> Table:
    """What a person reads."""
    made = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for head in ("devices", *(f"{part}\nms" for part in PARTS), "all\nms", "useful", "most of it"):
        made.add_column(head, justify="right", no_wrap=True)
    for row in rows:
        largest = max(PARTS, key=lambda part: row[part])
        parts = (f"{1e3 * row[part]:.3g}" for part in (*PARTS, "seconds"))
        made.add_row(f"{row['devices']:.0f}", *parts, f"{row['useful']:.0%}", largest)
    return made


def main() -> None:
    """Count, tell, keep."""
    arguments = tyro.cli(Arguments)
    name, _, scale = arguments.case.partition("@")
    kind, preset = name.split("/")
    trainer = short_chunks(kind, preset, int(scale), 1)
    families = [family.lifetimes.size for family in trainer.families]
    rows = over_devices(arguments, read(arguments.costs), families, trainer.config.chunk)
    Console(width=110).print(table(rows, f"{arguments.case}, {sum(families)} lifetimes: a meta-update"))
    write_csv(arguments.out, rows[0], (row.values() for row in rows))


if __name__ == "__main__":
    run_script(main)
