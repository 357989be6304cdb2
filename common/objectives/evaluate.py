"""An objective file against rules that people wrote, on a suite: tuning, training, report."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.errors import UserError
from metaobj.common.evaluation import report
from metaobj.common.evaluation.method import Method, Settings
from metaobj.common.evaluation.protocol import EvaluationProtocol, check_sizes, check_steps, evaluate, tune
from metaobj.common.evaluation.results import Curves, SummaryRow, relative_to, score_diverged
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.files import atomic_write
from metaobj.common.lifetimes.distributions import NETWORK_RATES, TABULAR_RATES, Entry
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Loaded


def learned(loaded: Loaded[Any, Any]) -> Method:
    """A learned objective, tuned over the settings it was trained with; its agents live as they did in training."""
    rates: dict[str, tuple[float, ...]] = {}
    for entry in loaded.entries:
        known = rates.get(entry.agent.torso, ())
        rates[entry.agent.torso] = tuple(sorted({*known, *entry.learning_rates}))
    names = [n for n in loaded.objective.hyperparameters if n != "learning_rate"]
    shared = {n: loaded.hyperparameters[n] for n in names}

    def grid(agent: AgentConfig) -> Mapping[str, Sequence[float]]:
        if agent.torso in rates:
            return {"learning_rate": rates[agent.torso], **shared}
        return {"learning_rate": TABULAR_RATES if agent.torso == "tabular" else NETWORK_RATES, **shared}

    programs = loaded.plugin.programs(loaded.config, loaded.objective)
    name = loaded.plugin.name_of(loaded.objective)
    return Method(name, loaded.objective, loaded.eta, programs, grid, loaded.config.rollout_steps)


def tuning_entries(trained_on: Sequence[Entry], agent: AgentConfig, longest: int, limit: int = 2) -> list[Entry]:
    """Training environments for tuning a kind of agent: those that the objective was trained on, at most `limit`, the
    most frequent first; where it has none of that kind, the small random grid. Lives are at most `longest` updates, the
    same for every method.
    """
    same = sorted((e for e in trained_on if e.agent.torso == agent.torso), key=lambda e: -e.lifetimes)[:limit]
    if same:
        return [replace(entry, agent=agent, updates=min(entry.updates, longest)) for entry in same]
    if agent.torso == "tabular":
        return [Entry("grid/small_layouts")]
    return [Entry("grid/random_small", updates=longest, agent=agent, learning_rates=NETWORK_RATES)]


def evaluate_objective(
    path: str,
    suite_name: str,
    directory: Path,
    protocol: EvaluationProtocol,
    baselines: bool = True,
    console: Console | None = None,
    against: str | None = None,
    trust: bool = False,
) -> list[SummaryRow]:
    """Evaluate, print the table, leave CSV files and pictures in `directory`.

    `trust` is whether modules that the file names as training environments may be imported, for tuning on them.

    Raises:
        UserError: the objective or the suite cannot be used.
    """
    console = console or Console(quiet=True)
    loaded = load_objective(path, trust=trust)
    trained_on = loaded.environments()
    suite = make_suite(suite_name)
    methods = [learned(loaded)]
    if baselines:
        known = loaded.plugin.baselines(loaded.config)
        methods += _chosen(known, against)
    longest = protocol.longest_tuning_life
    tuned_on = {agent: tuning_entries(trained_on, agent, longest) for agent in {entry.agent: None for entry in suite}}
    for method in methods:  # refuses what cannot be run before time is spent
        check_sizes(protocol, method, suite, [entry for entries in tuned_on.values() for entry in entries])
    check_steps(methods, suite)
    curves: list[Curves] = []
    chosen: dict[str, dict[str, Any]] = {}
    with console.status("evaluating") as status:

        def say(line: str) -> None:
            status.update(line)

        for method in methods:
            best: dict[AgentConfig, Settings] = {}
            for agent, entries in tuned_on.items():
                best[agent], table = tune(protocol, method, entries, say)
                chosen.setdefault(method.name, {})[_label(agent)] = {"best": best[agent], "scores": table}
            settings = {entry.environment: best[entry.agent] for entry in suite}
            curves.append(evaluate(protocol, method, suite, settings, say))
    curves = score_diverged(curves)
    baseline = methods[1].name if len(methods) > 1 else None
    if baseline is not None:
        curves = relative_to(curves, baseline)
    rows = report.write(directory, curves, baseline=baseline, console=console)
    record = {"objective": path, "suite": suite_name, "protocol": asdict(protocol), "tuning": chosen}
    atomic_write(directory / "evaluation.json", json.dumps(record, indent=1) + "\n")
    for method in methods:
        for label, entry in chosen[method.name].items():
            values = ", ".join(f"{name} {value:g}" for name, value in entry["best"].items())
            console.print(f"{method.name}, {label} agents: {values} (best of {len(entry['scores'])})", highlight=False)
    return rows


def _chosen(known: Sequence[Method], names: str | None) -> list[Method]:
    """The methods with these names, joined by "+"; the first one where none is named."""
    if names is None:
        return list(known[:1])
    by_name = {method.name.lower(): method for method in known}
    wanted = names.lower().split("+")
    for name in wanted:
        if name not in by_name:
            raise UserError(f"against: {name!r} given; choose from {', '.join(method.name for method in known)}")
    return [by_name[name] for name in dict.fromkeys(wanted)]


def _label(agent: AgentConfig) -> str:
    widths = "-".join(map(str, (agent.channels if agent.torso == "conv" else ()) + agent.hidden))
    return f"{agent.torso} {widths}".strip() if agent.torso != "tabular" else agent.torso
