"""Numbers and remarks as words, the same in the terminal and on the page."""

from collections.abc import Sequence

from metaobj.common.evaluation import statistics
from metaobj.common.evaluation.curves import ALL
from metaobj.common.evaluation.summary import SummaryRow


def group_label(group: str) -> str:
    """What a group is called."""
    return "all normalised" if group == ALL else group


def notes_on(rows: Sequence[SummaryRow]) -> list[str]:
    """What the reader of the tables must know, only where it applies."""
    notes = []
    groups = {row.group: row for row in rows if row.kind == "group"}
    if any(row.measure == "score" for row in groups.values()):
        notes.append(
            "score: return normalised per task, 0 = random agent, 1 = optimal, or the baseline where that is unknown."
        )
    raw = [row.group for row in groups.values() if row.measure == "return"]
    if raw:
        left_out = ", left out of 'all normalised'" if ALL in groups else ""
        why = "reference not known, or the baseline gains nothing"
        notes.append(f"return: raw episode return, {why}{left_out}: {', '.join(raw)}.")
    fewest = min(row.seeds for row in rows)
    if fewest == 1:
        notes.append("One seed only: its intervals cannot show the spread between seeds.")
    elif fewest < statistics.ENOUGH_SEEDS:
        share = max(percent for seeds, percent in statistics.COVERAGE.items() if seeds <= fewest)
        notes.append(
            f"{fewest} seeds a task only: their 95 % intervals hold the truth in about {share} % of cases; take "
            f"{statistics.ENOUGH_SEEDS} or more."
        )
    for row in rows:
        if row.kind == "task" and row.diverged:
            notes.append(
                f"DIVERGED: {row.diverged} of {row.seeds} agents of {row.method} on {row.task} (from there on they "
                "have the worst return of the task)."
            )
    return list(dict.fromkeys(notes))  # a task may have a row for each of its measures


def with_interval(point: float, low: float, high: float, sign: str = "") -> str:
    """The three numbers with as many decimals as the largest of them allows in a narrow column."""
    largest = max(abs(point), abs(low), abs(high))
    return f"{digits(point, largest, sign)} [{digits(low, largest, sign)}, {digits(high, largest, sign)}]"


def digits(value: float, largest: float, sign: str = "") -> str:
    """A number with the decimals that suit the largest of those it is told with."""
    decimals = 4 if largest < 0.01 else 3 if largest < 10 else 1 if largest < 1000 else 0
    # The z writes what rounds to minus zero as zero.
    return f"{value:{sign}z.{decimals}f}" if largest < 1e6 else f"{value:{sign}.3g}"
