"""What the page says in sentences."""

from metaobj.common.evaluation.bootstrap import COVERAGE
from metaobj.common.evaluation.curves import ALL
from metaobj.common.evaluation.evaluation import Evaluation
from metaobj.common.evaluation.page import derived
from metaobj.common.evaluation.page.cells import counted
from metaobj.common.evaluation.page.results import HIGHER, LOWER, UNCLEAR, verdict
from metaobj.common.evaluation.wording import digits, with_interval


def title(evaluation: Evaluation) -> str:
    """The page's title."""
    method = _told_of(evaluation)
    against = f" against {evaluation.baseline}" if evaluation.baseline not in (None, method) else ""
    return f"{method}{against} on {evaluation.suite}"


def finding(evaluation: Evaluation) -> str:
    """The evaluated method against the baseline, in one sentence: on all tasks that have scores, else a named group."""
    method, group = _told_of(evaluation), derived.headline_group(evaluation.curves[0])
    on = f"On {group}, " if group != ALL and len(evaluation.curves[0].group_names) > 1 else ""
    rows = {
        (row.kind, row.method): row
        for row in evaluation.rows
        if row.group == group and row.statistic in ("IQM", "IQM difference")
    }
    own = rows["group", method]
    tasks = f"all {counted(own.tasks, 'task')} that have scores" if group == ALL else counted(own.tasks, "task")
    where = f"interquartile mean over {tasks}, {counted(own.seeds, 'seed')} each"
    difference = rows.get(("comparison", method))
    if difference is None:
        told = with_interval(*own.interval("final"))
        return f"{on}{method} ends at a {own.measure} of {told}, {where}, with its 95 % interval."
    base = rows["group", difference.baseline]
    largest = max(abs(own.final), abs(base.final))
    pair = (
        f"at a {own.measure} of {digits(own.final, largest)} where {base.method} ends at {digits(base.final, largest)}"
    )
    gap = "a difference of " + with_interval(*difference.interval("final"), sign="+")
    if difference.seeds == 1:
        return f"{on}{method} ends {pair}, {gap.partition(' [')[0]} ({where}: one seed cannot tell this from chance)."
    told = {
        HIGHER: f"{method} does better than {base.method}: it ends {pair}, {gap}",
        LOWER: f"{method} does worse than {base.method}: it ends {pair}, {gap}",
        UNCLEAR: f"{method} and {base.method} are not told apart: {method} ends {pair}, {gap}",
    }[verdict(difference, difference.interval("final"))]
    return f"{on}{told} ({where}, 95 % interval)."


def further_findings(evaluation: Evaluation) -> list[str]:
    """How the evaluated method stands on the groups that the finding leaves out because they have no scores."""
    method, first = _told_of(evaluation), evaluation.curves[0]
    shown = derived.headline_group(first)
    rows = [
        row
        for row in evaluation.rows
        if (row.kind, row.method, row.statistic) == ("comparison", method, "IQM difference")
        and row.group != shown
        and not first.is_normalised(row.group)
    ]
    if not rows:
        return []
    told: dict[str, list[str]] = {HIGHER: [], LOWER: [], UNCLEAR: []}
    for row in rows:
        told[verdict(row, row.interval("final"))].append(row.group)
    parts = [f"{word} on {', '.join(groups)}" for word, groups in told.items() if groups]
    return [f"By final return, where there is no score, it is {'; '.join(parts)}."]


def glossary(evaluation: Evaluation) -> dict[str, str]:
    """The words of the tables."""
    shares = {seeds: sorted(table[seeds] for table in COVERAGE.values()) for seeds in next(iter(COVERAGE.values()))}
    covered = ", ".join(f"{low} to {high} % with {seeds}" for seeds, (low, *_, high) in shares.items())
    return {
        "Run": "One agent that learns from nothing on one task, for that task's whole budget of environment steps.",
        "Return": "The sum of rewards in an episode, averaged over the episodes that end within a bin of the lifetime.",
        "Score": "The return on a scale of the task's own: 0 is the return of uniformly random actions, 1 the optimal "
        "or the best known return, or, where neither is known, what the baseline ends at (the table of single tasks "
        "tells which). It is not clipped: a score can be below 0 and above 1.",
        "Final": "The mean of the last tenth of a run's learning curve: how well it does once it has learned.",
        "Area": "The mean over the whole learning curve: it is high for a run that learns well and early.",
        "Best": "The task's best bin, the one in which the mean over seeds is highest: what was reached, kept or not.",
        "Interquartile mean": "The mean of the middle half of all runs of a group, tasks and seeds pooled: "
        "a quarter of the runs is left out at either end, so that a few lucky or broken ones do not decide.",
        "Interval": "95 % bootstrap intervals: seeds are redrawn within each task, so they tell of chance "
        "in the runs on these tasks and not of other tasks. With few seeds they are too narrow: they hold the truth in "
        f"{covered}.",
        "Tasks better": "Tasks on which the method's mean over seeds is above the baseline's.",
        "Runs better": "How likely a run of the method beats a run of the baseline on the same task; 50 % is even.",
        "Diverged": "Runs whose numbers stopped being finite. From there on they count with the task's worst return.",
        "Edge": "A chosen setting that is the lowest or the highest tried: one beyond might be better.",
        "Protocol": evaluation.protocol,
    }


def _told_of(evaluation: Evaluation) -> str:
    """The first method; where that is the baseline itself, the first of those compared with it."""
    compared = [row.method for row in evaluation.rows if row.kind == "comparison"]
    first = evaluation.curves[0].method
    return compared[0] if compared and first not in compared else first
