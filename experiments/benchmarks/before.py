"""What meta-updates cost by this code and by that of another checkout, measured in turn.

    git worktree add /tmp/before COMMIT
    taskset -c 1 python -m experiments.benchmarks.before /tmp/before [--presets lpg/lpg-demo ...]

A process for each, which compiles anew (compiled programs that are kept are not used), in its checkout and with the
memory that the command `metaobj` of that checkout has: huge pages since it asks for them. CPU seconds; of the chunks of
meta-updates all but the first are timed, and the median is told. Presets at scale 1, on one device.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import tyro

COLUMNS = (
    "variant",
    "case",
    "seed",
    "start_seconds",
    "trace_seconds",
    "compile_seconds",
    "seconds",
    "meta_updates",
    "temporary_megabytes",
    "peak_megabytes",
    "hardware",
    "jax",
    "date",
    "command",
)
CHUNKS = 5


@dataclass(frozen=True)
class Arguments:
    """Compile time, time and memory of meta-updates, before and now."""

    before: Annotated[Path, tyro.conf.Positional]
    """The other checkout."""
    presets: tuple[str, ...] = (
        "lpg/lpg-demo",
        "metagenrl/metagenrl-demo",
        "lpg/lpg-cpu=lpg/lpg-tabular",
        "lpg/lpg-paper",
    )
    """KIND/PRESET each, BEFORE=NOW where its name has changed; of the same work in both, which is not checked."""
    chunk: int = 5
    """Meta-updates of a chunk."""
    rounds: int = 1
    """How often all of it is measured."""
    out: Path = Path("experiments/results/benchmarks/before.csv")
    """Table that lines are added to."""
    case: str | None = None
    """Measure one in this process."""


def measured(case: str, chunk: int) -> dict[str, Any]:
    """Of a preset, by the code that this process has; that may be old code, so no more is used of it than was there."""
    import resource

    import jax

    from metaobj.common.objectives.plugin import get_plugin
    from metaobj.common.objectives.train import make_trainer

    kind, _, preset = case.partition("/")
    plugin = get_plugin(kind)
    few: dict[str, Any] = {"init": "", "scale": 1, "log_every": chunk, "checkpoint_every": chunk, "meta_updates": chunk}
    at = [time.process_time()]

    def took() -> float:
        at.append(time.process_time())
        return at[-1] - at[-2]

    trainer = make_trainer(plugin, replace(plugin.presets[preset], **few), 1)
    state = jax.block_until_ready(trainer.init())
    start = took()
    traced = trainer.run_chunk.trace(state)
    trace = took()
    compiled = traced.lower().compile()
    compiling = took()
    seconds = []
    for _ in range(CHUNKS):
        state, _ = jax.block_until_ready(compiled(state))
        seconds.append(took() / chunk)
    analysis = compiled.memory_analysis()
    assert analysis is not None
    return {
        "case": case,
        "seed": 0,
        "start_seconds": round(start, 1),
        "trace_seconds": round(trace, 1),
        "compile_seconds": round(compiling, 1),
        "seconds": round(sorted(seconds[1:])[(CHUNKS - 1) // 2], 4),
        "meta_updates": chunk,
        "temporary_megabytes": round(analysis.temp_size_in_bytes / 1e6),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "jax": jax.__version__,
    }


def main() -> None:
    """Measure both, or one case in this process."""
    arguments = tyro.cli(Arguments)
    if arguments.case is not None:
        print(json.dumps(measured(arguments.case, arguments.chunk)))
        return
    from experiments.rows import add
    from metaobj.common.command.start import HUGE_PAGES, TUNABLES
    from metaobj.common.devices import hardware

    here = Path(__file__).parents[2]
    for _, preset in product(range(arguments.rounds), arguments.presets):
        earlier, _, later = preset.partition("=")
        for variant, folder, case in (
            ("before", arguments.before.absolute(), earlier),
            ("now", here, later or earlier),
        ):
            environment = {k: v for k, v in os.environ.items() if k != TUNABLES}
            environment |= {"PYTHONPATH": str(folder / "src"), "JAX_ENABLE_COMPILATION_CACHE": "false"}
            if (folder / "src/metaobj/common/command/start.py").exists():
                environment[TUNABLES] = HUGE_PAGES
            # By its path: the other checkout may not have this file.
            command = [sys.executable, __file__, str(folder), "--chunk", str(arguments.chunk), "--case", case]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
            row = {
                "variant": variant,
                **json.loads(done.stdout.splitlines()[-1]),
                "case": later or earlier,
                "hardware": hardware(),
                "date": time.strftime("%Y-%m-%d"),
                "command": "python -m experiments.benchmarks.before",
            }
            add(arguments.out, COLUMNS, row)
            print(row, flush=True)


if __name__ == "__main__":
    main()  # not by `experiments.script`, which the other checkout may not have
