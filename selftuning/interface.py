"""The numbers of an actor-critic that a file holds, for agents of one's own."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Loaded
from metaobj.selftuning.config import SelfTuningTraining
from metaobj.selftuning.rule import SelfTuning


@dataclass(frozen=True, eq=False)
class LoadedSelfTuning:
    """What was tuned."""

    values: dict[str, tuple[float, ...]]
    """By name, of the policy that acts first, then of auxiliary heads."""
    metadata: dict[str, Any]
    """All that the file says."""

    @classmethod
    def of(cls, loaded: Loaded[SelfTuningTraining, SelfTuning]) -> Self:
        """From what was loaded."""
        values = loaded.objective.values(loaded.eta)
        return cls({name: tuple(np.asarray(value).tolist()) for name, value in values.items()}, dict(loaded.metadata))


def load(path_or_name: str | Path) -> LoadedSelfTuning:
    """The numbers in a file, a run folder or under `pretrained:NAME`.

    Raises:
        UserError: there are none, they are damaged, or of another kind or version.
    """
    return LoadedSelfTuning.of(load_objective(path_or_name, "selftuning"))
