"""How well the model of `cost_model.py` tells what a meta-update costs, and what it tells of many devices.

    taskset -c 1 python -m experiments.benchmarks.cost [--cases KIND/PRESET@SCALE ...] [--seconds 540]

Each case is measured in a process of its own, in CPU seconds, as a run has it: in huge pages, in chunks of several
meta-updates. The memory that a program works in is handed out anew at each of its calls, which without either is a
quarter of what `lpg-demo` takes. One that stands in the table is not measured again. Then each preset is predicted with
prices fitted to all other presets.

Other work on the machine slows every program down, also in CPU seconds, since caches and memory are shared. So a small
reference program takes turns with what is measured, and a time counts in so many reference programs: `seconds` is that
times what the reference takes when the machine is quiet, the least that was seen.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import tyro
from rich import box
from rich.console import Console
from rich.table import Table

from experiments.benchmarks.cost_model import Prices, fitted
from experiments.rows import Row, add, read
from experiments.script import run_script
from metaobj.common.errors import UserError
from metaobj.common.files import write_csv
from metaobj.common.memory import size_of
from metaobj.common.meta.cost import Work

CASES = (
    "metagenrl/metagenrl-demo@1",
    "lpg/lpg-demo@1",
    "disco/disco-demo@1",
    "lpg/lpg-paper@1",
    "lpg/lpg-cpu@1",
    "lpo/lpo-demo@1",
    "selftuning/selftuning-demo@1",
    "lpg/lpg-demo@4",
    "metagenrl/metagenrl-demo@8",
    "disco/disco-demo@2",
    "lpg/lpg-tabular@1",
    "lpg/lpg-value-cpu@1",
)
WORK = tuple(field.name for field in fields(Work))
MEASURED = ("cpu_seconds", "references", "reference_seconds", "seconds")
ABOUT = ("trace_seconds", "compile_seconds", "meta_updates", "hardware", "jax", "date", "command")
SIZES = ("traced_bytes", "traced_operations", "state_bytes", "eta_bytes", "host_seconds")
COLUMNS = ("case", "chunk", "seed", "lifetimes", "steps", *WORK, *MEASURED, "predicted", "ratio", *SIZES, *ABOUT)
PRICED = ("product", "byte", "operation")
"""Dear functions are left out: a handful of presets cannot tell them from bytes."""
LEAST = 3
"""Presets that prices are fitted to."""
CHUNK = 8
"""Meta-updates of a compiled chunk."""
PAIRS = 40
"""Chunks that are timed at most, each beside a reference program; three at least."""


@dataclass(frozen=True)
class Arguments:
    """Measured meta-updates, predicted ones, and what they would be on many devices."""

    cases: tuple[str, ...] = CASES
    """KIND/PRESET@SCALE each."""
    seconds: float = 540.0
    """After which no further case is begun."""
    timed: float = 10.0
    """Seconds of timed meta-updates for each case."""
    out: Path = Path("experiments/results/benchmarks/cost.csv")
    """The table; what stands there already is not measured again."""
    case: str | None = None
    """Measure one in this process."""


def preset_of(case: str) -> str:
    """Without its scale."""
    return case.partition("@")[0]


def reference() -> Callable[[], Any]:
    """A recurrent network's forward pass: products, dear functions and stacked results, as in meta-updates."""
    import jax
    import jax.numpy as jnp

    weights = jax.random.normal(jax.random.key(0), (32, 128)) / 6

    def step(hidden: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        gates = hidden @ weights
        update, keep, new, output = jnp.split(gates, 4, axis=1)
        return jnp.tanh(update + keep * jnp.tanh(new)) + 0.1 * output, gates

    first = jax.random.normal(jax.random.key(1), (256, 32))
    run = jax.jit(lambda hidden: jax.lax.scan(step, hidden, None, length=200))
    return lambda: run(first)


def measured(case: str, seconds: float) -> Row:
    """One case, in this process."""
    import jax

    from experiments.benchmarks.kernels import executed
    from metaobj.common.devices import hardware, use_all_cores
    from metaobj.common.meta.cost import work_of
    from metaobj.common.meta.timed import MetaUpdate, timed, warm_up
    from metaobj.common.objectives.benchmark import short_chunks

    use_all_cores()
    name, _, scale = case.partition("@")
    kind, preset = name.split("/")
    trainer = short_chunks(kind, preset, int(scale), devices=1, meta_updates=CHUNK)
    run, beside = MetaUpdate(trainer), reference()
    warm_up(run)
    warm_up(beside)
    pairs: list[tuple[float, float]] = []  # CPU seconds of a meta-update and of the reference
    end = time.monotonic() + seconds
    while len(pairs) < 3 or (len(pairs) < PAIRS and time.monotonic() < end):
        pairs.append((timed(run)[1] / CHUNK, timed(beside)[1]))
    middle = len(pairs) // 2
    chunk = work_of(run.jaxpr)
    work, traced = executed(chunk, run.compiled.as_text()) * (1 / CHUNK), chunk * (1 / CHUNK)
    # A call whose program does nothing: what the host does for each chunk before and after it.
    idle = jax.jit(lambda state: state.step + 1, keep_unused=True).lower(run.state).compile()
    warm_up(nothing := lambda: idle(run.state))
    host = min(timed(nothing)[0] for _ in range(20))
    return {
        "case": case,
        "chunk": CHUNK,
        "seed": trainer.config.seed,
        "lifetimes": trainer.lifetimes,
        "steps": trainer.steps_per_update,
        "traced_bytes": traced.bytes,
        "traced_operations": traced.operations,
        **asdict(work),
        "cpu_seconds": sorted(own for own, _ in pairs)[middle],
        "references": sorted(own / other for own, other in pairs)[middle],
        "reference_seconds": sorted(other for _, other in pairs)[middle],
        "host_seconds": host,
        "state_bytes": round(1e6 * run.state_megabytes),
        "eta_bytes": size_of(run.state.eta),
        "trace_seconds": round(run.trace_seconds, 1),
        "compile_seconds": round(run.compile_seconds, 1),
        "meta_updates": CHUNK * len(pairs),
        "hardware": hardware(),
        "jax": jax.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "command": f"taskset -c 1 python -m experiments.benchmarks.cost --cases {case}",
    }


def measured_alike(path: Path) -> list[Row]:
    """The table so far.

    Raises:
        UserError: it holds rows that were measured otherwise.
    """
    rows = read(path)
    if any(row.get("chunk") != CHUNK for row in rows):
        raise UserError(f"out: {path} holds rows that were not measured in chunks of {CHUNK}; give another table")
    return rows


def work_in(row: Row) -> Work:
    """What was counted."""
    return Work(*(row[name] for name in WORK))


def prices_of(rows: Sequence[Row]) -> Prices:
    """That suit measured rows."""
    return fitted([work_in(row) for row in rows], [row["seconds"] for row in rows], PRICED)


def with_predictions(rows: Sequence[Row]) -> list[Row]:
    """Each with its seconds on a quiet machine, and what prices of all other presets make of its work."""
    quiet = min(row["reference_seconds"] for row in rows)
    told = [{**row, "seconds": row["references"] * quiet} for row in rows]
    for row in told:
        others = [other for other in told if preset_of(other["case"]) != preset_of(row["case"])]
        if len({preset_of(other["case"]) for other in others}) < LEAST:
            continue
        prices = prices_of(others)
        row["predicted"] = prices.seconds(work_in(row))
        row["ratio"] = row["predicted"] / row["seconds"]
    return told


def measure_all(arguments: Arguments) -> None:
    """A process for each case that the table does not hold, until time is up."""
    from metaobj.common.command.start import HUGE_PAGES, TUNABLES

    end, environment = time.monotonic() + arguments.seconds, {**os.environ, TUNABLES: HUGE_PAGES}
    done = {row["case"] for row in measured_alike(arguments.out)}
    for case in arguments.cases:
        if case in done or time.monotonic() > end:
            continue
        command = [sys.executable, "-m", "experiments.benchmarks.cost", "--out", str(arguments.out), "--case", case]
        status = subprocess.run([*command, "--timed", str(arguments.timed)], env=environment).returncode
        print(f"{case}: {'done' if status == 0 else f'failed, status {status}'}", flush=True)


def table(rows: Sequence[Row]) -> Table:
    """What a person reads."""
    made = Table("", "lifetimes", "measured, s", "predicted, s", "ratio", box=box.SIMPLE_HEAD)
    for row in rows:
        predicted = (f"{row['predicted']:.3g}", f"{row['ratio']:.2f}") if "predicted" in row else ("", "")
        made.add_row(row["case"], f"{row['lifetimes']:.0f}", f"{row['seconds']:.3g}", *predicted)
    return made


def main() -> None:
    """Measure what the table does not hold yet, predict, print."""
    arguments = tyro.cli(Arguments)
    if arguments.case is not None:
        add(arguments.out, COLUMNS, measured(arguments.case, arguments.timed))
        return
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    measure_all(arguments)
    rows = with_predictions(measured_alike(arguments.out))
    write_csv(arguments.out, COLUMNS, ([row.get(name, "") for name in COLUMNS] for row in rows))
    console = Console(width=100)
    console.print(table(rows))
    for name, price in asdict(prices_of(rows)).items():
        console.print(f"a {name}: {price:.3g} s")


if __name__ == "__main__":
    run_script(main)
