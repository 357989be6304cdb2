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
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zlib import crc32

import tyro
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from metaobj.common.command.arguments import last_value, parse
from metaobj.common.command.options import (
    CompareArguments,
    ComparisonArguments,
    ConvertArguments,
    DistilArguments,
    EvaluateArguments,
    FollowArguments,
    InspectArguments,
    MatrixArguments,
    RunArguments,
)
from metaobj.common.devices import join_cluster, use_all_cores
from metaobj.common.errors import UserError
from metaobj.common.files import is_there
from metaobj.common.objectives.configuration import from_json
from metaobj.common.runs.checkpoint import quiet_checkpoints

if TYPE_CHECKING:
    from metaobj.common.objectives.plugin import Inspection, Plugin

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
  follow METHOD --environment NAME [--agents N] [--set NAME=VALUE ...]
                         what a rule says of itself as agents learn by it
  list                   presets, distributions, environments, suites, objectives
  demo KIND [--run-dir DIR]
                         train, evaluate and inspect a small objective

OBJECTIVE is a file, a run folder, RUN@STEP, or pretrained:NAME. `metaobj COMMAND --help` tells more.
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 1 out of memory, 2 wrong input or a full disk, 128 + signal when stopped."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a character does not end hours of work
            stream.reconfigure(errors="replace")
    with quiet_checkpoints():
        status = _guarded(arguments, Console(highlight=False))
        if status:
            gc.collect()  # what is left of a failed write would tell of itself at the end of the process
    sys.exit(status)


def _guarded(arguments: list[str], console: Console) -> int:
    """The exit status; what the user can mend is told in one line."""
    try:
        return _run(arguments, console)
    except UserError as error:
        _complain(str(error))
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as error:
        if not isinstance(error, MemoryError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        _complain("out of memory; a smaller chunk, scale, network, replay or number of seeds needs less")
        return 1


def _complain(text: str) -> None:
    print("metaobj: " + " ".join(text.split()), file=sys.stderr)


def _run(arguments: list[str], console: Console) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        from metaobj.common.objectives.plugin import kinds

        print(USAGE.format(kinds=", ".join(kinds())), end="")
        return 0
    commands: dict[str, Callable[[list[str], Console], int]] = {
        "train": _train,
        "evaluate": _evaluate,
        "compare": _compare,
        "matrix": _matrix,
        "inspect": _inspect,
        "distil": _distil,
        "convert": _convert,
        "follow": _follow,
        "list": _list,
        "demo": _demo,
    }
    command, *rest = arguments
    if command not in commands:
        raise UserError(f"command: {command!r} is unknown; choose from {', '.join(commands)}")
    if command != "list" and not {"-h", "--help"} & set(rest):
        use_all_cores()
        join_cluster()
    return commands[command](rest, console)


def _train(arguments: list[str], console: Console) -> int:
    from metaobj.common.environments.names import names_module
    from metaobj.common.objectives.plugin import get_plugin, plugins
    from metaobj.common.objectives.train import meta_train
    from metaobj.common.runs.run_folder import RunFolder, read_config

    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: metaobj train KIND ...; KIND is one of:")
        for kind, plugin in plugins().items():
            print(f"  {kind:12} {plugin.summary}; presets {', '.join(plugin.presets)}")
        return 0
    plugin = get_plugin(arguments[0])
    rest = arguments[1:]
    default = _preset(plugin, rest)
    run_dir = Path(last_value(rest, "--run-dir") or RunArguments.run_dir)
    if "--resume" in rest and (run_dir / "config.json").exists():
        stored = from_json(type(default), read_config(run_dir), f"{run_dir / 'config.json'}")
        if last_value(rest, "--preset") is None:
            default = stored
            for name in ("distribution", "selection"):
                _check_own(run_dir, name, getattr(stored, name), last_value(rest, f"--{name}"))
    run, config = _with_configuration(RunArguments(), default, rest, f"train {plugin.kind}")
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

    outcome = meta_train(
        plugin, config, run.run_dir, resume=run.resume, devices=run.devices, sinks=sinks, console=console
    )
    if outcome.signal is not None:
        command = f"metaobj train {plugin.kind} --run-dir {shlex.quote(str(run.run_dir))} --resume"
        for name in ("distribution", "selection"):
            if any(map(names_module, (value := getattr(config, name)).split("+"))):
                command += f" --{name} {shlex.quote(value)}"
        console.print(f"stopped at step {outcome.step} and saved; go on with: {escape(command)}", soft_wrap=True)
        return 128 + outcome.signal
    console.print(f"done: {escape(str(outcome.objective))}", soft_wrap=True)
    return 0


def _preset(plugin: "Plugin[Any, Any]", arguments: list[str]) -> Any:
    """The configuration that --preset names, or the kind's default."""
    chosen = last_value(arguments, "--preset")
    if chosen is not None and chosen not in plugin.presets:
        raise UserError(f"preset: {chosen!r} is unknown; choose from {', '.join(plugin.presets)}")
    return plugin.presets[chosen or plugin.default_preset]


def _with_configuration(first: Any, default: Any, arguments: list[str], program: str) -> tuple[Any, Any]:
    """The command's own flags, and those of a configuration, whose values are the defaults."""
    own, configuration = type(first), type(default)
    both: Any = tuple[
        Annotated[own, tyro.conf.arg(name="")],  # type: ignore[valid-type]  # known only when it runs
        Annotated[configuration, tyro.conf.arg(name="")],  # type: ignore[valid-type]  # likewise
    ]
    return parse(both, arguments, program, (first, default))


def _check_own(run_dir: Path, name: str, stored: str, given: str | None) -> None:
    """A module is imported only where the user names it himself: a run folder may be a stranger's."""
    from metaobj.common.environments.names import names_module

    if stored != given and any(map(names_module, stored.split("+"))):
        raise UserError(
            f"{run_dir / 'config.json'}: names the Python module of {stored!r}, which would be imported; pass "
            f"--{name} {shlex.quote(stored)} too if you know what it does"
        )


def _check_extra(wanted: bool, flag: str, package: str, extra: str) -> None:
    """Before anything is made, whether the optional package that a flag needs is there."""
    if wanted and importlib.util.find_spec(package) is None:
        raise UserError(
            f"{flag}: the package {package} is not installed; install it with: pip install 'metaobj[{extra}]'"
        )


def _beside(objective: str, name: str) -> Path:
    """The folder of results: in the objective's run folder, beside its file, or under runs/."""
    name = name if len(name) <= 100 else f"{name[:90]}-{crc32(name.encode()):08x}"
    run, _, step = objective.rpartition("@")
    if step.isdecimal() and is_there(run) and Path(run).is_dir():
        return Path(run) / f"{name}@{step}"
    if not is_there(objective):
        return Path("runs") / objective.partition("=")[0].replace(":", "-")[:100] / name
    path = Path(objective)
    return path / name if path.is_dir() else path.parent / name


def _check_out(folder: Path) -> None:
    """Before time is spent, whether a folder can be written or made."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UserError(f"out: {there} is a file; give a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"out: {there} cannot be written to; give another folder")


def _evaluate(arguments: list[str], console: Console) -> int:
    from metaobj.common.objectives.loading import load_objective

    chosen = parse(EvaluateArguments, arguments, "evaluate")
    plugin = load_objective(chosen.objective).plugin
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
    matrix, config = _with_configuration(MatrixArguments(), _preset(plugin, rest), rest, f"matrix {plugin.kind}")
    _check_out(matrix.run_dir)
    sizes = Sizes(matrix.seeds, matrix.tuning_seeds, matrix.steps, matrix.tuning)
    train_and_test(plugin, config, matrix.families, matrix.run_dir, sizes, console)
    return 0


def _run_comparison(
    chosen: ComparisonArguments, names: Sequence[str], baseline: str | None, suite: str, console: Console
) -> int:
    from metaobj.common.objectives.compare import Comparison, compare

    folder = chosen.out or _beside(names[0], f"evaluation-{suite.replace('/', '-')}")
    _check_out(folder)
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
    compare(comparison, folder, console)
    return 0


def _inspect(arguments: list[str], console: Console) -> int:
    from metaobj.common.files import make_folder
    from metaobj.common.objectives.loading import load_objective

    chosen = parse(InspectArguments, arguments, "inspect")
    loaded = load_objective(chosen.objective, trust=chosen.trust)
    folder = chosen.out or _beside(chosen.objective, "inspection")
    _check_out(folder)
    make_folder(folder)
    with console.status("inspecting"):
        found = loaded.plugin.inspect(loaded, folder)
    _tell(found, console)
    return 0


def _tell(found: "Inspection", console: Console) -> None:
    for line in (*map(str, found.files), *found.verdict):
        console.print(escape(line), soft_wrap=True)


def _convert(arguments: list[str], console: Console) -> int:
    from metaobj.common.objectives.file import SUFFIX
    from metaobj.common.objectives.plugin import plugins

    chosen = parse(ConvertArguments, arguments, "convert")
    if not is_there(chosen.file) or not chosen.file.is_file():
        raise UserError(f"{chosen.file}: no such file")
    out = chosen.out or Path(chosen.file.with_suffix(SUFFIX).name)
    if is_there(out):
        raise UserError(f"out: {out} given; is there already")
    able = [(plugin.title, plugin.convert) for plugin in plugins().values() if plugin.convert is not None]
    reason = UserError(f"{chosen.file}: no installed kind of objective is published in another form")
    for title, convert in able:
        try:
            told = convert(chosen.file, out)
        except UserError as error:
            reason = error
            continue
        for line in (f"{out}: {title}", *told):
            console.print(escape(line), soft_wrap=True)
        return 0
    raise reason


def _distil(arguments: list[str], console: Console) -> int:
    from metaobj.common.objectives.loading import load_objective
    from metaobj.common.objectives.plugin import plugins

    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: metaobj distil OBJECTIVE ...; `metaobj distil OBJECTIVE --help` tells more")
        return 0
    if not arguments or arguments[0].startswith("-"):
        raise UserError("OBJECTIVE: missing; give it first")
    name, *rest = arguments
    plugin = load_objective(name).plugin
    if plugin.distil is None:
        able = ", ".join(sorted(other.kind for other in plugins().values() if other.distil is not None))
        raise UserError(f"{name}: is of kind {plugin.kind}; what can be distilled is of kind {able or 'none'}")
    chosen, options = _with_configuration(DistilArguments(), plugin.distil.options, rest, "distil OBJECTIVE")
    folder = chosen.out or _beside(name, "distilled")
    _check_out(folder)
    loaded = load_objective(name, trust=chosen.trust)
    _tell(plugin.distil.run(loaded, options, folder, console), console)
    return 0


def _follow(arguments: list[str], console: Console) -> int:
    from metaobj.common.objectives.followed import Following, follow_method

    chosen = parse(FollowArguments, arguments, "follow")
    folder = chosen.out or Path("runs") / f"follow-{Path(chosen.method).name}-{chosen.environment}".replace("/", "-")
    _check_out(folder)
    given = {field.name: getattr(chosen, field.name) for field in fields(Following)}
    follow_method(Following(**given), folder, console)
    return 0


def _list(arguments: list[str], console: Console) -> int:
    from metaobj.common.environments.registry import environment_names
    from metaobj.common.evaluation.suites import APART, SUITES, Suite
    from metaobj.common.lifetimes.distributions import DISTRIBUTIONS
    from metaobj.common.objectives.file import pretrained_names
    from metaobj.common.objectives.plugin import plugins

    if arguments:
        raise UserError(f"list: takes no arguments, {' '.join(arguments)} given")

    def show(title: str, names: Sequence[str]) -> None:
        console.print(f"[bold]{title}[/]")
        console.print(Padding(", ".join(map(escape, names)), (0, 0, 0, 2)))

    def tasks(suite: Suite) -> str:
        names = [entry.environment for entry in suite.entries]
        told = ", ".join(f"{name} (in no mean: asks for {APART[name]})" if name in APART else name for name in names)
        needs = [f"needs metaobj[{extra}]" for extra in suite.extras]
        return "; ".join([f"{suite}: {told}", *needs])

    for kind, plugin in plugins().items():
        show(f"presets of {kind}", list(plugin.presets))
        show(f"distributions of {kind}", list(plugin.distributions))
        against = [method.name for method in plugin.baselines(plugin.presets[plugin.default_preset])]
        if named := [method.name for method in plugin.methods(plugin.presets[plugin.default_preset].rollout_steps)]:
            show(f"methods of {kind}, for any comparison", named)
        sizes = plugin.protocol
        show(f"compared with {kind}", [f"{', '.join(against)}; {sizes.seeds} agents, {sizes.tuning_seeds} in tuning"])
    show("distributions", list(DISTRIBUTIONS))
    console.print("[bold]suites[/]")
    for suite in SUITES.values():
        console.print(Padding(escape(tasks(suite)), (0, 0, 0, 2)))
    show("pretrained objectives", [f"pretrained:{name}" for name in pretrained_names()] or ["none"])
    show("environments", [*environment_names(), "gymnasium/ID", "module:object"])
    return 0


def _demo(arguments: list[str], console: Console) -> int:
    from metaobj.common.command.demo import DemoArguments, demo

    chosen = parse(DemoArguments, arguments, "demo")
    demo(chosen, console)
    return 0


if __name__ == "__main__":
    main()
