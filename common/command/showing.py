"""What is known of an objective: its card, if it has one, and what its file says of how it came to be."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from metaobj.common.command.arguments import flag, parse
from metaobj.common.command.lines import say
from metaobj.common.command.options import ShowArguments
from metaobj.common.evaluation.wording import spaced

if TYPE_CHECKING:
    from metaobj.common.objectives.plugin import Loaded, Plugin

ORDER = (
    "objective authors paper source licence trained_on rewards command seed steps starts_from extended date versions "
    "hardware results network"
)
"""What is told first; then what else a card holds."""
LONGEST = 2000
"""Letters of a text; a card may be a stranger's."""


def show(arguments: list[str], console: Console) -> int:
    """Where an objective comes from."""
    from metaobj.common.objectives.loading import load_objective

    loaded = load_objective(parse(ShowArguments, arguments, "show").objective)
    told = facts(loaded)
    say(console, f"{loaded.source}: {told.pop('title')}", indent=0)
    order = ORDER.split()
    names = sorted(told, key=lambda name: order.index(name) if name in order else len(order))
    column = max(map(len, names)) + 4
    for name in names:
        say(console, name.replace("_", " "), told[name][:LONGEST], column=column)
    return 0


def facts(loaded: "Loaded[Any, Any]") -> dict[str, str]:
    """Texts by name: those of the file's card, and where it has none what the file tells by itself."""
    config, metadata, plugin = loaded.config, loaded.metadata, loaded.plugin
    found = {"title": plugin.name_of(loaded.objective), "objective": f"{plugin.kind}: {plugin.summary}"}
    worlds = ", ".join(f"{entry.lifetimes} x {entry.environment}" for entry in loaded.entries)
    found["trained_on"] = f"{config.distribution}: {worlds}"
    scaled = getattr(getattr(config, "value", None), "scale_rewards", None)
    if scaled is not None:
        found["rewards"] = "divided by the running size of returns" if scaled else "as they are"
    if "meta_updates" in metadata:  # else it is not of this package's training
        steps = metadata.get("environment_steps", 0)
        found["command"] = train_command(plugin, config)
        found["seed"] = str(config.seed)
        found["steps"] = f"{metadata['meta_updates']} meta-updates, {spaced(steps)} environment steps"
    provenance = metadata.get("provenance")
    provenance = provenance if isinstance(provenance, Mapping) else {}
    own = ("command", "date", "versions", "hardware")
    found |= {name: str(provenance[name]) for name in own if name in provenance}
    if chain := " <- ".join(_origins(provenance.get("init", {"name": config.init} if config.init else None))):
        found["starts_from"] = chain
    if isinstance(extended := provenance.get("extended"), list):
        found["extended"] = ", ".join(map(_extended, extended))
    found["network"] = f"{_count(loaded.eta)} weights; digest {str(metadata['digest'])[:16]}"
    card = metadata.get("card")
    return found | {str(name): str(text) for name, text in (card if isinstance(card, Mapping) else {}).items()}


def _count(eta: Any) -> int:
    return sum(_count(part) for part in eta.values()) if isinstance(eta, Mapping) else int(eta.size)


def _origins(origin: Any) -> Iterator[str]:
    """What it starts from, and what that starts from, and so on."""
    while isinstance(origin, Mapping) and "name" in origin:
        known = [f"{origin['meta_updates']} meta-updates"] if "meta_updates" in origin else []
        known += [f"digest {str(origin['digest'])[:16]}"] if "digest" in origin else []
        yield f"{origin['name']}" + (f" ({', '.join(known)})" if known else "")
        origin = origin.get("init")


def _extended(one: Any) -> str:
    if not isinstance(one, Mapping) or not {"at", "from", "to", "date"} <= set(one):
        return str(one)
    return f"at step {one['at']} from {one['from']} to {one['to']} meta-updates ({one['date']})"


def train_command(plugin: "Plugin[Any, Any]", config: Any) -> str:
    """What a user types for a run of this configuration, in whatever folder: the nearest preset, and what differs."""
    import shlex

    ways = {name: list(differences(preset, config)) for name, preset in plugin.presets.items()}
    nearest = min(ways, key=lambda name: (len(ways[name]), name != plugin.default_preset))
    words = [] if nearest == plugin.default_preset else ["--preset", nearest]
    return shlex.join(["metaobj", "train", plugin.kind, *words, *(word for way in ways[nearest] for word in way)])


def differences(before: Any, after: Any, prefix: str = "") -> Iterator[list[str]]:
    """The flags with their values that make one configuration of another."""
    for field in fields(after):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if is_dataclass(new):
            yield from differences(old, new, f"{prefix}{field.name}.")
        elif old != new:
            if isinstance(new, bool):
                yield [flag(f"{prefix}{'' if new else 'no_'}{field.name}")]
            else:
                yield [flag(prefix + field.name), *map(str, new if isinstance(new, tuple) else [new])]
