"""How fast presets are meta-trained with growing numbers of lifetimes, on whatever devices there are.

    python -m experiments.benchmarks.scale [--cases PRESET@SCALE ...] [--seconds 540] [--at-once 8] [--out TABLE.csv]

Each case is a process of its own, several at once: all trace and compile meanwhile, one at a time runs on the device.
Lines are added to the table as they come, and a case that stands there is not run again, so that the whole can be done
in pieces: after `--seconds` what is under way is ended.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import tyro
from filelock import FileLock
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.rows import Row, add, read
from experiments.script import run_script
from metaobj.common.errors import UserError
from metaobj.common.meta.config import MatmulPrecision

CASES = (
    *(f"lpg-paper@{scale}" for scale in (1, 4, 16, 64)),
    *(f"lpg-grids@{scale}" for scale in (1, 32)),
    *(f"disco103@{scale}" for scale in (1, 4, 16)),
    *(f"metagenrl-demo@{scale}" for scale in (1, 16, 128)),
)
"""With the published sizes where presets have them; MetaGenRL's in worlds that need no further package."""
PRECISIONS = get_args(MatmulPrecision)
COLUMNS = (
    "case",
    "precision",
    "lifetimes",
    "trace_seconds",
    "compile_seconds",
    "seconds",
    "steps_per_second",
    "state_megabytes",
    "temporary_megabytes",
    "device",
    "jax",
    "date",
)


@dataclass(frozen=True)
class Arguments:
    """Meta-updates of presets at growing numbers of lifetimes."""

    cases: tuple[str, ...] = CASES
    """PRESET@SCALE each; PRESET@SCALE:highest or :bfloat16 with that `matmul_precision`."""
    seconds: float = 540.0
    """After which what is under way is ended."""
    at_once: int = 8
    """Processes; those that do not run on the device trace and compile."""
    meta_updates: int = 5
    """Timed ones of each case, after one that is not; the median counts."""
    out: Path = Path("experiments/results/benchmarks/scale.csv")
    """The table; what stands there already is not run again."""
    case: str | None = None
    """Run one in this process."""


def parsed(case: str) -> tuple[str, int, str]:
    """(preset, scale, precision of matrix products).

    Raises:
        UserError: it does not name a case.
    """
    preset, _, rest = case.partition("@")
    scale, _, precision = rest.partition(":")
    precision = precision or "default"
    if not scale.isdecimal() or int(scale) < 1 or precision not in PRECISIONS:
        raise UserError(
            f"cases: {case!r} given; must be PRESET@SCALE or PRESET@SCALE:PRECISION, one of {', '.join(PRECISIONS)}"
        )
    return preset, int(scale), precision


def measured(case: str, meta_updates: int, lock: FileLock) -> Row:
    """One case, in this process."""
    import jax

    from metaobj.common.devices import hardware, use_all_cores
    from metaobj.common.meta.timed import MetaUpdate, timed
    from metaobj.common.objectives.benchmark import find_preset, short_chunks

    preset, scale, precision = parsed(case)
    use_all_cores()
    plugin, preset = find_preset(preset)
    # Not the preset's chunks: they bound memory, of which an accelerator is to be given all.
    many = {"chunk": 4096} if jax.default_backend() != "cpu" else {}
    trainer = short_chunks(plugin.kind, preset, scale, matmul_precision=precision, **many)
    run = MetaUpdate(trainer)
    with lock:
        jax.block_until_ready(run())
        took = sorted(timed(run)[0] for _ in range(meta_updates))
    return {
        "case": f"{preset}@{scale}",
        "precision": precision,
        "lifetimes": trainer.lifetimes,
        "trace_seconds": round(run.trace_seconds, 1),
        "compile_seconds": round(run.compile_seconds, 1),
        "seconds": took[len(took) // 2],
        "steps_per_second": round(trainer.steps_per_update / took[len(took) // 2]),
        "state_megabytes": round(run.state_megabytes, 1),
        "temporary_megabytes": round(run.temporary_megabytes, 1),
        "device": hardware(),
        "jax": jax.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def waiting(arguments: Arguments) -> Iterator[str]:
    """Cases that the table does not hold."""
    done = {(row["case"], row["precision"]) for row in read(arguments.out)}
    for case in arguments.cases:
        preset, scale, precision = parsed(case)
        if (f"{preset}@{scale}", precision) not in done:
            yield case


def run_all(arguments: Arguments) -> None:
    """A process for each case, some at once, until time is up."""
    end = time.monotonic() + arguments.seconds
    left = list(waiting(arguments))
    running: dict[str, subprocess.Popen[bytes]] = {}
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # others wait beside the one that runs
    command = [sys.executable, "-m", "experiments.benchmarks.scale", "--out", str(arguments.out)]
    command += ["--meta-updates", str(arguments.meta_updates), "--case"]
    while (left or running) and time.monotonic() < end:
        while left and len(running) < arguments.at_once:
            case = left.pop(0)
            running[case] = subprocess.Popen([*command, case], env=environment)
        for case, process in list(running.items()):
            if process.poll() is not None:
                del running[case]
                print(f"{case}: {'done' if process.returncode == 0 else f'failed, status {process.returncode}'}")
        time.sleep(0.2)
    for case, process in running.items():
        process.kill()
        process.wait()
        print(f"{case}: time is up")


def table(found: list[Row]) -> Table:
    """What a person reads."""
    shown = Table("", "products", "lifetimes", "compile, s", "a meta-update, s", "M steps/s", "state, MB", "temp, MB")
    shown.box = box.SIMPLE_HEAD
    for row in found:
        shown.add_row(
            row["case"],
            row["precision"],
            f"{row['lifetimes']:.0f}",
            f"{row['compile_seconds']:.0f}",
            f"{row['seconds']:.3g}",
            f"{row['steps_per_second'] / 1e6:.3g}",
            f"{row['state_megabytes']:.1f}",
            f"{row['temporary_megabytes']:.0f}",
        )
    return shown


def main() -> None:
    """Run what the table does not hold yet."""
    arguments = tyro.cli(Arguments)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    if arguments.case is not None:
        lock = FileLock(f"{arguments.out}.lock")
        add(arguments.out, COLUMNS, measured(arguments.case, arguments.meta_updates, lock))
        return
    for case in arguments.cases:
        parsed(case)
    run_all(arguments)
    Console(width=120).print(table(read(arguments.out)))


if __name__ == "__main__":
    run_script(main)
