"""What stands below the tables of an evaluation, so that they are read as they are meant."""

from collections.abc import Iterable, Mapping, Sequence

from metaobj.common.evaluation.bootstrap import COVERAGE, ENOUGH_SEEDS, META_COVERAGE
from metaobj.common.evaluation.curves import ALL, Curves
from metaobj.common.evaluation.summary import SummaryRow


def general_notes(rows: Sequence[SummaryRow]) -> list[str]:
    """What the reader of the tables must know, only where it applies."""
    notes = [
        "Final: mean of the last 10 % of bins.   Area: mean over the lifetime.",
        "Best: at the task's best bin, in which the mean over seeds is highest.",
    ]
    groups = {row.group: row for row in rows if row.kind == "group"}
    if any(row.measure == "score" for row in rows):
        notes.append(
            "score: return per task; 0 is random, 1 the best known, or what the baseline ends at where that is unknown."
        )
    raw = [row.group for row in groups.values() if row.measure == "return"]
    if raw:
        left_out = ", left out of 'all normalised'" if ALL in groups else ""
        why = "reference not known, or the baseline gains nothing"
        notes.append(f"return: raw episode return, {why}{left_out}: {', '.join(raw)}.")
    alone = list(dict.fromkeys(row.task for row in rows if row.kind == "task" and not row.headline))
    if alone:
        why = "they ask for exploration or for memory more than for a way of learning"
        notes.append(f"Left out of the means over tasks: {', '.join(alone)}; {why}.")
    if any(row.meta_seeds > 1 for row in rows):
        notes.append("Intervals redraw meta-seeds, the same on every task, and then the agents of each.")
    return notes + _few_seeds(rows)


def _few_seeds(rows: Sequence[SummaryRow]) -> list[str]:
    notes = []
    seeds = min((row.seeds for row in rows if row.meta_seeds == 1), default=ENOUGH_SEEDS)
    if seeds == 1:
        notes.append("One seed only: its intervals cannot show the spread between seeds.")
    elif seeds < ENOUGH_SEEDS:
        notes.append(f"{seeds} seeds a task only: {_covered(COVERAGE.values(), seeds)}")
    meta_seeds = min((row.meta_seeds for row in rows if row.meta_seeds > 1), default=ENOUGH_SEEDS)
    if meta_seeds < ENOUGH_SEEDS:
        notes.append(f"{meta_seeds} meta-seeds only: {_covered(META_COVERAGE.values(), meta_seeds)}")
    return notes


def _covered(tables: Iterable[Mapping[int, int]], seeds: int) -> str:
    shares = [table[max(known for known in table if known <= seeds)] for table in tables]
    span = f"{min(shares)} to {max(shares)} %"
    return (
        f"95 % intervals hold the truth in {span} of cases, least often where runs either fail or succeed; take "
        f"{ENOUGH_SEEDS} or more."
    )


def task_notes(rows: Sequence[SummaryRow]) -> list[str]:
    """What the reader of the table of tasks must know."""
    notes = []
    if any(row.random is not None or row.optimal is not None for row in rows):
        notes.append("random, score 1: the returns that scores of 0 and 1 stand for.")
    lost: dict[str, int] = {}
    for row in rows:
        if row.measure == "return" and row.diverged:
            lost[row.method] = lost.get(row.method, 0) + row.diverged
    if not lost:
        return [*notes, "No agent diverged."]
    counts = ", ".join(f"{count} of {method}" for method, count in lost.items())
    return [
        *notes,
        f"Diverged: agents whose numbers were no longer finite ({counts} in all); from there on they have the worst "
        "return of the task.",
    ]


def restart_notes(curves: Sequence[Curves]) -> list[str]:
    """Of agents that go on where others have diverged."""
    counts = ", ".join(f"{entry.method} {entry.restarts}" for entry in curves if entry.restarts)
    return [f"Restarts: how often learning began anew where a number was not finite: {counts}."] if counts else []
