"""The command `metaobj`.

What is imported at the top must not use JAX: how many devices there are is settled when the command begins, and
libraries of environments use JAX when they are imported.
"""

import gc
import importlib.util
import io
import os
import shlex
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from metaobj.common.command.arguments import last_value, parse, with_configuration
from metaobj.common.command.benchmark import benchmark
from metaobj.common.command.configured import as_toml, starting_configuration, suited
from metaobj.common.command.exporting import export
from metaobj.common.command.lines import say
from metaobj.common.command.listing import list_all
from metaobj.common.command.options import (
    CompareArguments,
    ComparisonArguments,
    EvaluateArguments,
    MatrixArguments,
    RunArguments,
)
from metaobj.common.command.places import beside, check_out
from metaobj.common.command.programs import keep_programs
from metaobj.common.command.showing import show
from metaobj.common.command.single import convert_file, distil, follow, inspect, watch
from metaobj.common.command.supervised import LOST, gone, is_loss, open_channel, supervise
from metaobj.common.devices import use_all_cores
from metaobj.common.errors import UserError
from metaobj.common.pictures.forms import figures_as
from metaobj.common.processes import Cluster, find_cluster, is_first, join
from metaobj.common.runs.checkpoint import CheckpointError, quiet_checkpoints
from metaobj.common.runs.run_folder import package_version

USAGE = """\
usage: metaobj COMMAND ...

  train KIND [--preset NAME] [--run-dir DIR] [--resume] [--FIELD VALUE ...]
                         meta-train an objective; KIND is one of {kinds}
  evaluate OBJECTIVE [--suite NAME] [--seeds N] [--no-baselines] [--out DIR]
                         train fresh agents by it on tasks it never saw
  compare METHOD METHOD ... [--suite NAME] [--steps N] [--out DIR]
                         the same for any number of objectives and baselines
  matrix KIND --families A B ... [--preset NAME] [--run-dir DIR]
                         train on each family, evaluate on all
  inspect OBJECTIVE [--out DIR]
                         pictures of what it does
  distil OBJECTIVE [--out DIR] [--FIELD VALUE ...]
                         say the same in a smaller network, or as a formula
  convert FILE [--out FILE]
                         an objective file of weights published in another form
  export OBJECTIVE --to numpy|torch [--out FILE]
                         a Python module that says the same without JAX
  follow METHOD --environment NAME [--agents N] [--set NAME=VALUE ...]
                         what a rule says of itself as agents learn by it
  watch METHOD --environment NAME [--steps N] [--seed N] [--out DIR]
                         a film of one agent's episodes at several ages
  show OBJECTIVE         where it comes from, what it was trained on, what it does
  list [WHAT] [--discrete]
                         objectives, presets, distributions, suites, environments
  benchmark [PRESET ...] [--scale N] [--out FILE]
                         time and memory of presets on this machine
  demo KIND [--run-dir DIR]
                         train, evaluate and inspect a small objective

OBJECTIVE is a file, a run folder, RUN@STEP, or pretrained:NAME. `metaobj COMMAND --help` tells more,
`metaobj --version` which version this is.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 out of memory, 2 wrong input or a full disk, 3 another process of the run is
    gone, 128 + signal when stopped.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    channel = open_channel()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character does not end hours of work
            stream.reconfigure(errors="replace")
    with quiet_checkpoints():
        status = _guarded(arguments, Console(highlight=False), channel is not None)
    if channel is not None:
        channel.end(status)
    sys.exit(status)


def _guarded(arguments: list[str], console: Console, supervised: bool) -> int:
    """The exit status; what the user can mend is told in one line."""
    try:
        return _run(arguments, console, supervised)
    except CheckpointError as error:
        _complain(str(error))
    except UserError as error:
        _complain(str(error))
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if supervised and is_loss(error):
            _complain(gone(str(error)[:160]))
            return LOST
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            if not supervised:
                raise
            traceback.print_exc()
            return 1
        _complain("out of memory; a smaller chunk, scale, network, replay or number of seeds needs less")
        return 1
    gc.collect()  # what is left of a failed write would tell of itself at the end of the process
    return 2


def _complain(text: str) -> None:
    print("metaobj: " + " ".join(text.split()), file=sys.stderr)


def _run(arguments: list[str], console: Console, supervised: bool) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        from metaobj.common.objectives.plugin import kinds

        print(USAGE.format(kinds=", ".join(kinds())), end="")
        return 0
    if arguments == ["--version"]:
        print(f"metaobj {package_version()}")
        return 0
    commands: dict[str, Callable[[list[str], Console], int]] = {
        "train": _train,
        "evaluate": _evaluate,
        "compare": _compare,
        "matrix": _matrix,
        "inspect": inspect,
        "distil": distil,
        "convert": convert_file,
        "export": export,
        "follow": follow,
        "watch": watch,
        "show": show,
        "list": list_all,
        "benchmark": benchmark,
        "demo": _demo,
    }
    command, *rest = arguments
    if command not in commands:
        raise UserError(f"command: {command!r} is unknown; choose from {', '.join(commands)}")
    if command not in ("list", "show") and not {"-h", "--help"} & set(rest):
        cluster = _cluster(rest) if command == "train" else None
        if cluster is not None and not supervised:
            return supervise(arguments, cluster)
        use_all_cores()
        keep_programs()
        if cluster is not None:
            join(cluster)
            console = console if is_first() else Console(quiet=True)
    return commands[command](rest, console)


def _cluster(arguments: list[str]) -> Cluster | None:
    """The processes of the run, before its flags are read: that takes libraries that use JAX."""

    def number(flag: str) -> int | None:
        given = last_value(arguments, flag)
        try:
            return None if given is None else int(given)
        except ValueError:
            raise UserError(f"{flag}: {given} given; must be a whole number") from None

    wait = number("--wait")
    given = Cluster(
        last_value(arguments, "--coordinator"),
        number("--process"),
        number("--processes"),
        Cluster.wait if wait is None else wait,
    )
    return find_cluster(given, os.environ)


def _train(arguments: list[str], console: Console) -> int:
    from metaobj.common.environments.names import names_module
    from metaobj.common.objectives.plugin import get_plugin, plugins
    from metaobj.common.objectives.run_page import PAGE
    from metaobj.common.objectives.sweep import parse_seeds, runs_of, seeds_of, sweep
    from metaobj.common.objectives.train import meta_train
    from metaobj.common.runs.run_folder import RunFolder

    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: metaobj train KIND ...; KIND is one of:")
        for kind, plugin in plugins().items():
            say(console, kind, f"{plugin.summary}; presets {', '.join(plugin.presets)}", column=14)
        return 0
    plugin = get_plugin(arguments[0])
    rest = arguments[1:]
    run_dir = Path(last_value(rest, "--run-dir") or RunArguments.run_dir)
    standing = [run_dir] if (run_dir / "config.json").exists() else runs_of(run_dir)
    goes_on = "--resume" in rest and bool(standing)
    default = starting_configuration(plugin, rest, standing[0] if goes_on else None)
    run, config = with_configuration(RunArguments(), suited(default, rest), rest, f"train {plugin.kind}")
    if run.print_config:
        print("\n".join([f"# metaobj train {plugin.kind} --config FILE", *as_toml(config)]))
        return 0
    if config.log_every != default.log_every and last_value(rest, "--log-every") is None:
        console.print(f"metrics of every {config.log_every} meta-updates (--log-every {config.log_every})", style="dim")
    _check_extra(run.tensorboard, "--tensorboard", "tensorboardX", "tensorboard")
    _check_extra(run.wandb is not None, "--wandb", "wandb", "wandb")

    def sinks(folder: RunFolder, step: int) -> list[Any]:
        from metaobj.common.runs.metrics import TensorBoard, WeightsAndBiases

        found: list[Any] = []
        if run.tensorboard:
            found.append(TensorBoard(folder.path / "tensorboard", step if folder.resumed else None))
        if run.wandb:
            found.append(WeightsAndBiases(folder.path, run.wandb, folder.config, folder.run_id, folder.path.name))
        return found

    how: dict[str, Any] = {"resume": run.resume, "devices": run.devices, "sinks": sinks, "console": console}
    # A folder of several seeds goes on as a whole where none are named.
    seeds = parse_seeds(run.seeds) or (seeds_of(standing) if goes_on and standing != [run.run_dir] else ())
    if seeds and last_value(rest, "--seed") is not None:
        raise UserError("seed: given with --seeds; leave one of them out")
    with figures_as(run.figures):
        if seeds:
            outcome = sweep(plugin, config, run.run_dir, seeds, **how)
        else:
            outcome = meta_train(plugin, config, run.run_dir, **how)
    if outcome.signal is not None:
        command = f"metaobj train {plugin.kind} --run-dir {shlex.quote(str(run.run_dir))} --resume"
        command += f" --seeds {shlex.join(run.seeds)}" if run.seeds else ""
        for name in ("distribution", "selection"):
            if any(map(names_module, (value := getattr(config, name)).split("+"))):
                command += f" --{name} {shlex.quote(value)}"
        console.print(f"stopped at step {outcome.step} and saved; go on with: {escape(command)}", soft_wrap=True)
        return 128 + outcome.signal
    console.print(f"done: {escape(str(outcome.objective))}", soft_wrap=True)
    if (page := outcome.objective.parent / PAGE).exists():
        console.print(f"All of it on a page: {escape(str(page))}", style="dim", soft_wrap=True)
    return 0


def _check_extra(wanted: bool, flag: str, package: str, extra: str) -> None:
    """Before anything is made, whether the optional package that a flag needs is there."""
    from metaobj.common.runs.metrics import missing

    if wanted and importlib.util.find_spec(package) is None:
        raise missing(flag, package, extra)


def _evaluate(arguments: list[str], console: Console) -> int:
    from metaobj.common.objectives.contestants import members
    from metaobj.common.objectives.loading import load_objective

    chosen = parse(EvaluateArguments, arguments, "evaluate")
    plugin = load_objective(members(chosen.objective)[0]).plugin
    if chosen.against is not None and not chosen.baselines:
        raise UserError(f"against: {chosen.against} given with --no-baselines; leave one of them out")
    known = [method.name for method in plugin.baselines(plugin.presets[plugin.default_preset])]
    rivals = chosen.against.split("+") if chosen.against is not None else known[:1] if chosen.baselines else []
    names = [chosen.objective, *dict.fromkeys(rivals)]
    return _run_comparison(chosen, names, None, chosen.suite or plugin.suite, console)


def _compare(arguments: list[str], console: Console) -> int:
    from metaobj.common.objectives.contestants import usual_suite

    chosen = parse(CompareArguments, arguments, "compare")
    if not chosen.names:
        raise UserError("METHOD: missing; give one or more objectives or baselines")
    suite = chosen.suite or usual_suite(chosen.names)
    return _run_comparison(chosen, chosen.names, chosen.baseline, suite, console)


def _matrix(arguments: list[str], console: Console) -> int:
    from metaobj.common.objectives.matrix import Sizes, train_and_test
    from metaobj.common.objectives.plugin import get_plugin

    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: metaobj matrix KIND --families A B ...; `metaobj matrix KIND --help` tells more")
        return 0
    plugin = get_plugin(arguments[0])
    rest = arguments[1:]
    if (given := last_value(rest, "--distribution")) is not None:
        raise UserError(f"distribution: {given} given; --families says what is trained on")
    matrix, config = with_configuration(
        MatrixArguments(), suited(starting_configuration(plugin, rest), rest), rest, f"matrix {plugin.kind}"
    )
    check_out(matrix.run_dir)
    sizes = Sizes(matrix.seeds, matrix.tuning_seeds, matrix.steps, matrix.tuning)
    with figures_as(matrix.figures):
        train_and_test(plugin, config, matrix.families, matrix.run_dir, sizes, console)
    return 0


def _run_comparison(
    chosen: ComparisonArguments, names: Sequence[str], baseline: str | None, suite: str, console: Console
) -> int:
    from metaobj.common.objectives.compare import Comparison, compare
    from metaobj.common.objectives.run_page import write_run_page

    folder = chosen.out or beside(names[0], f"evaluation-{suite.replace('/', '-')}")
    check_out(folder)
    comparison = Comparison(
        names=tuple(names),
        suite=suite,
        seeds=chosen.seeds,
        tuning_seeds=chosen.tuning_seeds,
        seed=chosen.seed,
        tuning=chosen.tuning,
        baseline=baseline,
        steps=chosen.steps,
        trust=chosen.trust,
        overwrite=chosen.overwrite,
        page=chosen.report,
    )
    with figures_as(chosen.figures):
        compare(comparison, folder, console)
    write_run_page(folder.parent)  # where the results lie in a run's folder, its page tells of them
    return 0


def _demo(arguments: list[str], console: Console) -> int:
    from metaobj.common.command.demo import DemoArguments, demo

    chosen = parse(DemoArguments, arguments, "demo")
    demo(chosen, console)
    return 0


if __name__ == "__main__":
    main()
