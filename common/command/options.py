"""What each command takes: tyro makes flags and help screens of these."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import tyro

from metaobj.common.pictures.forms import Form
from metaobj.common.processes import Cluster


def _called(metavar: str) -> Any:
    """How a value is called in a help screen, where a default of None goes without saying."""

    def hint(default: str) -> str:
        return "" if default == "None" else f"(default: {default})"

    return tyro.conf.arg(metavar=metavar, help_behavior_hint=hint)


Objective: TypeAlias = Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="OBJECTIVE")]
Folder: TypeAlias = Annotated[Path | None, _called("DIR")]
Figures: TypeAlias = Annotated[Form, _called("FORM")]
Switch: TypeAlias = Annotated[tyro.conf.FlagCreatePairsOff[bool], tyro.conf.arg(help_behavior_hint="")]


@dataclass(frozen=True)
class ListArguments:
    """What there is to choose from, a line each."""

    what: tyro.conf.Positional[
        Literal["all", "objectives", "presets", "pretrained", "distributions", "suites", "environments"]
    ] = "all"
    """One kind of it, told more closely."""
    discrete: Switch = False
    """Only what is for agents with discrete actions."""
    continuous: Switch = False
    """Only what is for agents with continuous actions."""


@dataclass(frozen=True, kw_only=True)
class ComparisonArguments:
    """What a comparison takes beside what is compared."""

    suite: Annotated[str | None, _called("NAME")] = None
    """A suite's name, several joined by "+", or an environment's name; by default the objective's own."""
    seeds: Annotated[int | None, _called("INT")] = None
    """Agents per environment; by default what suits the objective's kind, see `metaobj list objectives`."""
    tuning_seeds: Annotated[int | None, _called("INT")] = None
    """Agents per setting and training environment; by default likewise."""
    steps: Annotated[int | None, _called("INT")] = None
    """Environment steps of every agent on every task; by default the suite's. Few give a first look."""
    tuning: Literal["training", "suite"] = "training"
    """What settings are chosen on: training environments only, or a few learning rates on the suite itself."""
    seed: int = 0
    """Seed of the worlds, agents and actions."""
    report: bool = True
    """Leave a page, report.html, that tells it all to someone who was not there."""
    figures: Figures = "png"
    """Also write the pictures as svg or pdf, for papers; they are PNG files in any case."""
    out: Folder = None
    """Where tables, pictures and the page go; by default evaluation-SUITE beside the first objective."""
    overwrite: Switch = False
    """Replace the tables of another evaluation in that folder."""
    trust: Switch = False
    """Import the Python modules that an objective's file names as what it was trained on."""


@dataclass(frozen=True, kw_only=True)
class EvaluateArguments(ComparisonArguments):
    """Train fresh agents by a frozen objective, and a baseline, on unseen tasks."""

    objective: Objective
    """A file, a run folder, RUN@STEP for what a run had learned by then, or pretrained:NAME."""
    baselines: bool = True
    """Compare with a rule that people wrote."""
    against: Annotated[str | None, _called("NAMES")] = None
    """Which ones, joined by "+", other objectives among them; by default the first of those that `metaobj list
    objectives` tells for the kind."""


@dataclass(frozen=True, kw_only=True)
class CompareArguments(ComparisonArguments):
    """Train fresh agents by any number of objectives and baselines on unseen tasks."""

    names: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="METHOD")]
    """Each an objective as for `metaobj evaluate`, several as NAME=A,B,... (meta-training seeds of one configuration;
    a folder of runs with --seeds is such a group too), or a baseline such as A2C."""
    baseline: Annotated[str | None, _called("NAME")] = None
    """The one that the others are compared with; by default the first that is not learned, else the last."""


@dataclass(frozen=True)
class MatrixArguments:
    """Meta-train on each of several families, evaluate every objective on all of them."""

    families: tuple[str, ...] = ()
    """Distributions, two or more; worlds of each are drawn from the training part for one and the held-out for the
    other."""
    preset: Annotated[str | None, _called("NAME")] = None
    """A named configuration, whose values are the defaults below."""
    config: Annotated[Path | None, _called("FILE")] = None
    """A file of settings, as for `metaobj train`."""
    run_dir: Annotated[Path, _called("DIR")] = Path("runs/matrix")
    """Where the runs, the evaluations, matrix.csv and matrix.png go; run again, it goes on where it was."""
    seeds: Annotated[int | None, _called("INT")] = None
    """Agents per task; by default what suits the kind."""
    tuning_seeds: Annotated[int | None, _called("INT")] = None
    """Agents per setting and environment in tuning; by default likewise."""
    steps: Annotated[int | None, _called("INT")] = None
    """Environment steps of every agent on every task."""
    tuning: Literal["training", "suite"] = "suite"
    """What settings are chosen on, as for `metaobj compare`."""
    figures: Figures = "png"
    """Also write the pictures as svg or pdf, for papers; they are PNG files in any case."""


@dataclass(frozen=True)
class InspectArguments:
    """Draw what an objective does."""

    objective: Objective
    """A file, a run folder, or pretrained:NAME."""
    out: Folder = None
    """Where the pictures go; by default inspection beside the objective."""
    figures: Figures = "png"
    """Also write the pictures as svg or pdf, for papers; they are PNG files in any case."""
    trust: Switch = False
    """Import the Python modules that the objective's file names as what it was trained on."""


@dataclass(frozen=True)
class ShowArguments:
    """Tell where an objective comes from, and what its card says that it does."""

    objective: Objective
    """A file, a run folder, RUN@STEP, or pretrained:NAME."""


@dataclass(frozen=True)
class ConvertArguments:
    """Make an objective file of weights that were published in another form."""

    file: Annotated[Path, tyro.conf.Positional, _called("FILE")]
    """What was published, such as disco_103.npz."""
    out: Annotated[Path | None, _called("FILE")] = None
    """The objective file; by default of the same name, with the ending .safetensors, in the folder where one is."""


@dataclass(frozen=True, kw_only=True)
class ExportArguments:
    """Say an objective as one Python module that needs neither this package nor JAX."""

    objective: Objective
    """A file, a run folder, RUN@STEP, or pretrained:NAME."""
    to: Literal["numpy", "torch"]
    """The library that the module computes with."""
    out: Annotated[Path | None, _called("FILE")] = None
    """The module; by default of the objective's name, with the ending .py, in the folder where one is. Its weights go
    beside it."""


@dataclass(frozen=True)
class DistilArguments:
    """Where a distilled objective goes."""

    out: Folder = None
    """The folder; by default distilled beside the objective."""
    trust: Switch = False
    """Import the Python modules that the objective's file names as what it was trained on."""


@dataclass(frozen=True, kw_only=True)
class FollowArguments:
    """Watch what a rule says of itself as fresh agents learn by it, such as what self-tuning agents come to."""

    method: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="METHOD")]
    """An objective as for `metaobj evaluate`, or a method such as MG, STAC or A2C."""
    environment: str
    """Where; its name, or that of a suite of one task."""
    agents: int = 8
    """How many, each in a world of its own where worlds differ."""
    steps: Annotated[int | None, _called("INT")] = None
    """Environment steps of every agent; by default the suite's."""
    set: tuple[str, ...] = ()
    """Hyperparameters as NAME=VALUE, such as learning_rate=0.002; by default the middle of a few."""
    seed: int = 0
    """Seed of the worlds, agents and actions."""
    out: Folder = None
    """Where follow.png and follow.csv go; by default runs/follow-METHOD-ENVIRONMENT."""
    figures: Figures = "png"
    """Also write the pictures as svg or pdf, for papers; they are PNG files in any case."""
    trust: Switch = False
    """Import the Python modules that an objective's file names as what it was trained on."""


@dataclass(frozen=True, kw_only=True)
class WatchArguments:
    """Watch one fresh agent at several ages: a film of its episodes, and a sheet of pictures."""

    method: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="METHOD")]
    """An objective as for `metaobj evaluate`, or a method such as A2C or STAC."""
    environment: str
    """Where; its name, or that of a suite of one task."""
    ages: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0)
    """Shares of its life at which an episode is shown."""
    steps: Annotated[int | None, _called("INT")] = None
    """Environment steps of its life; by default the suite's."""
    set: tuple[str, ...] = ()
    """Hyperparameters as NAME=VALUE, such as learning_rate=0.002; by default the middle of a few."""
    seed: int = 0
    """Seed of the world, the agent and its actions."""
    out: Folder = None
    """Where watch.gif and watch.png go; by default runs/watch-METHOD-ENVIRONMENT."""
    trust: Switch = False
    """Import the Python modules that an objective's file names as what it was trained on."""


@dataclass(frozen=True)
class BenchmarkArguments:
    """Measure what presets cost on this machine, each in a process of its own, beside what they cannot do without."""

    presets: Annotated[tyro.conf.Positional[tuple[str, ...]], tyro.conf.arg(metavar="[PRESET ...]")] = ()
    """Each KIND/PRESET, or PRESET where one kind alone has it; by default the one of each kind that `metaobj demo`
    runs."""
    scale: int = 1
    """Multiplies the lifetimes."""
    meta_updates: int = 5
    """That are timed of each, after three that are not; the median counts."""
    devices: Annotated[int | None, _called("INT")] = None
    """Over how many devices lifetimes are spread; by default all that are of use."""
    out: Annotated[Path | None, _called("FILE")] = None
    """A JSON file of all figures."""


@dataclass(frozen=True)
class RunArguments:
    """Where and how a run goes on."""

    preset: Annotated[str | None, _called("NAME")] = None
    """A named configuration, whose values are the defaults below; `metaobj list presets` tells them."""
    config: Annotated[Path | None, _called("FILE")] = None
    """Settings in TOML, such as --print-config prints, or a run's config.json; flags go before them."""
    print_config: Switch = False
    """Print all settings as such a file, and do nothing else."""
    run_dir: Annotated[Path, _called("DIR")] = Path("runs/latest")
    """The run folder."""
    resume: Switch = False
    """Go on with the run in the folder; its configuration is taken from there."""
    seeds: Annotated[tuple[str, ...], _called("[INT|A..B ...]")] = ()
    """A run for each of these seeds, such as 0 1 2 or 0..9, in the run folder's seed-0 and so on; comparisons take the
    folder as one."""
    devices: Annotated[int | None, _called("INT")] = None
    """Over how many devices lifetimes are spread; by default all that are of use."""
    figures: Figures = "png"
    """Also write the pictures as svg or pdf, for papers; they are PNG files in any case."""
    coordinator: Annotated[str | None, _called("HOST:PORT")] = None
    """Of a run in several processes, where the first of them is reached. Each is started by the same command; Slurm,
    Open MPI and Kubernetes tell these three themselves."""
    process: Annotated[int | None, _called("INT")] = None
    """This process's number, from 0."""
    processes: Annotated[int | None, _called("INT")] = None
    """How many there are; 1 for a run by itself within somebody else's job."""
    wait: int = Cluster.wait
    """Seconds that processes wait for each other at the start."""
    tensorboard: Switch = False
    """Also write TensorBoard files into the run folder."""
    wandb: Annotated[str | None, _called("PROJECT")] = None
    """Also log to this Weights & Biases project."""
