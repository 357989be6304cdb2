"""A way of learning that is compared with others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Program, ProgramMaker
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
    rollout_steps: int
    """T of the entries' updates: each stands for T steps of each environment, whatever the method's own takes."""

    def updates(self, entry: Entry, program: Program[Any, Any]) -> int:
        """How many of its updates an agent of this method makes in an entry's life.

        Raises:
            UserError: no whole number takes exactly the steps of that life.
        """
        steps = entry.updates * self.rollout_steps * entry.num_environments
        updates, left = divmod(steps, program.steps_per_update)
        if left:
            raise UserError(
                f"{entry.environment}: {steps} steps given; an update of {self.name} takes {program.steps_per_update}, "
                "which must divide them"
            )
        return updates

    def settings(self, agent: AgentConfig) -> list[Settings]:
        """All combinations of the grid."""
        grid = self.grid(agent)
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
