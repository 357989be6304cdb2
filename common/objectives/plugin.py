"""How an objective makes itself known: an entry point in the group `metaobj.objectives`.

Anyone's package can add one; `common` imports none by name.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from metaobj.common.errors import UserError
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import Protocol
from metaobj.common.lifetimes.lifetime import ProgramMaker
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.rules.on_policy import Objective
from metaobj.common.types import PyTree

GROUP = "metaobj.objectives"


@dataclass(frozen=True)
class Plugin:
    """One kind of learned objective."""

    kind: str
    summary: str
    presets: Mapping[str, MetaTrainingConfig]
    """Named configurations, all of one type; a subclass of `MetaTrainingConfig`."""
    default_preset: str
    build: Callable[[Any], Objective]
    programs: Callable[[Any, Any], ProgramMaker]
    """(configuration, a rule) to how the rule's agents live."""
    baselines: Callable[[Any], list[Method]]
    """Rules that people wrote, to compare with an objective of this configuration."""
    hyperparameters: Callable[[Any], Mapping[str, Sequence[float]]]
    """The agents' hyperparameters beside the learning rate, {name: values}, that the sampler chooses from."""
    describe: Callable[[Any], dict[str, Any]]
    """What an objective file must hold to build the objective again, as JSON data."""
    rebuild: Callable[[Mapping[str, Any]], Objective]
    """The inverse of `describe`."""
    interface: Callable[[Any, PyTree, Mapping[str, Any]], Any]
    """(objective, eta, metadata) to what `metaobj.load` gives: the objective for agents of one's own."""
    protocol: Protocol
    """Sizes of an evaluation where the user does not tell."""
    suite: str
    """What is evaluated on where the user does not tell."""
    inspect: Callable[[Any, PyTree, Mapping[str, Any], Path], list[Path]]
    """Draw what the objective does: (objective, eta, metadata, folder) -> the files written."""


def plugins() -> dict[str, Plugin]:
    """The installed objectives by kind."""
    found = {}
    for entry in metadata.entry_points(group=GROUP):
        plugin = entry.load()
        found[plugin.kind] = plugin
    return found


def get_plugin(kind: str) -> Plugin:
    """The objective of a kind; UserError where none is installed."""
    found = plugins()
    if kind not in found:
        raise UserError(f"objective: {kind!r} is unknown; choose from {', '.join(sorted(found))}")
    return found[kind]
