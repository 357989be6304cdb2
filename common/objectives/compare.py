"""Objectives and rules that people wrote on a suite: tuning, fresh agents, report."""

import json
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.text import Text

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.errors import MOST, LengthError, UserError, check_numbers
from metaobj.common.evaluation import report
from metaobj.common.evaluation.cells import Cells, digest
from metaobj.common.evaluation.checks import check_sizes, check_steps
from metaobj.common.evaluation.curves import Curves
from metaobj.common.evaluation.evaluation import Choice, Evaluation
from metaobj.common.evaluation.journal import Journal
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.page.document import page
from metaobj.common.evaluation.protocol import (
    Contestant,
    EvaluationProtocol,
    Trials,
    Tuning,
    evaluate,
    planned_settings,
    tune,
)
from metaobj.common.evaluation.references import known_returns
from metaobj.common.evaluation.scoring import relative_to, score_diverged
from metaobj.common.evaluation.suites import APART, groups_of, make_suite, versioned
from metaobj.common.files import atomic_write, make_folder, parse_json, remove
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives.contestants import Field, find_contestants, tuning_entries
from metaobj.common.objectives.provenance import here

RECORD = "evaluation.json"
UNFINISHED = "unfinished.json"
"""Stands beside the cells of an evaluation until it has come to its end."""
PAGE = "report.html"
LOG = "evaluation.log"
CELLS = "cells"


@dataclass(frozen=True)
class Comparison:
    """What is compared, on what, and how."""

    names: tuple[str, ...]
    """Objectives and baselines, see `contestants.find_contestants`."""
    suite: str
    seeds: int | None = None
    """Agents per task; by default what suits the first objective's kind."""
    tuning_seeds: int | None = None
    """Agents per setting and environment in tuning; by default likewise."""
    seed: int = 0
    tuning: Tuning = "training"
    baseline: str | None = None
    """The one that the others are compared with; by default the first that is no learned objective, else the last."""
    steps: int | None = None
    """Environment steps of every agent on every task; by default the suite's."""
    trust: bool = False
    """Whether modules that an objective's file names as training environments may be imported, for tuning on them."""
    overwrite: bool = False
    """Whether the tables of another evaluation in the folder may be replaced."""
    page: bool = True
    """Whether an HTML page is written beside the tables."""

    @property
    def command(self) -> str:
        """What a user types for it; the results do not depend on the folder they go to."""
        words = ["metaobj", "compare", *self.names, "--suite", self.suite]
        for field in ("baseline", "seeds", "tuning_seeds", "steps", "tuning", "seed"):
            if (value := getattr(self, field)) != getattr(type(self), field):
                words += [f"--{field.replace('_', '-')}", str(value)]
        return shlex.join([*words, *(["--trust"] if self.trust else [])])

    def protocol_of(self, usual: EvaluationProtocol) -> EvaluationProtocol:
        """The protocol that is usual for a kind of objective, with what is asked for."""
        sizes = {name: getattr(self, name) for name in ("seeds", "tuning_seeds") if getattr(self, name) is not None}
        return replace(usual, seed=self.seed, tuning=self.tuning, **sizes)


def compare(
    comparison: Comparison,
    folder: Path,
    console: Console | None = None,
    say: Callable[[str], None] | None = None,
) -> Evaluation:
    """Evaluate, print the tables, leave CSV files, pictures and a page in the folder. What a killed evaluation had
    computed is found there and not computed again.

    Args:
        comparison: what is compared.
        folder: made if missing.
        console: where tables and progress are shown; None shows nothing.
        say: told a line when a part is done, in the console's place.

    Raises:
        UserError: a name, the suite or a size cannot be used, or the folder holds another evaluation.
    """
    console = console or Console(quiet=True)
    plan = prepare(comparison)
    protocol, suite, field, baseline, tuned_on = plan
    inputs = _inputs(comparison.suite, plan)
    make_folder(folder)
    _check_folder(folder, inputs, comparison.overwrite)
    atomic_write(folder / UNFINISHED, json.dumps({"inputs": inputs}, indent=1) + "\n")

    with console.status("evaluating") as status:
        journal = Journal(
            _planned_work(protocol, field.contestants, suite, tuned_on),
            say=say or (lambda line: console.print(Text(line, style="dim"), soft_wrap=True)),
            live=lambda text: status.update(Text(text)),
            path=folder / LOG,
        )
        trials = Trials(protocol, Cells(folder / CELLS), journal)
        curves: list[Curves] = []
        choices: list[Choice] = []
        for contestant in field.contestants:
            best = {agent: tune(trials, contestant, entries) for agent, entries in tuned_on.items()}
            choices += best.values()
            settings = {entry.environment: best[entry.agent].setting for entry in suite}
            curves.append(evaluate(trials, contestant, suite, settings))
    absolute = score_diverged(curves)
    relative = absolute if baseline is None else relative_to(absolute, baseline)
    curves = [_grouped(entry, groups_of(comparison.suite)) for entry in relative]
    rows = report.write(folder, curves, baseline=baseline, console=console)
    evaluation = Evaluation(
        suite=versioned(comparison.suite),
        protocol=protocol.told,
        curves=curves,
        rows=rows,
        baseline=baseline,
        choices=choices,
        sources=_sources(absolute[0], curves[0], baseline),
        provenance=_provenance(comparison, protocol),
    )
    if comparison.page:
        atomic_write(folder / PAGE, page(evaluation))
        console.print(Text(f"All of it on a page: {folder / PAGE}", style="dim"), soft_wrap=True)
    else:
        remove(folder / PAGE)  # another evaluation's must not stand beside these tables
    tuning = [asdict(choice) for choice in choices]
    record = {"inputs": inputs, "tuning": tuning, "provenance": dict(evaluation.provenance)}
    atomic_write(folder / RECORD, json.dumps(record, indent=1) + "\n")
    remove(folder / UNFINISHED)
    console.print(Text(f"Settings: {protocol.told}."))
    for choice in choices:
        console.print(Text(_told(choice)), soft_wrap=True)
    return evaluation


class Plan(NamedTuple):
    """A comparison that can be made."""

    protocol: EvaluationProtocol
    suite: tuple[Entry, ...]
    field: Field
    baseline: str | None
    tuned_on: Mapping[AgentConfig, Sequence[Entry]]


def prepare(comparison: Comparison) -> Plan:
    """Everything that can be said before time is spent.

    Raises:
        UserError: a name, the suite or a size cannot be used.
    """
    suite = make_suite(comparison.suite)
    field = find_contestants(comparison.names, suite, comparison.trust)
    protocol = comparison.protocol_of(field.plugin.protocol)
    if comparison.steps is not None:
        check_numbers(comparison, "steps", at_least=1, at_most=MOST)
        suite = tuple(of_length(entry, comparison.steps, field.contestants[0].methods[0]) for entry in suite)
    trained_on = field.trained_on() if protocol.tuning == "training" else ()
    tuned_on: dict[AgentConfig, list[Entry]] = {}
    for agent in dict.fromkeys(entry.agent for entry in suite):
        if protocol.tuning == "training":
            tuned_on[agent] = tuning_entries(trained_on, agent, protocol.longest_tuning_life, suite)
        else:  # tasks that are in no mean choose nothing, unless there are no others
            same = [entry for entry in suite if entry.agent == agent]
            tuned_on[agent] = [entry for entry in same if entry.environment not in APART] or same
    methods = [method for contestant in field.contestants for method in contestant.methods]
    try:
        for method in methods:
            check_sizes(protocol, method, suite, [entry for entries in tuned_on.values() for entry in entries])
        check_steps(methods, suite)
    except LengthError as error:
        if comparison.steps is None:
            raise
        raise LengthError(f"steps: {comparison.steps} given; {error}") from None
    return Plan(protocol, suite, field, _baseline(comparison.baseline, field), tuned_on)


def _grouped(curves: Curves, groups: Sequence[str]) -> Curves:
    """Tasks that have scores by suites; the others each for itself, as returns cannot be pooled."""
    named = [
        group if curves.has_reference(index) else task
        for index, (group, task) in enumerate(zip(groups, curves.tasks, strict=True))
    ]
    return replace(curves, groups=named)


def _sources(before: Curves, after: Curves, baseline: str | None) -> dict[str, str]:
    """By task, where the returns that scores of 0 and 1 stand for are from; `after` is relative to the baseline."""
    told = {}
    for index, task in enumerate(after.tasks):
        known = known_returns(task)
        if before.has_reference(index):
            told[task] = known.source if known is not None else "computed for these worlds"
        elif after.has_reference(index):
            told[task] = f"uniform actions, measured; 1 is what {baseline} ends at"
        elif known is not None:
            told[task] = known.source
    return told


def of_length(entry: Entry, steps: int, method: Method) -> Entry:
    """The entry with at most so many environment steps, a whole number of a method's usual updates.

    Raises:
        UserError: they are not enough for one.
    """
    unit = method.rollout_steps * entry.num_environments
    if steps < unit:
        raise UserError(f"steps: {steps} given; one update on {entry.environment} takes {unit}")
    return replace(entry, updates=steps // unit)


def _baseline(given: str | None, field: Field) -> str | None:
    names = [contestant.name for contestant in field.contestants]
    if given is not None:
        for name in names:
            if name.lower() == given.lower():
                return name
        raise UserError(f"baseline: {given!r} given; choose from {', '.join(names)}")
    if len(names) == 1:
        return None
    return next((name for name in names if name not in field.learned), names[-1])


def _planned_work(
    protocol: EvaluationProtocol,
    contestants: Sequence[Contestant],
    suite: Sequence[Entry],
    tuned_on: Mapping[AgentConfig, Sequence[Entry]],
) -> float:
    total = 0.0
    for method in (method for contestant in contestants for method in contestant.methods):
        for agent, entries in tuned_on.items():
            agents = len(planned_settings(protocol, method, agent)) * protocol.tuning_seeds
            total += float(agents) * sum(method.steps(entry) for entry in entries)
        total += float(protocol.seeds) * sum(method.steps(entry) for entry in suite)
    return total


def _inputs(name: str, plan: Plan) -> dict[str, Any]:
    """What the results follow from, as JSON data."""
    protocol, suite, field, baseline, _ = plan
    unit = field.contestants[0].methods[0].rollout_steps
    return {
        "suite": versioned(name),
        "steps": [entry.updates * entry.num_environments * unit for entry in suite],
        "protocol": asdict(protocol),
        "baseline": baseline,
        "methods": {
            contestant.name: [digest(method.weights)[:16] for method in contestant.methods]
            for contestant in field.contestants
        },
    }


def _check_folder(folder: Path, inputs: Mapping[str, Any], overwrite: bool) -> None:
    """Raises:
    UserError: the folder holds another evaluation, which would be written over.
    """
    different: list[str] = []
    for name in (RECORD, UNFINISHED):
        try:
            there = parse_json((folder / name).read_bytes())["inputs"]
        except FileNotFoundError:
            continue
        except (OSError, ValueError, KeyError, TypeError):
            there = {}
        different += [key for key in inputs if not isinstance(there, dict) or there.get(key) != inputs[key]]
    different = list(dict.fromkeys(different))
    if different and not overwrite:
        raise UserError(
            f"out: {folder} holds another evaluation ({' and '.join(different)} differ); give another --out, or "
            "--overwrite to replace its tables"
        )


def _provenance(comparison: Comparison, protocol: EvaluationProtocol) -> dict[str, str]:
    found = here()
    return {
        "command": comparison.command,
        "date": found["date"],
        "seed": str(protocol.seed),
        "agents": f"{protocol.seeds} a task, {protocol.tuning_seeds} a setting in tuning",
        "versions": found["versions"],
        "hardware": found["hardware"],
    }


def _told(choice: Choice) -> str:
    values = ", ".join(
        f"{name} {value:g}" + (f" (the {choice.edges[name]} tried)" if name in choice.edges else "")
        for name, value in choice.setting.items()
    )
    best = f"the best of {len(choice.tried)} on {', '.join(choice.worlds)}"
    told = f"{choice.method}, {choice.agent} agents: {values}; {best}"
    return f"{told}, where little was learnt by any" if choice.little else told
