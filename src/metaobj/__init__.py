"""Learned objectives for reinforcement learning: `train` makes one, `evaluate` tells what it is worth, and `load` gives
one for agents of one's own.

The packages are the top-level folders of the repository; here stand links to them, so that what is installed has one
import name. (No build backend maps a folder to a nested package in an editable install that a type checker can follow,
and a bare `common` would be hidden by, or hide, a `common` of the user's.)
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metaobj.common.objectives.calls import evaluate, train
    from metaobj.common.types import Rollout

__all__ = ["Rollout", "evaluate", "load", "train"]


def load(path_or_name: str | Path) -> Any:
    """The objective in a file, in a run folder or under `pretrained:NAME`, whatever its kind.

    Returns:
        What the `load` of its kind gives: a `metaobj.lpg.LoadedLPG`, a `metaobj.metagenrl.LoadedMetaGenRL`, ...

    Raises:
        UserError: there is none, it is damaged, or of a kind or version that is not installed.
    """
    from metaobj.common.objectives.loading import load_objective

    loaded = load_objective(path_or_name)
    return loaded.plugin.interface(loaded)


def __getattr__(name: str) -> Any:
    """Imported when it is asked for: JAX takes its time, and the command begins with this package."""
    if name == "Rollout":
        from metaobj.common.types import Rollout

        return Rollout
    if name in ("evaluate", "train"):
        from metaobj.common.objectives import calls

        return getattr(calls, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
