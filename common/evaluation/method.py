"""A way of learning that is compared with others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.lifetimes.lifetime import ProgramMaker
from metaobj.common.types import PyTree

Settings = dict[str, float]


@dataclass(frozen=True, eq=False)
class Method:
    """A rule that agents learn by, its weights, how the agents live, and the settings it may be tuned over."""

    name: str
    rule: Any
    weights: PyTree
    programs: ProgramMaker
    grid: Callable[[AgentConfig], Mapping[str, Sequence[float]]]
    """The grid for a kind of agent; "learning_rate" is in it."""
    span: int = 1
    """How many of the entries' updates one of this method's takes, in environment steps."""

    def settings(self, agent: AgentConfig) -> list[Settings]:
        """All combinations of the grid."""
        grid = self.grid(agent)
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
