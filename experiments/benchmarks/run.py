"""Measure the meta-updates of both objectives and print their tables; `make bench`.

    python -m experiments.benchmarks.run [--only lpg|metagenrl] [--out experiments/results/benchmarks]

Each row is measured in a process of its own, so that its peak memory is its own. Times are medians of several
meta-updates after the first; leave the machine alone meanwhile. Ratios are of the same work in the same process.
"""

import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.script import run_script

PUBLISHED: dict[str, Any] = {"units": 256, "prediction_size": 8, "environments": 64}
SMALL: dict[str, Any] = {"units": 32, "prediction_size": 8, "environments": 16}


@dataclass(frozen=True)
class Arguments:
    """Benchmarks of meta-updates."""

    out: Path = Path("experiments/results/benchmarks")
    """Folder of the figures."""
    only: Literal["lpg", "metagenrl"] | None = None
    """One of the tables."""
    row: str | None = None
    """Measure one row in this process and print it as JSON."""
    repetitions: int = 7
    """Meta-updates per row."""


def published(repetitions: int, lifetimes: int = 8, chunk: int = 1) -> dict[str, Any]:
    """The size of a public implementation, against the matrix products that it cannot do without."""
    from experiments.benchmarks.lpg import lstm_products, trainer
    from metaobj.common.meta.timed import MetaUpdate, median, timed, warm_up

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
    from experiments.benchmarks.lpg import trainer
    from metaobj.common.meta.timed import MetaUpdate, median, timed, warm_up

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


def cycle(repetitions: int, agents: int, **sizes: int) -> dict[str, Any]:
    """MetaGenRL with the published sizes."""
    from experiments.benchmarks import metagenrl

    return metagenrl.cycle(repetitions, agents, **sizes)


def td3(repetitions: int) -> dict[str, Any]:
    """The baseline."""
    from experiments.benchmarks import metagenrl

    return metagenrl.baseline(repetitions)


LPG_ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "a: LSTM 256, 8 x 64": published,
    "a: LSTM 256, 32 x 64": lambda n: published(max(n // 2, 3), lifetimes=32),
    "b: LSTM 32, 16 x 16": small,
    "c: as b, K = 1": lambda n: small(n, 1, 1, True),
    "c: as b, K = 5": lambda n: small(n, 5, 1, True),
    "c: as b, K = 20": lambda n: small(n, 20, 1, True),
    "c: as b, K = 50": lambda n: small(max(n // 2, 1), 50, 1, True),
}
METAGENRL_ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "one agent": lambda n: cycle(n, 1),
    "twenty agents": lambda n: cycle(max(n // 2, 1), 20, cycles=2),
    "one, replay of 1M": lambda n: cycle(max(n // 2, 1), 1, replay_steps=1_000_000),
    "TD3": td3,
}
ONE_CORE = {"NPROC": "1", "JAX_NUM_CPU_DEVICES": "1", "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The environment of MetaGenRL's rows: what one free core does, with huge pages. Without them the larger rows take
twice as long: nets of 350 on 2000 rows then wait for the address translation.
"""


def main() -> None:
    """Measure all rows, or one."""
    arguments = tyro.cli(Arguments)
    if arguments.row is not None:
        from metaobj.common.devices import use_all_cores
        from metaobj.common.memory import peak_memory

        use_all_cores()
        row = (LPG_ROWS | METAGENRL_ROWS)[arguments.row](arguments.repetitions)
        row["peak_megabytes"] = peak_memory() / 1e6
        print(json.dumps(row))
        return
    console = Console()
    if arguments.only != "metagenrl":
        rows = measure(list(LPG_ROWS), arguments, console)
        further = report_lpg(rows, console)
        write(arguments, "lpg", {"rows": rows, "megabytes_per_further_lifetime": further})
    if arguments.only != "lpg":
        rows = measure(list(METAGENRL_ROWS), arguments, console, ONE_CORE)
        report_metagenrl(rows, console)
        write(arguments, "metagenrl", {"environment": ONE_CORE, "rows": rows})


def measure(
    names: list[str], arguments: Arguments, console: Console, environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Each row, in a process with these environment variables."""
    rows: dict[str, Any] = {}
    for name in names:
        with console.status(name):
            command = [sys.executable, "-m", "experiments.benchmarks.run", "--row", name]
            command += ["--repetitions", str(arguments.repetitions)]
            environ = os.environ | dict(environment or {})
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environ)
        rows[name] = json.loads(done.stdout.splitlines()[-1])
    return rows


def write(arguments: Arguments, name: str, figures: Mapping[str, Any]) -> None:
    """Leave the figures with where they come from."""
    record = {
        "command": f"python -m experiments.benchmarks.run --only {name}",
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {len(os.sched_getaffinity(0))} cores, Python {platform.python_version()}",
        "jax": version("jax"),
        **figures,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def report_lpg(rows: dict[str, Any], console: Console) -> dict[str, float]:
    """Print; also the megabytes of each further lifetime."""
    console.print(table("One meta-update of LPG: lifetimes x environments, T = 20, K = 5", rows))
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
    return further


def report_metagenrl(rows: dict[str, Any], console: Console) -> None:
    """Print."""
    console.print(table("MetaGenRL on Brax's hopper, published sizes, on one core", rows))
    one, twenty, million = (rows[name] for name in ("one agent", "twenty agents", "one, replay of 1M"))
    console.print(
        "A row is a cycle of each agent: 2 environment steps, 2 critic updates, 1 policy update, 1 meta-gradient;\n"
        "TD3's, a step of 64 environments and 16 updates of batch 256.\n"
        f"Twenty agents cost {twenty['cpu_seconds'] / one['cpu_seconds']:.1f} times one. "
        f"A replay of a million steps takes {million['replay_megabytes']:.0f} MB an agent.\n"
        f"TD3: {rows['TD3']['updates_per_second']:.0f} updates a second."
    )


def sum_of(row: dict[str, Any]) -> float:
    """Megabytes of the state and of the compiled program's temporaries."""
    return float(row["state_megabytes"] + row["temporary_megabytes"])


def table(title: str, rows: dict[str, Any]) -> Table:
    """Times, rates and memory of all rows."""
    made = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    made.add_column("", no_wrap=True)
    for title in ("compile\ns", "wall\ns", "CPU\ns", "steps\nper s", "state +\ntemp MB", "peak\nMB"):
        made.add_column(title, justify="right", no_wrap=True)
    for name, row in rows.items():
        rate = row["steps_per_second"]
        made.add_row(
            name,
            f"{row['compile_seconds']:.1f}",
            f"{row['wall_seconds']:.3g}",
            f"{row['cpu_seconds']:.3g}",
            f"{rate:.1f}" if rate < 100 else f"{rate:.0f}" if rate < 1e4 else f"{rate / 1e3:.0f}k",
            f"{row['state_megabytes']:.1f} + {row['temporary_megabytes']:.0f}" if "state_megabytes" in row else "",
            f"{row['peak_megabytes']:.0f}",
        )
    return made


if __name__ == "__main__":
    run_script(main)
