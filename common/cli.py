"""The command `metaobj`."""

import contextlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro
from rich.console import Console
from rich.markup import escape

from common.devices import join_cluster, use_all_cores
from common.errors import UserError

USAGE = """\
usage: metaobj COMMAND ...

  train KIND [--preset NAME] [--run-dir DIR] [--resume] [--FIELD VALUE ...]
                         meta-train an objective; KIND is lpg, ...
  evaluate OBJECTIVE [--suite NAME] [--seeds N] [--no-baselines] [--out DIR]
                         train fresh agents by it on tasks it never saw
  inspect OBJECTIVE [--out DIR]
                         pictures of what it does
  list                   presets, distributions, environments, suites, objectives
  demo [--run-dir DIR]   train, evaluate and inspect a small objective

OBJECTIVE is a file, a run folder, or pretrained:NAME. `metaobj COMMAND --help` tells more.
"""


@dataclass(frozen=True)
class EvaluateArguments:
    """Train fresh agents by a frozen objective, and by A2C, on tasks it never saw."""

    objective: tyro.conf.Positional[str]
    """A file, a run folder, or pretrained:NAME."""
    suite: str = "held-out-layouts"
    """A suite's name, several joined by "+", or an environment's name."""
    seeds: int = 64
    """Agents per environment."""
    tuning_seeds: int = 32
    """Agents per setting and training environment."""
    baselines: bool = True
    """Compare with A2C, tuned on the training distribution."""
    seed: int = 0
    """Of worlds, agents and actions."""
    out: Path | None = None
    """Where tables and pictures go; by default evaluation-SUITE beside the objective."""


@dataclass(frozen=True)
class InspectArguments:
    """Draw what an objective does."""

    objective: tyro.conf.Positional[str]
    """A file, a run folder, or pretrained:NAME."""
    out: Path | None = None
    """Where the pictures go; by default inspection beside the objective."""


@dataclass(frozen=True)
class RunArguments:
    """Where and how a run goes on."""

    preset: str | None = None
    """A named configuration; `metaobj list` tells them."""
    run_dir: Path = Path("runs/latest")
    """The run folder."""
    resume: bool = False
    """Go on with the run in the folder; its configuration is taken from there."""
    devices: int | None = None
    """Over how many devices lifetimes are spread; by default all that divide them."""
    tensorboard: bool = False
    """Also write TensorBoard files into the run folder."""
    wandb: str | None = None
    """Also log to this Weights & Biases project."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit: 0 done, 2 wrong input, 128 + signal when stopped by one."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    console = Console(highlight=False)
    try:
        sys.exit(_run(arguments, console))
    except UserError as error:
        _complain(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _complain(text: str) -> None:
    print("metaobj: " + " ".join(text.split()), file=sys.stderr)


def _run(arguments: list[str], console: Console) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0
    commands: dict[str, Callable[[list[str], Console], int]] = {
        "train": _train,
        "evaluate": _evaluate,
        "inspect": _inspect,
        "list": _list,
        "demo": _demo,
    }
    command, *rest = arguments
    if command not in commands:
        raise UserError(f"command: {command!r} is unknown; choose from {', '.join(commands)}")
    if command != "list":
        use_all_cores()
        join_cluster()
    return commands[command](rest, console)


def _parse(kind: Any, arguments: list[str], program: str, default: Any = None) -> Any:
    """`tyro.cli`, with one line for wrong input."""
    heard = io.StringIO()
    keywords = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(heard):
            return tyro.cli(kind, args=arguments, prog=f"metaobj {program}", **keywords)
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        words = re.sub(r"\x1b\[[0-9;]*m|[─-╿]", " ", heard.getvalue())
        text = " ".join(words.split())
        text = re.sub(r"^(Parsing error|Unrecognized options|Invalid \w+)\s+", r"\1: ", text)
        text = re.sub(r"\s*For full helptext.*$", "", text)
        raise UserError(text or f"wrong arguments; see metaobj {program} --help") from None


def _train(arguments: list[str], console: Console) -> int:
    from common.meta_training import meta_train
    from common.plugin import get_plugin, plugins
    from common.run_folder import RunFolder, read_config

    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: metaobj train KIND ...; KIND is one of:")
        for kind, plugin in plugins().items():
            print(f"  {kind:12} {plugin.summary}; presets {', '.join(plugin.presets)}")
        return 0
    plugin = get_plugin(arguments[0])
    rest = arguments[1:]
    chosen = _first_value(rest, "--preset")
    run_dir = Path(_first_value(rest, "--run-dir") or RunArguments.run_dir)
    if chosen is not None and chosen not in plugin.presets:
        raise UserError(f"preset: {chosen!r} is unknown; choose from {', '.join(plugin.presets)}")
    default: Any = plugin.presets[chosen or plugin.default_preset]
    if "--resume" in rest and (run_dir / "config.json").exists():
        stored = _from_json(type(default), read_config(run_dir), "config.json")
        if chosen is None:
            default = stored
    both = tuple[
        Annotated[RunArguments, tyro.conf.arg(name="")],
        Annotated[type(default), tyro.conf.arg(name="")],  # type: ignore[misc]  # a type that is known when run
    ]
    run, config = _parse(both, rest, f"train {plugin.kind}", (RunArguments(), default))

    def sinks(folder: RunFolder, step: int) -> list[Any]:
        from common.metrics import TensorBoard, WeightsAndBiases

        found: list[Any] = []
        if run.tensorboard:
            found.append(TensorBoard(folder.path / "tensorboard", step or None))
        if run.wandb:
            found.append(WeightsAndBiases(folder.path, run.wandb, folder.config, folder.path.name))
        return found

    outcome = meta_train(
        plugin, config, run.run_dir, resume=run.resume, devices=run.devices, sinks=sinks, console=console
    )
    if outcome.signal is not None:
        console.print(
            f"stopped at step {outcome.step} and saved; go on with: "
            f"metaobj train {plugin.kind} --run-dir {escape(str(run.run_dir))} --resume",
            soft_wrap=True,
        )
        return 128 + outcome.signal
    console.print(f"done: {escape(str(outcome.objective))}", soft_wrap=True)
    return 0


def _first_value(arguments: list[str], flag: str) -> str | None:
    """The value that follows `flag`, or stands behind its "="."""
    for at, argument in enumerate(arguments):
        if argument.replace("_", "-") == flag and at + 1 < len(arguments):
            return arguments[at + 1]
        if argument.replace("_", "-").startswith(flag + "="):
            return argument.partition("=")[2]
    return None


def _from_json(kind: Any, value: Any, where: str) -> Any:
    """A dataclass from what `asdict` and JSON made of it."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = {field.name for field in fields(kind)}
        if not isinstance(value, dict) or set(value) != names:
            odd = sorted(set(value) ^ names) if isinstance(value, dict) else [type(value).__name__]
            raise UserError(f"{where}: is of another version; {', '.join(odd)} does not fit")
        return kind(**{name: _from_json(hints[name], value[name], f"{where}: {name}") for name in names})  # type: ignore[operator]  # a dataclass is callable
    if get_origin(kind) is tuple:
        return tuple(_from_json(get_args(kind)[0], entry, where) for entry in value)
    return value


def _beside(objective: str, name: str) -> Path:
    path = Path(objective)
    if path.is_dir():
        return path / name
    return (path.parent if path.exists() else Path("runs") / objective.replace(":", "-")) / name


def _evaluate(arguments: list[str], console: Console) -> int:
    from common.evaluation.protocol import Protocol
    from common.evaluation.run import evaluate_objective

    chosen = _parse(EvaluateArguments, arguments, "evaluate")
    evaluate_objective(
        chosen.objective,
        chosen.suite,
        chosen.out or _beside(chosen.objective, f"evaluation-{chosen.suite.replace('/', '-')}"),
        Protocol(seeds=chosen.seeds, tuning_seeds=chosen.tuning_seeds, seed=chosen.seed),
        chosen.baselines,
        console,
    )
    return 0


def _inspect(arguments: list[str], console: Console) -> int:
    from common.meta_training import load_objective

    chosen = _parse(InspectArguments, arguments, "inspect")
    plugin, objective, eta, metadata = load_objective(chosen.objective)
    folder = chosen.out or _beside(chosen.objective, "inspection")
    folder.mkdir(parents=True, exist_ok=True)
    with console.status("inspecting"):
        pictures = plugin.inspect(objective, eta, metadata, folder)
    for picture in pictures:
        console.print(escape(str(picture)), soft_wrap=True)
    return 0


def _list(arguments: list[str], console: Console) -> int:
    from common.distributions import DISTRIBUTIONS
    from common.environments.registry import environment_names
    from common.evaluation.suites import SUITES
    from common.objective_file import pretrained_names
    from common.plugin import plugins

    if arguments:
        raise UserError(f"list: takes no arguments, {' '.join(arguments)} given")

    def show(title: str, names: Sequence[str]) -> None:
        console.print(f"[bold]{title}[/]")
        console.print("  " + ", ".join(map(escape, names)))

    for kind, plugin in plugins().items():
        show(f"presets of {kind}", list(plugin.presets))
    show("distributions", list(DISTRIBUTIONS))
    show("suites", list(SUITES))
    show("pretrained objectives", [f"pretrained:{name}" for name in pretrained_names()] or ["none"])
    show("environments", environment_names())
    return 0


def _demo(arguments: list[str], console: Console) -> int:
    from common.demo import DemoArguments, demo

    chosen = _parse(DemoArguments, arguments, "demo")
    demo(chosen, console)
    return 0


if __name__ == "__main__":
    main()
