"""A way of learning that is compared with others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.errors import LengthError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Program, ProgramMaker
from metaobj.common.types import PyTree

Settings = dict[str, float]
FEW = 5
"""Learning rates of a method where nothing else is tuned."""


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
    usual: Callable[[AgentConfig], Mapping[str, float]] = lambda agent: {}
    """For a kind of agent, hyperparameters where only the learning rate is tuned; the middle of the grid for others."""

    def steps(self, entry: Entry) -> int:
        """Environment steps of one agent's life in an entry, for every method the same."""
        return entry.updates * self.rollout_steps * entry.num_environments

    def updates(self, entry: Entry, program: Program[Any, Any]) -> int:
        """How many of its updates an agent of this method makes in an entry's life. One with early steps may leave
        fewer steps than an update takes.

        Raises:
            LengthError: no whole number takes exactly the steps of that life.
        """
        steps = self.steps(entry)
        updates, left = divmod(steps - program.early_steps, program.steps_per_update)
        if updates < 1 or (left and not program.early_steps):
            raise LengthError(
                f"{entry.environment}: {steps} steps given; an update of {self.name} takes {program.steps_per_update}, "
                "which must divide them"
            )
        return updates

    def settings(self, agent: AgentConfig) -> list[Settings]:
        """All combinations of the grid."""
        grid = self.grid(agent)
        return [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]

    def few_settings(self, agent: AgentConfig) -> list[Settings]:
        """`FEW` learning rates, all else as usual: the same effort for every method."""
        grid = self.grid(agent)
        rest = {name: sorted(values)[(len(values) - 1) // 2] for name, values in grid.items()} | dict(self.usual(agent))
        return [{**rest, "learning_rate": rate} for rate in few(grid["learning_rate"])]


def few(rates: Sequence[float], number: int = FEW) -> list[float]:
    """`number` values over the range of a geometric grid; a smaller grid is carried on at both ends by its ratio."""
    values = sorted({rate for rate in rates if rate > 0} or {*rates})
    if len(values) >= number:
        return [values[round(at * (len(values) - 1) / (number - 1))] for at in range(number)]
    ratio = values[-1] / values[-2] if len(values) > 1 else 4.0
    while len(values) < number:
        values = [*values, values[-1] * ratio]
        if len(values) < number:
            values = [values[0] / ratio, *values]
    return values


def edges(grid: Sequence[Settings], tried: Sequence[Settings], best: Settings) -> dict[str, str]:
    """The hyperparameters of which the best setting has the "lowest" or the "highest" value: at the end of the grid or
    beyond it, and nothing further was tried beside the best setting's other values. 0 is no edge: nothing is below it.
    """
    found = {}
    for name, value in best.items():
        values = sorted({setting[name] for setting in grid})
        beside = [s[name] for s in tried if all(s[other] == best[other] for other in best if other != name)]
        if len(values) > 1 and value >= values[-1] and value == max(beside):
            found[name] = "highest"
        elif len(values) > 1 and 0 < value <= values[0] and value == min(beside):
            found[name] = "lowest"
    return found


def beyond(grid: Sequence[Settings], tried: Sequence[Settings], best: Settings) -> list[Settings]:
    """The settings one step beyond each edge that the best one lies on: by the ratio at that end of the grid, at most
    four times as much or as little.
    """
    more = []
    for name, end in edges(grid, tried, best).items():
        values = sorted({setting[name] for setting in grid})
        if end == "highest":
            factor = min(values[-1] / values[-2], 4.0) if values[-2] > 0 else 4.0
        else:
            factor = 1 / min(values[1] / values[0], 4.0)
        more.append({**best, name: best[name] * factor})
    return more
