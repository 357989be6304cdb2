"""What an evaluation measured of one method: learning curves on many tasks, and what they come to."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from metaobj.common.errors import UserError, require_finite
from metaobj.common.evaluation import statistics
from metaobj.common.evaluation.statistics import FloatArray

ALL = "all"
"""Name of the row that pools every normalised group."""
MEASURES = ("final", "area", "best")
"""What a run comes to; see `measures`."""
_SINGLE_GROUP = "all tasks"


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
        meta_seeds: how many meta-training seeds the runs come from; the seeds axis is meta-seeds x agents, meta-seeds
            major, and agents of the same place in it live in the same task for all of them.
        headline: which tasks count in the means of groups and of `ALL`, [tasks] bool; None lets all of them count.
        restarts: how often learning began anew, of agents that do so where a number is not finite; of all together.

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
    meta_seeds: int = 1
    headline: Sequence[bool] | None = None
    restarts: int = 0

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
        if self.meta_seeds < 1 or returns.shape[1] % self.meta_seeds:
            raise UserError(f"meta_seeds: got {self.meta_seeds}, need a divisor of the {returns.shape[1]} seeds")
        headline = (True,) * len(tasks) if self.headline is None else tuple(map(bool, self.headline))
        if len(headline) != len(tasks):
            raise UserError(f"headline: got {len(headline)} flags, need one per task ({len(tasks)})")
        set_field = object.__setattr__  # the dataclass is frozen; these are the given values in one canonical form
        set_field(self, "returns", returns)
        set_field(self, "tasks", tasks)
        if self.diverged is not None:
            set_field(self, "diverged", diverged)
        set_field(self, "groups", groups)
        set_field(self, "headline", headline)
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
        """Every group that has a headline task, in the order of the tasks, and last `ALL` where it pools two normalised
        groups or more.
        """
        names = [name for name in dict.fromkeys(self.groups or ()) if self.rows(name)]
        pooled = [name for name in names if self.is_normalised(name)]
        return [*names, ALL] if len(pooled) > 1 else names

    @property
    def pooled(self) -> str | None:
        """The group that holds all scores that count in means: `ALL`, or the one normalised group; None without."""
        return next((name for name in reversed(self.group_names) if self.is_normalised(name)), None)

    def is_normalised(self, group: str) -> bool:
        """Whether all headline tasks of the group have a reference, so that it is told in scores and not in returns."""
        return group == ALL or all(map(self.has_reference, self.rows(group)))

    def has_reference(self, task: int) -> bool:
        """Whether a task's returns can be told as scores."""
        return self.reference is not None and bool(np.isfinite(self.reference.optimal[task]).all())

    def rows(self, group: str) -> list[int]:
        """Indices of the group's headline tasks; for `ALL`, of those of all normalised groups."""
        counted = [index for index, counts in enumerate(self.headline or ()) if counts]
        groups = self.groups or ()
        return [i for i in counted if (self.is_normalised(groups[i]) if group == ALL else groups[i] == group)]

    def values(self, group: str) -> FloatArray:
        """The group's scores if it is normalised, else its returns, [headline tasks of the group, seeds, bins]."""
        return (self.normalised if self.is_normalised(group) else self.returns)[self.rows(group)]

    def lost(self, task: int) -> int:
        """How many agents have diverged on a task by its end."""
        return 0 if self.diverged is None else int(self.diverged[task].any(axis=-1).sum())


def final_score(curves: FloatArray) -> FloatArray:
    """Mean of the last 10 % of bins, at least one: [..., bins] -> [...]."""
    return np.asarray(curves[..., -max(1, curves.shape[-1] // 10) :].mean(axis=-1))[()]


def measures(curves: FloatArray) -> FloatArray:
    """What every run comes to by `MEASURES`, stacked: [tasks, seeds, bins] -> [3, tasks, seeds].

    Final is the mean of the last 10 % of bins, and area the mean over the lifetime. Best is the value at the task's
    best bin, the one whose mean over seeds is highest: one bin for all runs of a task, since the highest bin of each
    run by itself lies above what can be expected of it wherever curves are noisy. Of that bias the choice among means
    is left, the smaller the more seeds there are; intervals take the bin as given.
    """
    at = curves.mean(axis=1).argmax(axis=-1)  # [tasks]
    best = np.take_along_axis(curves, at[:, None, None], axis=-1)[..., 0]
    return np.stack([final_score(curves), statistics.area_under_curve(curves), best])


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
        if entry.headline != first.headline:
            raise UserError(f"headline: that of {pair} differs, need the same tasks in the means")
        ours, theirs = (reference_array(one).mean(axis=-1) for one in (entry, first))
        if not np.allclose(ours, theirs, rtol=1e-9, equal_nan=True):
            raise UserError(f"reference: that of {pair} differs, need the same random and optimal returns")
        if entry.returns.shape[-1] != first.returns.shape[-1]:
            bins = f"{entry.returns.shape[-1]} and {first.returns.shape[-1]}"
            raise UserError(f"bins: {pair} have {bins}, need the same number: the final score is of the last tenth")
        if not np.array_equal(entry.env_steps[..., -1], first.env_steps[..., -1]):
            steps = f"{np.max(entry.env_steps):g} and {np.max(first.env_steps):g}"
            raise UserError(f"env_steps: {pair} end after {steps} environment steps, need the same budget")


def reference_array(entry: Curves) -> FloatArray:
    """The random and the optimal returns [2, tasks, seeds], NaN where nothing is known."""
    return np.full((2, *entry.returns.shape[:2]), np.nan) if entry.reference is None else np.stack(entry.reference)


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
