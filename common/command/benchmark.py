"""`metaobj benchmark`: what presets cost on this machine.

What is imported at the top must not use JAX, as in `cli.py`.
"""

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table

from metaobj.common.command.arguments import parse
from metaobj.common.command.options import BenchmarkArguments
from metaobj.common.command.places import check_out
from metaobj.common.devices import hardware, use_all_cores
from metaobj.common.errors import UserError
from metaobj.common.files import atomic_write, make_folder

if TYPE_CHECKING:
    from metaobj.common.meta.machine import Rates

Result = TypeVar("Result")


def benchmark(arguments: list[str], console: Console) -> int:
    """Measure presets one after the other, print a table, keep the figures where asked for."""
    from metaobj.common.objectives.benchmark import find_preset
    from metaobj.common.objectives.plugin import plugins

    chosen = parse(BenchmarkArguments, arguments, "benchmark")
    for name in ("scale", "meta_updates", "devices"):
        if (value := getattr(chosen, name)) is not None and value < 1:
            raise UserError(f"{name}: {value} given; must be at least 1")
    names = chosen.presets or [f"{plugin.kind}/{plugin.default_preset}" for plugin in plugins().values()]
    presets = [find_preset(name) for name in names]
    if chosen.out is not None:
        check_out(chosen.out.parent)
        if chosen.out.is_dir():
            raise UserError(f"out: {chosen.out} is a folder; give a file")
    costs = []
    for plugin, preset in presets:
        with console.status(f"{plugin.kind}/{preset}"):
            size = (plugin.kind, preset, chosen.scale, chosen.meta_updates, chosen.devices)
            costs.append(alone(f"{plugin.kind}/{preset}", _measure, size))
    rates: dict[int, tuple[Rates, str]] = {}
    with console.status("the machine's rates"):
        for devices in sorted({cost.devices for cost in costs}):
            rates[devices] = alone("the machine's rates", _rates, (devices,))
    rows = [cost.told(rates[cost.devices][0]) for cost in costs]
    machine = rates[costs[0].devices][1]
    for table in tables(names, rows, machine):
        console.print(table)
    for devices, (found, _) in rates.items():
        console.print(
            f"floor: matrix products at {found.products / 1e9:.3g} Gflop/s; the state and what loops keep\n"
            f"at {found.bytes / 1e9:.3g} GB/s; measured on each of {devices} device(s)."
        )
    if chosen.out is not None:
        record = {
            "command": " ".join(["metaobj benchmark", *arguments]),
            "date": time.strftime("%Y-%m-%d"),
            "hardware": machine,
            "load": round(os.getloadavg()[0], 1),
            "jax": version("jax"),
            "rates": {str(devices): asdict(found) for devices, (found, _) in rates.items()},
            "rows": rows,
        }
        make_folder(chosen.out.parent)
        atomic_write(chosen.out, json.dumps(record, indent=1) + "\n")
        console.print(str(chosen.out), markup=False, soft_wrap=True)
    return 0


def alone(name: str, function: Callable[..., Result], arguments: tuple[Any, ...]) -> Result:
    """What a function of this module gives in a fresh process, whose memory is its own.

    Raises:
        UserError: as the function does, or the process was ended, such as where memory was short.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise UserError(f"{name}: its process was ended; a smaller scale needs less memory") from None


def _begin() -> None:
    """In a fresh process: the devices that a run would have; and to compile is to compile."""
    import jax

    use_all_cores()
    jax.config.update("jax_enable_compilation_cache", False)


def _measure(kind: str, preset: str, scale: int, meta_updates: int, devices: int | None) -> Any:
    from metaobj.common.objectives.benchmark import measure

    _begin()
    return measure(kind, preset, scale, meta_updates, devices)


def _rates(devices: int) -> "tuple[Rates, str]":
    """With what they are of, in words."""
    from metaobj.common.meta.machine import measured_rates

    _begin()
    return measured_rates(devices), hardware()


def tables(names: Sequence[str], rows: Sequence[dict[str, Any]], machine: str) -> Iterator[Table]:
    """Times beside their floors, then memory; neither wider than 80 columns."""
    heads = ["compile\ns", "update\ns", "products\nalone, s", "traffic\nalone, s", "updates\nper s", "steps\nper s"]
    floors = ["products_seconds", "traffic_seconds"]
    figures = ["compile_seconds", "seconds", *floors, "meta_updates_per_second", "steps_per_second"]
    yield _table(f"Meta-updates on {machine}", names, rows, heads, figures)
    heads = ["lifetimes", "devices", "state\nMB", "temporary\nMB", "peak of the\nprocess, MB"]
    figures = ["lifetimes", "devices", "state_megabytes", "temporary_megabytes", "peak_megabytes"]
    yield _table("Memory", names, rows, heads, figures)


def _table(
    title: str, names: Sequence[str], rows: Sequence[dict[str, Any]], heads: Sequence[str], figures: Sequence[str]
) -> Table:
    made = Table(title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column("preset", overflow="fold")
    for head in heads:
        made.add_column(head, justify="right", no_wrap=True)
    for name, row in zip(names, rows, strict=True):
        made.add_row(name, *(short(row[figure]) for figure in figures))
    return made


def short(value: float) -> str:
    """A number of two or three digits."""
    for limit, unit in ((1e6, "M"), (1e4, "k")):
        if value >= limit:
            return f"{value / (limit if unit == 'M' else 1e3):.3g}{unit}"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}" if value >= 1 else f"{value:.2g}"
