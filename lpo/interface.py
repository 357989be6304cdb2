"""A learned drift for agents of one's own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jax

from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.own_agents import one_line
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import PyTree
from metaobj.lpo.config import LPOTraining
from metaobj.lpo.objective import LPO


@dataclass(frozen=True, eq=False, repr=False)
class LoadedLPO:
    """A frozen objective: pure functions of each step's probability ratio and advantage."""

    objective: LPO
    eta: PyTree
    metadata: Mapping[str, Any]
    """What its file says of it."""

    def __repr__(self) -> str:
        return one_line("LPO", self.eta, self.metadata)

    @classmethod
    def of(cls, loaded: Loaded[LPOTraining, LPO]) -> Self:
        """What a file holds."""
        return cls(loaded.objective, loaded.eta, loaded.metadata)

    def drift(self, log_ratio: jax.Array, advantage: jax.Array) -> jax.Array:
        """The drift f [...]: nowhere negative, with value and slope 0 where the ratio is 1. See `loss`."""
        return self.objective.drift(self.eta, log_ratio, advantage)

    def loss(self, log_ratio: jax.Array, advantage: jax.Array) -> jax.Array:
        """-(r A - f) [...], which the policy descends in the mean, in the place of PPO's clipped surrogate; for any
        optimiser, under jit and vmap.

        Args:
            log_ratio: log pi(a|s) - log pi_old(a|s) [...], which the gradient goes through.
            advantage: A [...], of mean 0 and variance 1 over the minibatch.
        """
        return self.objective.surrogate(self.eta, log_ratio, advantage)


def load(path_or_name: str | Path) -> LoadedLPO:
    """The LPO in a file, a run folder or under `pretrained:NAME`.

    Raises:
        UserError: there is none, it is damaged, or of another kind or version.
    """
    return LoadedLPO.of(load_objective(path_or_name, "lpo"))
