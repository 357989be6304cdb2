"""What takes part in a comparison, by name: objectives, what runs had learned by a step, groups, baselines."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.environments.protocol import Environment
from metaobj.common.errors import UserError
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import Contestant
from metaobj.common.files import is_there
from metaobj.common.lifetimes.distributions import NETWORK_RATES, TABULAR_RATES, Entry, make_distribution
from metaobj.common.lifetimes.lifetime import Program
from metaobj.common.lifetimes.population import make_families
from metaobj.common.objectives.file import PRETRAINED
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Loaded, Plugin, plugins
from metaobj.common.objectives.sweep import runs_of


@dataclass(frozen=True, eq=False)
class Field:
    """All that take part, and what they have in common."""

    contestants: tuple[Contestant, ...]
    learned: tuple[str, ...]
    """The names of those that are learned objectives."""
    plugin: Plugin[Any, Any]
    """Of the first of them; of the baselines where there is none."""
    first: Loaded[Any, Any] | None = None
    """The first objective; None where there are baselines alone."""

    def trained_on(self) -> tuple[Entry, ...]:
        """What the first objective was trained on; what its kind trains on by default where there is none.

        Raises:
            UserError: the objective's file names a Python module and is not trusted.
        """
        if self.first is not None:
            return self.first.environments()
        name = self.plugin.presets[self.plugin.default_preset].distribution
        return make_distribution(name, 1, self.plugin.distributions)


def learned(loaded: Loaded[Any, Any], name: str | None = None) -> Method:
    """A learned objective, tuned over the settings it was trained with; its agents live as they did in training, and
    learn by the optimiser that most agents of their kind had there.
    """
    lifetimes: dict[str, Counter[Any]] = defaultdict(Counter)
    for entry in loaded.entries:
        lifetimes[_kind(entry.agent)][entry.agent.optimiser] += entry.lifetimes
    optimisers = {kind: counter.most_common(1)[0][0] for kind, counter in lifetimes.items()}
    rates: dict[str, tuple[float, ...]] = {}
    for entry in loaded.entries:
        kind = _kind(entry.agent)
        if entry.agent.optimiser == optimisers[kind]:  # rates of another one would mean something else
            rates[kind] = tuple(sorted({*rates.get(kind, ()), *entry.learning_rates}))
    names = [n for n in loaded.objective.hyperparameters if n != "learning_rate"]
    shared = {n: loaded.hyperparameters[n] for n in names}

    def grid(agent: AgentConfig) -> dict[str, Sequence[float]]:
        usual = TABULAR_RATES if agent.torso == "tabular" else NETWORK_RATES
        return {"learning_rate": rates.get(_kind(agent), usual), **shared}

    as_trained = loaded.plugin.programs(loaded.config, loaded.objective)

    def programs(entry: Entry, environment: Environment) -> Program[Any, Any]:
        optimiser = optimisers.get(_kind(entry.agent), entry.agent.optimiser)
        return as_trained(replace(entry, agent=replace(entry.agent, optimiser=optimiser)), environment)

    title = name or loaded.plugin.name_of(loaded.objective)
    return Method(title, loaded.objective, loaded.eta, programs, grid, loaded.config.rollout_steps)


def _kind(agent: AgentConfig) -> str:
    """Agents of one kind learn at like rates: dense and convolutional networks do."""
    return "network" if agent.torso in ("dense", "conv") else agent.torso


def find_contestants(names: Sequence[str], suite: Sequence[Entry], trust: bool = False) -> Field:
    """What the names say.

    Args:
        names: each an objective (a file, a run folder, `pretrained:NAME`, or `RUN@STEP` for what the run had learned
            by then), several joined as `NAME=A,B,...` (meta-training seeds of one configuration), or a baseline's name.
        suite: what is evaluated on; of baselines alone it decides which kind of agent they are.
        trust: see `load_objective`.

    Raises:
        UserError: a name says nothing, two say the same, or a group is of objectives that differ in more than weights.
    """
    written = _written()
    for name in names:
        if name.lower() in written and is_there(name):
            raise UserError(f"{name}: is a baseline and a path; write ./{name} for the path")
    objectives = {
        name: [load_objective(part, trust=trust) for part in members(name)]
        for name in names
        if name.lower() not in written
    }
    first = next(iter(objectives.values()), [None])[0]
    if first is not None:
        plugin, config = first.plugin, first.config
    else:
        plugin = _plugin_of(names, suite)
        config = plugin.presets[plugin.default_preset]
    baselines = _known(plugin, config)
    contestants = []
    for name in names:
        if name in objectives:
            alone = len(objectives) == 1 and not _is_group(name)
            contestants.append(_contestant(name, objectives[name], alone))
        elif name.lower() in baselines:
            method = baselines[name.lower()]
            contestants.append(Contestant(method.name, (method,)))
        else:
            choices = ", ".join(method.name for method in baselines.values())
            of = f"no baseline of {plugin.title}"
            if any(name.lower() in _known(one) for one in plugins().values() if one.continuous != plugin.continuous):
                own, other = ("continuous", "discrete")[:: 1 if plugin.continuous else -1]
                of = f"for {other} actions; {plugin.title}'s agents have {own} ones"
            raise UserError(f"{name}: is {of}; choose from {choices}")
    titles = [contestant.name for contestant in contestants]
    for title in titles:
        if titles.count(title) > 1:
            raise UserError(f"{title}: the name of two of them; tell objectives apart as NAME=PATH")
        try:
            title.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{title!a}: cannot be written; give it a name as NAME=PATH") from error
    # An entry's updates are the first one's, so that a suite is as many environment steps for everyone.
    steps = contestants[0].methods[0].rollout_steps
    same = tuple(
        replace(one, methods=tuple(replace(method, rollout_steps=steps) for method in one.methods))
        for one in contestants
    )
    return Field(same, tuple(c.name for n, c in zip(names, contestants, strict=True) if n in objectives), plugin, first)


def _known(plugin: Plugin[Any, Any], config: Any = None) -> dict[str, Method]:
    """By name in small letters, what needs no learning beforehand: a kind's baselines, and the methods of all kinds
    whose agents act alike.
    """
    config = config if config is not None else plugin.presets[plugin.default_preset]
    methods = [*plugin.baselines(config)]
    for other in plugins().values():
        methods += other.methods(config.rollout_steps) if other.continuous == plugin.continuous else ()
    return {method.name.lower(): method for method in methods}


def usual_suite(names: Sequence[str]) -> str:
    """What the first objective among the names is evaluated on where nothing is told.

    Raises:
        UserError: there are baselines only.
    """
    for name in names:
        if name.lower() not in _written():
            return load_objective(members(name)[0]).plugin.suite
    raise UserError("suite: missing; baselines alone have no suite of their own")


def _written() -> set[str]:
    """The names of all rules that people wrote, in small letters."""
    return {name for plugin in plugins().values() for name in _known(plugin)}


def _is_group(name: str) -> bool:
    run, at, step = name.rpartition("@")
    return "=" in name and not is_there(name) and not (at and step.isdecimal() and is_there(run))


def members(name: str) -> list[str]:
    """The objectives that a name stands for: those after its "=", and the runs in a folder of several seeds."""
    parts = name.partition("=")[2].split(",") if _is_group(name) else [name]
    if not all(parts):
        raise UserError(f"{name}: an objective is missing between the commas")
    found = [(part, runs_of(Path(part)) if is_there(part) else []) for part in parts]
    return [one for part, runs in found for one in (map(str, runs) if runs else [part])]


def _contestant(name: str, loaded: Sequence[Loaded[Any, Any]], alone: bool) -> Contestant:
    if alone:
        title = loaded[0].plugin.name_of(loaded[0].objective)
    else:
        title = name.partition("=")[0] if _is_group(name) else title_of(name)
    if not title:
        raise UserError(f"{name}: a group needs a name before its =")
    first = loaded[0]
    for other in loaded[1:]:
        if other.plugin.kind != first.plugin.kind or other.objective != first.objective:
            raise UserError(f"{title}: {other.source} is of another kind or of other sizes than {first.source}")
    if len(loaded) == 1:
        return Contestant(title, (learned(first, title),))
    return Contestant(title, tuple(learned(one, f"{title} {at + 1}") for at, one in enumerate(loaded)))


def title_of(name: str) -> str:
    """What an objective is called in tables: its file's or its run folder's name."""
    if name.startswith(PRETRAINED):
        return name.removeprefix(PRETRAINED)
    path, at, step = name.rpartition("@")
    if at and step.isdecimal() and not is_there(name):
        return f"{Path(path).resolve().name}@{step}"
    found = Path(name).resolve()
    if found.suffix and is_there(found) and found.is_file():
        return found.parent.name if found.stem == "objective" else found.stem
    return found.name


def _plugin_of(names: Sequence[str], suite: Sequence[Entry]) -> Plugin[Any, Any]:
    """The kind of objective all of whose baselines these are, and whose agents can live in the suite."""
    torsos = {entry.agent.torso for entry in suite}

    def foreign(plugin: Plugin[Any, Any]) -> tuple[bool, bool, str]:
        """Whether it is no yardstick, and whether it trains on no such agents by default: a rule of the same name may
        be set for others there.
        """
        name = plugin.presets[plugin.default_preset].distribution
        at_home = any(e.agent.torso in torsos for e in make_distribution(name, 1, plugin.distributions))
        return not plugin.yardstick, not at_home, plugin.kind

    error: UserError | None = None
    for plugin in sorted(plugins().values(), key=foreign):
        methods = _known(plugin)
        if not all(name.lower() in methods for name in names):
            continue
        try:
            for name in names:
                make_families(suite, methods[name.lower()].programs)
        except UserError as reason:
            error = reason
            continue
        return plugin
    raise error or UserError(f"{' '.join(names)}: no kind of objective is compared with all of these")


GRIDS_FOR_NETWORKS = ("grid/moving_any_small", "grid/moving_survive", "grid/moving_negative")
"""What settings of networks are chosen on where an objective's training knows none: agents learn there in 500 updates,
dense and convolutional. Where objects are rare and seen through 11x11 planes (`grid/random_small`) none does, and noise
would choose.
"""


def tuning_entries(
    trained_on: Sequence[Entry], agent: AgentConfig, longest: int, suite: Sequence[Entry] = (), limit: int = 2
) -> list[Entry]:
    """Training environments for tuning a kind of agent: those that the objective was trained on, at most `limit`, the
    most frequent first; where it has none of that kind, small grids, of those that are not in the suite. Lives are at
    most `longest` updates, the same for every method.
    """
    same = sorted((e for e in trained_on if e.agent.torso == agent.torso), key=lambda e: -e.lifetimes)[:limit]
    if same:
        return [replace(entry, agent=agent, updates=min(entry.updates, longest)) for entry in same]
    if agent.torso == "tabular":
        return [Entry("grid/small_layouts")]
    judged = {entry.environment for entry in suite}
    names = [name for name in GRIDS_FOR_NETWORKS if name not in judged] or list(GRIDS_FOR_NETWORKS)
    return [Entry(name, updates=longest, agent=agent, learning_rates=NETWORK_RATES) for name in names[:limit]]
