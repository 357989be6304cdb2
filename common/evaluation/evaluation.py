"""What an evaluation came to: all that its tables and its page tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from metaobj.common.evaluation.curves import Curves
from metaobj.common.evaluation.method import Settings
from metaobj.common.evaluation.summary import SummaryRow


@dataclass(frozen=True)
class Choice:
    """The setting that a method got for a kind of agent, and what it was chosen from."""

    method: str
    agent: str
    """The kind of agent, such as "dense 64-64"."""
    setting: Settings
    edges: Mapping[str, str]
    """The hyperparameters whose value is the "lowest" or the "highest" of all that were tried."""
    tried: Sequence[tuple[Settings, float]]
    """Every setting with the score that it was chosen by."""
    worlds: Sequence[str] = ()
    """The environments that it was chosen on."""
    little: bool = False
    """Whether agents got little of what is to be had there by any setting, as far as scores are known."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Methods on a suite: what was measured, and under which rules."""

    suite: str
    protocol: str
    """How settings were chosen, in a sentence."""
    curves: Sequence[Curves]
    """One entry per method, all on the same tasks with the same budgets; the first is what was evaluated."""
    rows: Sequence[SummaryRow]
    baseline: str | None
    """The method that the others are compared with."""
    choices: Sequence[Choice]
    sources: Mapping[str, str]
    """By task, where its random and its optimal or best known return are from."""
    provenance: Mapping[str, str]
    """What a reader must know to do it again, in the order to be told: label to value, "command" among them."""
