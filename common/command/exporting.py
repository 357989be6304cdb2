"""`metaobj export`: an objective as one module for programs without this package.

What is imported at the top must not use JAX, as in `cli.py`.
"""

import io
import keyword
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.markup import escape

from metaobj.common.command.arguments import parse
from metaobj.common.command.lines import printable
from metaobj.common.command.options import ExportArguments
from metaobj.common.command.places import check_out
from metaobj.common.command.showing import LONGEST, facts
from metaobj.common.errors import UserError
from metaobj.common.files import atomic_write, is_there, make_folder

if TYPE_CHECKING:
    from metaobj.common.lifetimes.distributions import Entry
    from metaobj.common.objectives.exported import Exported, Library
    from metaobj.common.objectives.plugin import Loaded

WIDTH = 120
TOLD = ("objective", "paper", "trained_on", "command", "steps", "starts_from", "date", "versions", "network")
"""Facts that a module's head holds, beside the licence."""


def export(arguments: list[str], console: Console) -> int:
    """An objective in another library's words."""
    from metaobj.common.objectives.loading import load_objective

    chosen = parse(ExportArguments, arguments, "export")
    loaded = load_objective(chosen.objective)
    path = chosen.out or Path(module_name(chosen.objective) + ".py")
    if path.suffix != ".py" or not path.stem.isidentifier() or keyword.iskeyword(path.stem):
        raise UserError(f"out: {path} given; must be the name of a Python module, such as objective.py")
    check_out(path.parent)
    for file in (path, path.with_suffix(".npz")):
        if is_there(file):
            raise UserError(f"out: {path} given; {file} is there already")
    make_folder(path.parent)
    for file in write_module(loaded, chosen.to, path):
        console.print(escape(str(file)), soft_wrap=True)
    return 0


def module_name(objective: str) -> str:
    """What the module of an objective is called where the user does not tell: pretrained:some-name is some_name."""
    name = re.sub(r"\W+", "_", Path(objective.rpartition(":")[2]).name.removesuffix(".safetensors")).strip("_").lower()
    return name if name.isidentifier() and not keyword.iskeyword(name) else f"objective_{name}".strip("_")


def write_module(loaded: "Loaded[Any, Any]", library: "Library", path: Path) -> tuple[Path, Path]:
    """Write an objective as a module and its weights beside it: (module, weights).

    Raises:
        UserError: objectives of its kind cannot be said so, or a file cannot be written.
    """
    from metaobj.common.objectives.file import flatten
    from metaobj.common.objectives.plugin import unable

    plugin = loaded.plugin
    if plugin.export is None:
        raise unable(loaded.source, plugin, "export", "exported")
    exported = plugin.export(loaded, library)
    weights = io.BytesIO()
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in flatten(loaded.eta).items()}
    np.savez(weights, **arrays)
    beside = path.with_suffix(".npz")
    atomic_write(beside, weights.getvalue())
    atomic_write(path, "\n".join(_head(loaded, exported, beside.name, path.stem)) + "\n\n" + exported.code)
    return path, beside


def _head(loaded: "Loaded[Any, Any]", exported: "Exported", weights: str, name: str) -> Iterator[str]:
    """Comments, and no docstring: no text of a stranger's file can end a line of them and be run."""
    told = facts(loaded)
    title = told.pop("title")
    yield from _comment(f"{title}. A learned objective, exported from metaobj; {weights} beside it holds its weights.")
    yield "#"
    licence = told.get("licence", "its file tells none")
    lines = {"from": loaded.source, "licence": licence, **{key: told[key] for key in TOLD if key in told}}
    lines["agents it knows"] = "; ".join(_agents(loaded))
    for key, text in lines.items():
        yield from _comment(text[:LONGEST], f"{key.replace('_', ' ') + ':':17}")
    for note in exported.notes:
        yield from _comment(note, f"{'note:':17}")
    yield "#"
    yield "#     import " + (name if name == "objective" else f"{name} as objective")
    yield "#"
    yield from (f"#     {line}" for line in exported.use.splitlines())


def _comment(text: str, first: str = "") -> Iterator[str]:
    lines = textwrap.wrap(printable(text), WIDTH - 2 - len(first), break_on_hyphens=False)
    for at, line in enumerate(lines):
        yield f"# {first if at == 0 else ' ' * len(first)}{line}"


def _agents(loaded: "Loaded[Any, Any]") -> Iterator[str]:
    """The agents that it was trained with, and what was best for them, or what was tried where that is not known."""
    by_agent: dict[str, dict[str, list[float]]] = {}
    for number, entry in enumerate(loaded.entries):
        found, setting = by_agent.setdefault(_agent(entry), {}), loaded.settings[number] if loaded.settings else {}
        tried = {"learning_rate": entry.learning_rates, **loaded.hyperparameters}
        for name, values in tried.items():
            found.setdefault(name, []).extend([setting[name]] if name in setting else values)
    for agent, found in by_agent.items():
        yield f"{agent}: " + ", ".join(map(_range, found, found.values()))


def _agent(entry: "Entry") -> str:
    agent = entry.agent
    if entry.continuous:  # the objective's own configuration tells the rest
        return agent.torso
    channels = agent.channels if agent.torso == "conv" else ()
    hidden = agent.hidden if agent.torso in ("dense", "conv") else ()
    return " ".join([agent.torso, *map(str, (*channels, *hidden))]) + f" by {agent.optimiser}"


def _range(name: str, values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{name} {low:g}" + (f" to {high:g}" if high > low else "")
