"""How an objective makes itself known: an entry point in the group `metaobj.objectives`.

Anyone's package can add one; `common` imports none by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from rich.console import Console

from metaobj.common.environments.names import names_module
from metaobj.common.errors import UserError
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import EvaluationProtocol
from metaobj.common.lifetimes.distributions import Entry, make_distribution
from metaobj.common.lifetimes.lifetime import MetaProgram, Program, ProgramMaker
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.objectives.exported import Exported, Library
from metaobj.common.rules.on_policy import Objective
from metaobj.common.types import PyTree

GROUP = "metaobj.objectives"
META_GRADIENT = {
    "meta_gradient_norm": "norm of the meta-gradient",
    "gradient_norm_max": "norm of lifetimes' meta-gradients, largest",
    "clipped": "share of lifetimes whose meta-gradient is clipped",
}
"""What pictures call the metrics that every differentiated run has."""

Config = TypeVar("Config", bound=MetaTrainingConfig)
Rule = TypeVar("Rule", bound=Objective)


@dataclass(frozen=True)
class Inspection:
    """What was found of an objective."""

    files: Sequence[Path]
    """That were written."""
    verdict: tuple[str, ...] = ()
    """What they come to, a line each."""


@dataclass(frozen=True, eq=False)
class Distilling:
    """How a kind's objectives are said again in fewer or plainer words."""

    options: Any
    """A frozen dataclass with defaults: its fields are the command's flags."""
    run: "Callable[[Loaded[Any, Any], Any, Path, Console], Inspection]"
    """(an objective, options, a folder, where progress is shown) to what was written and how well it says
    the same.
    """


@dataclass(frozen=True, eq=False, kw_only=True)
class Plugin(Generic[Config, Rule]):
    """One kind of learned objective. What has a default need not be there."""

    kind: str
    """Its name in commands and files."""
    title: str
    """Its name in tables and pictures, where `name` tells no other."""
    summary: str
    presets: Mapping[str, Config]
    """Named configurations."""
    default_preset: str
    distributions: Mapping[str, tuple[Entry, ...]] = field(default_factory=dict)
    """Distributions that belong to this kind, beside those that all share."""
    build: Callable[[Config], Rule]
    programs: Callable[[Config, Rule], ProgramMaker[Program[Any, Rule]]]
    """(configuration, a rule) to how the rule's agents live: by a `MetaProgram` where updates are differentiated."""
    baselines: Callable[[Config], Sequence[Method]]
    """Rules that people wrote, to compare with an objective of this configuration."""
    hyperparameters: Callable[[Config], Mapping[str, Sequence[float]]] = lambda config: {}
    """The agents' hyperparameters beside the learning rate, {name: values}, that the sampler chooses from."""
    describe: Callable[[Config], dict[str, Any]]
    """What an objective file must hold to build the objective again, as JSON data."""
    rebuild: Callable[[Mapping[str, Any]], Rule]
    """The inverse of `describe`."""
    interface: "Callable[[Loaded[Config, Rule]], Any]" = lambda loaded: loaded
    """To what `metaobj.load` gives: the objective for agents of one's own."""
    protocol: EvaluationProtocol = EvaluationProtocol()
    """Sizes of an evaluation where the user does not tell."""
    suite: str = "held-out-layouts"
    """What is evaluated on where the user does not tell."""
    inspect: "Callable[[Loaded[Config, Rule], Path], Inspection] | None" = None
    """Draw what the objective does, into a folder, where the kind can."""
    about: Mapping[str, str] = field(default_factory=dict)
    """A line on each preset and each distribution of this kind, by name."""
    methods: Callable[[int], Sequence[Method]] = lambda rollout_steps: ()
    """Of this kind, what learns without having been meta-trained, by the steps of a rollout; any comparison may name
    them.
    """
    start: Callable[[Config, Console, int], PyTree] | None = None
    """Weights that a configuration begins with whose `start` is not "none", for a run on so many devices. May take
    long, and shows how far it is. Configurations of a kind that has this have `start` and `start_updates`, see
    `check_start`.
    """
    trials: Callable[[Config, Rule], ProgramMaker[MetaProgram[Any, Rule]]] | None = None
    """Likewise while updates are differentiated, where that leaves out something of how they live."""
    yardstick: bool = False
    """Whether comparisons of baselines alone may be set up as this kind's: with its environments for tuning."""
    convert: Callable[[Path, Path], Sequence[str]] | None = None
    """(a file of weights published in another form, where to write) to what there is to say of them; UserError where it
    is none of this kind's.
    """
    distil: Distilling | None = None
    """Fit something simpler to an objective, where the kind can."""
    export: "Callable[[Loaded[Config, Rule], Library], Exported] | None" = None
    """Say an objective in another library's words, where the kind can."""
    elsewhere: tuple[str, str] | None = None
    """An objective that ships, and a task that it was not trained on, for the demonstration."""
    demo_seconds: tuple[float, ...] = ()
    """What each part of the demonstration takes on two cores, by which it tells how long it will take elsewhere."""
    name: Callable[[Rule], str] | None = None
    """The name in tables and pictures of one of several variants."""
    charts: Mapping[str, str] = field(default_factory=dict)
    """Metrics that the picture of a run shows, after "reward": {name: what the picture calls it}."""
    live: Mapping[str, str] = field(default_factory=dict)
    """Metrics that a run shows while it goes on, beside the reward: {name: format}."""

    def name_of(self, rule: Rule) -> str:
        """What a rule is called in tables and pictures."""
        return self.title if self.name is None else self.name(rule)

    @property
    def configuration(self) -> type[Config]:
        """The type of the presets."""
        return type(self.presets[self.default_preset])

    @property
    def continuous(self) -> bool:
        """Whether the actions of the agents that are trained by default are."""
        name = self.presets[self.default_preset].distribution
        return all(entry.continuous for entry in make_distribution(name, 1, self.distributions))


@dataclass(frozen=True, eq=False)
class Loaded(Generic[Config, Rule]):
    """A learned objective from a file, with what it was trained on and how."""

    plugin: Plugin[Config, Rule]
    objective: Rule
    eta: PyTree
    config: Config
    entries: tuple[Entry, ...]
    """Entries of the distribution that it was trained on."""
    hyperparameters: Mapping[str, tuple[float, ...]]
    """The grids that the sampler chose from, beside the learning rates'."""
    settings: Sequence[Mapping[str, float]]
    """What the sampler had settled on at the end, by entry; empty where it is not known."""
    metadata: Mapping[str, Any]
    """All that the file says."""
    source: str = ""
    """Where it came from."""
    trust: bool = False
    """Whether modules that the file names may be imported."""

    def environments(self) -> tuple[Entry, ...]:
        """The entries, for making their environments.

        Raises:
            UserError: one names a Python module, which making it would import, and the file is not trusted.
        """
        for entry in self.entries:
            if names_module(entry.environment) and not self.trust:
                raise UserError(
                    f"{self.source}: names the Python module of {entry.environment!r}, which would be imported; pass "
                    "--trust if you know what it does"
                )
        return self.entries

    def settled(self, environments: Sequence[str], usual: Mapping[str, float]) -> dict[str, float]:
        """The hyperparameters that meta-training settled on in the first of these environments in which that is known,
        or the usual ones.
        """
        found = dict(zip((entry.environment for entry in self.entries), self.settings, strict=False))
        chosen = next((found[name] for name in environments if name in found), {})
        return {name: float(chosen.get(name, value)) for name, value in usual.items()}


def kinds() -> list[str]:
    """The names of the installed kinds of objectives."""
    return sorted(entry.name for entry in metadata.entry_points(group=GROUP))


def plugins() -> dict[str, Plugin[Any, Any]]:
    """The installed objectives by kind."""
    found = {}
    for entry in metadata.entry_points(group=GROUP):
        plugin = entry.load()
        found[plugin.kind] = plugin
    return found


def unable(source: str, plugin: Plugin[Any, Any], ability: str, done: str) -> UserError:
    """What to say where a kind lacks an ability: a field of its plugin that is None.

    Args:
        source: the objective, or the kind, that was given.
        plugin: of its kind.
        ability: the field.
        done: what it would be, such as "distilled".
    """
    able = ", ".join(sorted(other.kind for other in plugins().values() if getattr(other, ability) is not None))
    return UserError(f"{source}: is of kind {plugin.kind}; what can be {done} is of kind {able or 'none'}")


def get_plugin(kind: str) -> Plugin[Any, Any]:
    """The objective of a kind; UserError where none is installed."""
    found = plugins()
    if kind not in found:
        raise UserError(f"objective: {kind!r} is unknown; choose from {', '.join(sorted(found))}")
    return found[kind]
