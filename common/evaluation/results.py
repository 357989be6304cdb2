"""What an evaluation measured: learning curves of one method on many tasks, their summary, and both as CSV."""

import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metaobj.common.errors import UserError, require_finite
from metaobj.common.evaluation import statistics
from metaobj.common.evaluation.statistics import FloatArray
from metaobj.common.files import write_csv

ALL = "all"
"""Name of the row that pools every normalised group."""
_SINGLE_GROUP = "all tasks"
_CURVE_COLUMNS = (
    "method",
    "group",
    "task",
    "seed",
    "bin",
    "env_steps",
    "return",
    "score",
    "random",
    "optimal",
    "diverged",
)


class Reference(NamedTuple):
    """Returns that a score of 0 and of 1 stand for: [tasks], or [tasks, seeds] where each agent's world has its own;
    NaN for a task where they are not known.
    """

    random: FloatArray
    optimal: FloatArray


@dataclasses.dataclass(frozen=True, eq=False)
class Curves:
    """Learning curves of one method.

    Attributes:
        method: the name it goes by in tables and pictures.
        tasks: names, all different, [tasks].
        returns: mean episode return in each bin of the lifetime, [tasks, seeds, bins]. NaN from where on an agent has
            diverged, until `score_diverged` has put a number there.
        env_steps: environment steps an agent has taken at the end of each bin, [bins], or [tasks, bins] where the
            tasks' budgets differ. Bins have about equal width.
        reference: what normalises returns to scores; None where nothing is known.
        groups: the group that each task belongs to, [tasks]; None makes one group.
        floor: the mean return of uniform actions where it was measured, [tasks] or [tasks, seeds], NaN elsewhere.
        diverged: [tasks, seeds, bins] bool, where an agent has diverged; None where none has.

    Raises:
        UserError: shapes or names do not fit together.
        ValueError: a return is infinite, or NaN where nothing diverged; a bin needs a finished episode.
    """

    method: str
    tasks: Sequence[str]
    returns: FloatArray
    env_steps: FloatArray
    reference: Reference | None = None
    groups: Sequence[str] | None = None
    floor: FloatArray | None = None
    diverged: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        returns = np.asarray(self.returns, dtype=np.float64)
        tasks = tuple(self.tasks)
        if returns.ndim != 3 or 0 in returns.shape:
            raise UserError(f"returns: shape {returns.shape} for {self.method}, need [tasks, seeds, bins], none empty")
        if len(tasks) != len(returns) or len(set(tasks)) != len(tasks):
            raise UserError(f"tasks: {len(set(tasks))} different names, need {len(returns)}, one per row of returns")
        diverged = np.zeros(returns.shape, bool) if self.diverged is None else np.asarray(self.diverged, dtype=bool)
        if diverged.shape != returns.shape:
            raise UserError(f"diverged: shape {diverged.shape} for {self.method}, need that of returns {returns.shape}")
        for task, values, lost in zip(tasks, returns, diverged, strict=True):
            require_finite(f"returns of {self.method} on {task}", np.where(lost, 0.0, values), ("seed", "bin"))
        groups = tuple(self.groups) if self.groups is not None else (_SINGLE_GROUP,) * len(tasks)
        if len(groups) != len(tasks) or ALL in groups:
            raise UserError(f"groups: got {groups}, need one per task ({len(tasks)}), none of them called {ALL!r}")
        set_field = object.__setattr__  # the dataclass is frozen; these are the given values in one canonical form
        set_field(self, "returns", returns)
        set_field(self, "tasks", tasks)
        if self.diverged is not None:
            set_field(self, "diverged", diverged)
        set_field(self, "groups", groups)
        set_field(self, "env_steps", _checked_env_steps(self.env_steps, len(tasks), returns.shape[-1]))
        if self.reference is not None:
            set_field(self, "reference", _checked_reference(self.reference, tasks, returns.shape[1]))
        if self.floor is not None:
            set_field(self, "floor", _by_seed("floor", self.floor, returns.shape[:2]))

    @property
    def normalised(self) -> FloatArray:
        """Scores [tasks, seeds, bins]: 0 is the random return, 1 the optimal one, not clipped; NaN where unknown."""
        if self.reference is None:
            return np.full(self.returns.shape, np.nan)
        random, optimal = (values[:, :, None] for values in self.reference)
        return (self.returns - random) / (optimal - random)

    @property
    def group_names(self) -> list[str]:
        """Every group once, in the order of the tasks, and last `ALL` where it pools two normalised groups or more."""
        names = list(dict.fromkeys(self.groups or ()))
        pooled = [name for name in names if self.is_normalised(name)]
        return [*names, ALL] if len(pooled) > 1 else names

    def is_normalised(self, group: str) -> bool:
        """Whether all tasks of the group have a reference, so that the group is told in scores and not in returns."""
        if group == ALL:
            return True
        return self.reference is not None and bool(np.isfinite(self.reference.optimal[self._in_group(group)]).all())

    def rows(self, group: str) -> list[int]:
        """Indices of the group's tasks; for `ALL`, of the tasks of all normalised groups."""
        if group != ALL:
            return self._in_group(group)
        return [index for index, name in enumerate(self.groups or ()) if self.is_normalised(name)]

    def values(self, group: str) -> FloatArray:
        """The group's scores if it is normalised, else its returns, [tasks of the group, seeds, bins]."""
        return (self.normalised if self.is_normalised(group) else self.returns)[self.rows(group)]

    def lost(self, task: int) -> int:
        """How many agents have diverged on a task by its end."""
        return 0 if self.diverged is None else int(self.diverged[task].any(axis=-1).sum())

    def _in_group(self, group: str) -> list[int]:
        return [index for index, name in enumerate(self.groups or ()) if name == group]


def score_diverged(curves: Sequence[Curves]) -> list[Curves]:
    """Where an agent has diverged it gets the worst return of its task: the smallest that any agent of any method had
    there, or that of uniform actions where this is known and smaller.
    """
    worst = np.full(len(curves[0].tasks), np.inf)
    for entry in curves:
        floors = [floor for floor in (entry.floor, entry.reference and entry.reference.random) if floor is not None]
        for values in (entry.returns.reshape(len(worst), -1), *floors):
            worst = np.fmin(worst, np.where(np.isfinite(values), values, np.inf).min(axis=1))
    worst = np.where(np.isfinite(worst), worst, 0.0)  # a task on which nobody has a number
    return [
        dataclasses.replace(entry, returns=np.where(np.isnan(entry.returns), worst[:, None, None], entry.returns))
        for entry in curves
    ]


def relative_to(curves: Sequence[Curves], baseline: str) -> list[Curves]:
    """Tasks without a reference are scored by what the baseline gains there: 0 is the return of uniform actions, 1 the
    baseline's interquartile-mean final return. They stay as they are where no floor was measured, and where the
    baseline gains nothing that could be told from chance, or next to nothing of what another method gains: no score
    would mean anything there.
    """
    (base,) = (entry for entry in curves if entry.method == baseline)
    if base.floor is None:
        return list(curves)
    floor = base.floor.mean(axis=1)
    finals = final_score(base.returns)  # [tasks, seeds]
    top, low, _ = statistics.stratified_bootstrap(finals[:, None], statistics.interquartile_mean)
    everyone = np.concatenate([final_score(entry.returns) for entry in curves], axis=1)
    span = np.maximum(everyone.max(axis=1), floor) - np.minimum(everyone.min(axis=1), floor)
    noise = 1e-6 * np.maximum(np.abs(top), np.abs(floor))  # of returns that were summed in 32 bits
    usable = np.isfinite(floor) & (low > floor) & (top - floor > np.maximum(1e-3 * span, noise))

    def referred(entry: Curves) -> Curves:
        random, optimal = _reference_array(entry)
        measured = (usable & ~np.isfinite(optimal).all(axis=1))[:, None]
        return dataclasses.replace(
            entry,
            reference=Reference(np.where(measured, floor[:, None], random), np.where(measured, top[:, None], optimal)),
        )

    return [referred(entry) for entry in curves]


class SummaryRow(NamedTuple):
    """One line of the summary; `final` is the mean of the last 10 % of bins, `area` the mean over the lifetime."""

    kind: str  # "group", "comparison" or "task"
    group: str
    task: str  # empty but for kind "task"
    method: str
    baseline: str  # empty but for kind "comparison", whose numbers are method minus baseline
    statistic: str  # "IQM" over tasks and seeds, "IQM difference", or "mean" over seeds
    measure: str  # "score", normalised so that random is 0 and optimal 1, or "return"
    tasks: int
    seeds: int  # per task; for a comparison the smaller number
    final: float
    final_low: float
    final_high: float
    area: float
    area_low: float
    area_high: float
    final_tasks_better: float | None = None  # share of tasks whose mean over seeds is strictly above the baseline's
    area_tasks_better: float | None = None
    final_improvement: float | None = None  # chance that a run beats a run of the baseline on the same task
    area_improvement: float | None = None
    diverged: int | None = None  # agents of the method that diverged, on all tasks of the row


def final_score(curves: FloatArray) -> FloatArray:
    """Mean of the last 10 % of bins, at least one: [..., bins] -> [...]."""
    return np.asarray(curves[..., -max(1, curves.shape[-1] // 10) :].mean(axis=-1))[()]


def final_and_area(curves: FloatArray) -> FloatArray:
    """Both measures of every run, stacked: [tasks, seeds, bins] -> [2, tasks, seeds]."""
    return np.stack([final_score(curves), statistics.area_under_curve(curves)])


def summary_table(
    curves: Sequence[Curves],
    baseline: str | None = None,
    repetitions: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[SummaryRow]:
    """Groups (and `ALL`) by method, then comparisons with the baseline, then single tasks by method.

    Args:
        curves: one entry per method, all on the same tasks with the same budgets.
        baseline: the method that the others are compared with; None leaves comparisons out.
        repetitions: of the stratified bootstrap.
        seed: of the stratified bootstrap.
        confidence: of the intervals.

    Raises:
        UserError: the methods cannot be compared, or the baseline is not among them.
    """
    check_comparable(curves)
    methods = [entry.method for entry in curves]
    if baseline is not None and baseline not in methods:
        raise UserError(f"baseline: got {baseline!r}, need one of {methods}")
    options = (repetitions, seed, confidence)
    groups, comparisons, tasks = [], [], []
    for group in curves[0].group_names:
        for entry in curves:
            runs = final_and_area(entry.values(group))
            interval = statistics.stratified_bootstrap(runs, statistics.interquartile_mean, *options)
            groups.append(_row("group", entry, group, "IQM", runs, interval))
        if baseline is None:
            continue
        base_runs = final_and_area(curves[methods.index(baseline)].values(group))
        for entry in (entry for entry in curves if entry.method != baseline):
            runs = final_and_area(entry.values(group))
            interval = statistics.bootstrap_difference(runs, base_runs, statistics.interquartile_mean, *options)
            row = _row("comparison", entry, group, "IQM difference", runs, interval, baseline=baseline)
            better = (runs.mean(axis=-1) > base_runs.mean(axis=-1)).mean(axis=-1)
            improvement = statistics.probability_of_improvement(runs, base_runs)
            comparisons.append(
                row._replace(
                    seeds=min(runs.shape[-1], base_runs.shape[-1]),
                    final_tasks_better=float(better[0]),
                    area_tasks_better=float(better[1]),
                    final_improvement=float(improvement[0]),
                    area_improvement=float(improvement[1]),
                )
            )
    for index, task in enumerate(curves[0].tasks):
        for entry in curves:
            group = (entry.groups or ())[index]
            values = entry.normalised if entry.is_normalised(group) else entry.returns
            runs = final_and_area(values[index : index + 1])
            interval = statistics.stratified_bootstrap(runs, statistics.mean, *options)
            tasks.append(_row("task", entry, group, "mean", runs, interval, task=task))
    return [*groups, *comparisons, *tasks]


def check_comparable(curves: Sequence[Curves]) -> None:
    """Refuses methods that did not have the same tasks, groups, reference scores and environment steps.

    Raises:
        UserError: names the first difference.
    """
    if not curves:
        raise UserError("curves: got an empty list, need at least one method")
    first = curves[0]
    methods = [entry.method for entry in curves]
    if len(set(methods)) != len(methods):
        raise UserError(f"method: got {methods}, need names that all differ")
    for entry in curves[1:]:
        pair = f"{entry.method} and {first.method}"
        if entry.tasks != first.tasks or entry.groups != first.groups:
            raise UserError(f"tasks: those of {pair} differ, need the same tasks in the same groups and order")
        ours, theirs = (_reference_array(one).mean(axis=-1) for one in (entry, first))
        if not np.allclose(ours, theirs, rtol=1e-9, equal_nan=True):
            raise UserError(f"reference: that of {pair} differs, need the same random and optimal returns")
        if entry.returns.shape[-1] != first.returns.shape[-1]:
            bins = f"{entry.returns.shape[-1]} and {first.returns.shape[-1]}"
            raise UserError(f"bins: {pair} have {bins}, need the same number: the final score is of the last tenth")
        if not np.array_equal(entry.env_steps[..., -1], first.env_steps[..., -1]):
            steps = f"{np.max(entry.env_steps):g} and {np.max(first.env_steps):g}"
            raise UserError(f"env_steps: {pair} end after {steps} environment steps, need the same budget")


def save_curves(path: str | Path, curves: Sequence[Curves]) -> None:
    """Writes one tidy CSV with a line per method, task, seed and bin; floats keep all their digits."""
    rows: list[tuple[object, ...]] = []
    for entry in curves:
        scores, (random, optimal) = entry.normalised, _reference_array(entry)
        diverged = np.zeros(entry.returns.shape, bool) if entry.diverged is None else entry.diverged
        env_steps = np.broadcast_to(entry.env_steps, (len(entry.tasks), entry.returns.shape[-1]))
        for t, s, b in np.ndindex(entry.returns.shape):
            names = (entry.method, (entry.groups or ())[t], entry.tasks[t], s, b)
            numbers = (env_steps[t, b], entry.returns[t, s, b], scores[t, s, b], random[t, s], optimal[t, s])
            rows.append((*names, *(_number(float(number)) for number in numbers), int(diverged[t, s, b])))
    write_csv(path, _CURVE_COLUMNS, rows)


def load_curves(path: str | Path) -> list[Curves]:
    """Reads what `save_curves` wrote, methods and tasks in their order of appearance.

    Raises:
        UserError: the file is missing, is not such a file, or lacks some of a method's runs.
    """
    try:
        with open(path, newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != _CURVE_COLUMNS:
                raise UserError(f"{path}: columns are {reader.fieldnames}, need {list(_CURVE_COLUMNS)}")
            lines: dict[str, list[dict[str, str]]] = {}
            for line in reader:
                lines.setdefault(line["method"], []).append(line)
        return [_parse_method(method, entries) for method, entries in lines.items()]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}), need a curves.csv") from error
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(f"{path}: not a complete curves.csv ({error})") from error


def save_summary(path: str | Path, rows: Sequence[SummaryRow]) -> None:
    """Writes the rows of `summary_table` as CSV, one column per field."""
    write_csv(path, SummaryRow._fields, rows)


def _row(
    kind: str,
    entry: Curves,
    group: str,
    statistic: str,
    runs: FloatArray,
    interval: statistics.Interval,
    task: str = "",
    baseline: str = "",
) -> SummaryRow:
    """A row from runs [2, tasks, seeds] and an interval of arrays [2], final before area."""
    measure = "score" if entry.is_normalised(group) else "return"
    final, area = ([float(number[which]) for number in interval] for which in (0, 1))
    sizes = (runs.shape[1], runs.shape[2])
    rows = [entry.tasks.index(task)] if task else entry.rows(group)
    diverged = sum(map(entry.lost, rows))
    (f, f_low, f_high), (a, a_low, a_high) = final, area
    names = (kind, group, task, entry.method, baseline, statistic, measure)
    return SummaryRow(*names, *sizes, f, f_low, f_high, a, a_low, a_high, diverged=diverged)


def _checked_env_steps(env_steps: FloatArray, tasks: int, bins: int) -> FloatArray:
    steps = np.asarray(env_steps, dtype=np.float64)
    if steps.shape not in ((bins,), (tasks, bins)):
        raise UserError(f"env_steps: shape {steps.shape}, need [bins] ({bins}) or [tasks, bins] ({tasks}, {bins})")
    widths = np.diff(steps, axis=-1)
    narrowest, widest = widths.min(axis=-1, initial=np.inf), widths.max(axis=-1, initial=0)
    # Whole updates cannot always be shared out evenly, but a logarithmic axis would make the plain mean no area.
    if not np.isfinite(steps).all() or np.any(narrowest <= 0) or np.any(widest > 2.001 * narrowest):
        got = f"bins between {widths.min():g} and {widths.max():g} wide" if bins > 1 else f"{steps.min():g}"
        raise UserError(f"env_steps: got {got}, need increasing numbers with bins of about equal width")
    return steps


def _by_seed(name: str, values: FloatArray, shape: tuple[int, int]) -> FloatArray:
    """[tasks] or [tasks, seeds] as [tasks, seeds]."""
    array = np.asarray(values, dtype=np.float64)
    if array.shape == shape[:1]:
        array = array[:, None]
    if array.shape not in (shape, (shape[0], 1)):
        raise UserError(f"{name}: shape {np.shape(values)}, need [tasks] ({shape[0]}) or [tasks, seeds] {shape}")
    return np.broadcast_to(array, shape)


def _checked_reference(reference: Reference, tasks: Sequence[str], seeds: int) -> Reference:
    random, optimal = (_by_seed("reference", values, (len(tasks), seeds)) for values in reference)
    known = np.isfinite(random) & np.isfinite(optimal)
    for task, seed in np.argwhere(known & ~(optimal > random)):
        pair = f"optimal {optimal[task, seed]:g} and random {random[task, seed]:g}"
        raise UserError(f"reference: {pair} on {tasks[task]}, need the optimal return above the random one")
    return Reference(np.where(known, random, np.nan), np.where(known, optimal, np.nan))


def _reference_array(entry: Curves) -> FloatArray:
    """[2, tasks, seeds], NaN where nothing is known."""
    return np.full((2, *entry.returns.shape[:2]), np.nan) if entry.reference is None else np.stack(entry.reference)


def _parse_method(method: str, lines: Sequence[dict[str, str]]) -> Curves:
    task_lines = {line["task"]: line for line in lines}
    tasks = list(task_lines)
    shape = (len(tasks), *(1 + max(int(line[axis]) for line in lines) for axis in ("seed", "bin")))
    returns, env_steps = np.full(shape, np.nan), np.full((shape[0], shape[2]), np.nan)
    pairs, diverged = np.full((2, *shape[:2]), np.nan), np.zeros(shape, bool)
    row = {task: index for index, task in enumerate(tasks)}
    for line in lines:
        t, s, b = row[line["task"]], int(line["seed"]), int(line["bin"])
        returns[t, s, b], env_steps[t, b] = float(line["return"]), float(line["env_steps"])
        diverged[t, s, b] = line["diverged"] == "1"
        pairs[:, t, s] = [float(line[name] or "nan") for name in ("random", "optimal")]
    known = bool(np.isfinite(pairs).any())
    return Curves(
        method=method,
        tasks=tasks,
        returns=returns,
        env_steps=env_steps[0] if (env_steps == env_steps[0]).all() else env_steps,
        reference=Reference(*pairs) if known else None,
        groups=[line["group"] for line in task_lines.values()],
        diverged=diverged,
    )


def _number(value: float) -> str:
    """All the digits that bring the same float back; empty for NaN."""
    return "" if np.isnan(value) else repr(value)
