"""Measure LPG's meta-update and print one table; `make bench`.

    python -m experiments.benchmarks.run [--out experiments/results/benchmarks]

Each row is measured in a process of its own, so that its peak memory is its own. Times are medians of several
meta-updates after the first; leave the machine alone meanwhile. Ratios are of the same work in the same process.
"""

import datetime
import json
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

PUBLISHED: dict[str, Any] = {"units": 256, "prediction_size": 8, "environments": 64}
SMALL: dict[str, Any] = {"units": 32, "prediction_size": 8, "environments": 16}


@dataclass(frozen=True)
class Arguments:
    """Benchmarks of LPG's meta-update."""

    out: Path = Path("experiments/results/benchmarks")
    """Folder of the figures."""
    only: str | None = None
    """Measure one row in this process and print it as JSON."""
    repetitions: int = 7
    """Meta-updates per row."""


def warm_up(run: Callable[[], Any]) -> None:
    """The first calls find memory that the system has not handed out yet, and take twice as long."""
    for _ in range(3):
        run()


def published(repetitions: int, lifetimes: int = 8, chunk: int = 1) -> dict[str, Any]:
    """The size of a public implementation, against the matrix products that it cannot do without."""
    from experiments.benchmarks.lpg import MetaUpdate, lstm_products, median, timed, trainer

    run = MetaUpdate(trainer(**PUBLISHED, lifetimes=lifetimes, chunk=chunk))
    products = lstm_products(units=256, lifetimes=lifetimes, environments=64, steps=20, updates=5)
    warm_up(run)
    pairs = [(timed(run), timed(products)) for _ in range(repetitions)]
    wall, cpu = median([a for a, _ in pairs])
    floor_wall, floor_cpu = median([b for _, b in pairs])
    return {
        "compile_seconds": run.compile_seconds,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "products_wall_seconds": floor_wall,
        "products_cpu_seconds": floor_cpu,
        "ratio_wall": wall / floor_wall,
        "ratio_cpu": cpu / floor_cpu,
        "steps_per_second": run.trainer.steps_per_update / wall,
        "state_megabytes": run.state_megabytes,
        "temporary_megabytes": run.temporary_megabytes,
    }


def small(repetitions: int, inner_updates: int = 5, chunk: int = 32, remat: bool = False) -> dict[str, Any]:
    """LSTM 32, 16 lifetimes x 16 environments."""
    from experiments.benchmarks.lpg import MetaUpdate, median, timed, trainer

    run = MetaUpdate(trainer(**SMALL, lifetimes=16, inner_updates=inner_updates, chunk=chunk, remat=remat))
    warm_up(run)
    wall, cpu = median([timed(run) for _ in range(repetitions * 5)])
    return {
        "compile_seconds": run.compile_seconds,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "steps_per_second": run.trainer.steps_per_update / wall,
        "state_megabytes": run.state_megabytes,
        "temporary_megabytes": run.temporary_megabytes,
    }


ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "a: LSTM 256, 8 x 64": published,
    "a: LSTM 256, 32 x 64": lambda n: published(max(n // 2, 3), lifetimes=32),
    "b: LSTM 32, 16 x 16": small,
    "c: as b, K = 1": lambda n: small(n, 1, 1, True),
    "c: as b, K = 5": lambda n: small(n, 5, 1, True),
    "c: as b, K = 20": lambda n: small(n, 20, 1, True),
    "c: as b, K = 50": lambda n: small(max(n // 2, 1), 50, 1, True),
}


def main() -> None:
    """Measure all rows, or one."""
    arguments = tyro.cli(Arguments)
    if arguments.only is not None:
        from common.devices import use_all_cores

        use_all_cores()
        row = ROWS[arguments.only](arguments.repetitions)
        row["peak_megabytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
        print(json.dumps(row))
        return
    rows: dict[str, Any] = {}
    console = Console()
    for name in ROWS:
        with console.status(name):
            command = [sys.executable, "-m", "experiments.benchmarks.run", "--only", name]
            command += ["--repetitions", str(arguments.repetitions)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        rows[name] = json.loads(done.stdout.splitlines()[-1])
    console.print(table(rows))
    first, second = rows["a: LSTM 256, 8 x 64"], rows["a: LSTM 256, 32 x 64"]
    further = {
        "allocated": (sum_of(second) - sum_of(first)) / 24,
        "peak": (second["peak_megabytes"] - first["peak_megabytes"]) / 24,
    }
    console.print("Rows c: recomputed forward passes, one lifetime at a time.")
    console.print(
        f"Row a against its LSTM's matrix products alone: {first['ratio_wall']:.2f} times their wall time, "
        f"{first['ratio_cpu']:.2f} times their CPU time.\n"
        f"Each further lifetime: {further['allocated']:.1f} MB allocated, {further['peak']:.1f} MB of peak memory."
    )
    record = {
        "command": "python -m experiments.benchmarks.run",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "jax": version("jax"),
        "rows": rows,
        "megabytes_per_further_lifetime": further,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "lpg.json").write_text(json.dumps(record, indent=1) + "\n")


def sum_of(row: dict[str, Any]) -> float:
    """Megabytes of the state and of the compiled program's temporaries."""
    return float(row["state_megabytes"] + row["temporary_megabytes"])


def table(rows: dict[str, Any]) -> Table:
    """Times, rates and memory of all rows."""
    made = Table(
        title="One meta-update of LPG: lifetimes x environments, T = 20, K = 5", box=box.SIMPLE_HEAD, pad_edge=False
    )
    made.add_column("", no_wrap=True)
    for title in ("compile\ns", "wall\ns", "CPU\ns", "steps\nper s", "state +\ntemp MB", "peak\nMB"):
        made.add_column(title, justify="right", no_wrap=True)
    for name, row in rows.items():
        made.add_row(
            name,
            f"{row['compile_seconds']:.1f}",
            f"{row['wall_seconds']:.3f}",
            f"{row['cpu_seconds']:.3f}",
            f"{row['steps_per_second'] / 1e3:.0f}k",
            f"{row['state_megabytes']:.1f} + {row['temporary_megabytes']:.0f}",
            f"{row['peak_megabytes']:.0f}",
        )
    return made


if __name__ == "__main__":
    main()
