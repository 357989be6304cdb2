"""What there is to choose from, by name and in a line each.

What is imported at the top must not use JAX, as in `cli.py`.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from rich.console import Console

from metaobj.common.command.arguments import parse
from metaobj.common.command.lines import NARROW, say
from metaobj.common.command.options import ListArguments
from metaobj.common.errors import UserError

if TYPE_CHECKING:
    from metaobj.common.lifetimes.distributions import Entry


class Line(NamedTuple):
    """What is told of one name."""

    name: str
    text: str = ""
    continuous: bool | None = False
    """Whether it is for agents whose actions are; None suits either."""
    more: tuple[str, ...] = ()
    """Where its own kind alone is listed."""
    beside: bool = True
    """Whether the text stands beside the name, and not below it."""


def list_all(arguments: list[str], console: Console) -> int:
    """Objectives, presets, pretrained objectives, distributions, suites, environments."""
    chosen = parse(ListArguments, arguments, "list")
    shown = SECTIONS if chosen.what == "all" else {chosen.what: SECTIONS[chosen.what]}
    if chosen.continuous and chosen.discrete:
        raise UserError("discrete: given with --continuous; leave one of them out")
    left_out = {False} if chosen.continuous else {True} if chosen.discrete else set()
    for section in shown.values():
        for title, lines in section():
            kept = [line for line in lines if line.continuous not in left_out]
            if not kept:
                continue
            console.print(f"[bold]{title}[/]", highlight=False, soft_wrap=True)
            column = max(len(line.name) for line in kept) + 4
            for line in kept:
                say(console, line.name, line.text, column=column if line.beside else 0)
                for text in line.more if chosen.what != "all" else ():
                    say(console, text, indent=column if console.width >= NARROW else 4)
    return 0


Section = Iterator[tuple[str, Sequence[Line]]]


def _objectives() -> Section:
    from metaobj.common.objectives.plugin import plugins

    lines = []
    for kind, plugin in plugins().items():
        config = plugin.presets[plugin.default_preset]
        against = ", ".join(method.name for method in plugin.baselines(config))
        sizes = plugin.protocol
        more = [f"on {plugin.suite} against {against}: {sizes.seeds} agents, {sizes.tuning_seeds} in tuning"]
        if methods := ", ".join(method.name for method in plugin.methods(config.rollout_steps)):
            more.append(f"methods for any comparison: {methods}")
        lines.append(Line(kind, plugin.summary, plugin.continuous, tuple(more)))
    yield "objectives: metaobj train KIND", lines


def _presets() -> Section:
    from metaobj.common.objectives.plugin import plugins

    for kind, plugin in plugins().items():
        lines = [Line(name, plugin.about.get(name, ""), plugin.continuous) for name in plugin.presets]
        yield f"presets: metaobj train {kind} --preset NAME", lines


def _pretrained() -> Section:
    from metaobj.common.objectives.file import PRETRAINED, load, pretrained_names
    from metaobj.common.objectives.plugin import plugins

    lines, kinds = [], plugins()
    for name in pretrained_names():
        _, metadata = load(PRETRAINED + name)
        plugin = kinds.get(metadata["kind"])
        card = metadata.get("card", {})
        authors = f", by {card['authors']}" if "authors" in card else ""
        title = card.get("title", metadata["kind"])
        lines.append(Line(PRETRAINED + name, title + authors, plugin is not None and plugin.continuous))
    yield "pretrained objectives: metaobj show NAME", lines


def _distributions() -> Section:
    from metaobj.common.lifetimes.distributions import ABOUT, DISTRIBUTIONS
    from metaobj.common.objectives.plugin import plugins

    of_all = [(name, entries, ABOUT.get(name, "")) for name, entries in DISTRIBUTIONS.items()]
    of_kinds = [
        (name, entries, f"{plugin.about.get(name, '')} ({kind} alone)")
        for kind, plugin in plugins().items()
        for name, entries in plugin.distributions.items()
    ]
    lines = [
        Line(name, about, _continuous(entries), (", ".join(e.environment for e in entries),))
        for name, entries, about in of_all + of_kinds
    ]
    yield "distributions: metaobj train KIND --distribution NAME", lines


def _suites() -> Section:
    from metaobj.common.evaluation.suites import APART, SUITES

    lines = []
    for suite in SUITES.values():
        names = [entry.environment for entry in suite.entries]
        told = ", ".join(f"{name} (in no mean: asks for {APART[name]})" if name in APART else name for name in names)
        needs = "".join(f"; needs the extra {extra}" for extra in suite.extras)
        lines.append(Line(str(suite), suite.about + needs, _continuous(suite.entries), (told,)))
    yield "suites: metaobj evaluate OBJECTIVE --suite NAME", lines


def _environments() -> Section:
    from metaobj.common.environments.names import CONTINUOUS, needed_extra
    from metaobj.common.environments.protocol import Discrete
    from metaobj.common.environments.registry import environment_groups, make_environment

    def continuous(name: str) -> bool:
        if extra := needed_extra(name):  # which need not be installed
            return extra in CONTINUOUS
        return not isinstance(make_environment(name)[0].action_space, Discrete)

    lines = []
    for group, names in environment_groups().items():
        extra = needed_extra(names[0])
        needs = f", needs the extra {extra}" if extra else ""
        for kind, actions in ((False, "discrete"), (True, "continuous")):
            if same := [name for name in names if continuous(name) == kind]:
                title = f"{group}: {actions} actions{needs}"
                lines.append(Line(title, ", ".join(joined(same)), kind, beside=False))
    others = {
        "Gymnasium: any that it knows by an id, needs the extra gymnasium": "gymnasium/ID",
        "your own, from a module of yours": "module:object",
    }
    lines += [Line(title, name, None, beside=False) for title, name in others.items()]
    yield "environments: each is a distribution and a suite of its own", lines


def joined(names: Sequence[str]) -> list[str]:
    """Names, those that only add something to another one's behind it: "a, a/x, a/y, b" as "a (/x /y), b"."""
    bases = [name for name in names if not any(name.startswith(f"{other}/") for other in names)]
    ends = {base: " ".join(n.removeprefix(base) for n in names if n.startswith(f"{base}/")) for base in bases}
    if len(set(ends.values())) == 1 and len(bases) > 1 and (end := ends[bases[0]]):
        return [*bases, f"each also with {end} behind"]
    return [f"{base} ({end})" if (end := ends[base]) else base for base in bases]


def _continuous(entries: "Sequence[Entry]") -> bool:
    return all(entry.continuous for entry in entries)


SECTIONS: dict[str, Callable[[], Section]] = {
    "objectives": _objectives,
    "presets": _presets,
    "pretrained": _pretrained,
    "distributions": _distributions,
    "suites": _suites,
    "environments": _environments,
}
