"""Learning curves as a tidy CSV file, all digits kept."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from metaobj.common.errors import UserError
from metaobj.common.evaluation.curves import Curves, Reference, reference_array
from metaobj.common.files import write_csv

_CURVE_COLUMNS = (
    "method",
    "group",
    "task",
    "headline",
    "meta_seed",
    "seed",
    "bin",
    "env_steps",
    "return",
    "score",
    "random",
    "optimal",
    "diverged",
)


def save_curves(path: str | Path, curves: Sequence[Curves]) -> None:
    """Writes one tidy CSV with a line per method, task, meta-seed, seed and bin; floats keep all their digits."""
    rows: list[tuple[object, ...]] = []
    for entry in curves:
        scores, (random, optimal) = entry.normalised, reference_array(entry)
        diverged = np.zeros(entry.returns.shape, bool) if entry.diverged is None else entry.diverged
        env_steps = np.broadcast_to(entry.env_steps, (len(entry.tasks), entry.returns.shape[-1]))
        agents = entry.returns.shape[1] // entry.meta_seeds
        for t, s, b in np.ndindex(entry.returns.shape):
            group, headline = (entry.groups or ())[t], int((entry.headline or ())[t])
            names = (entry.method, group, entry.tasks[t], headline, *divmod(s, agents), b)
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


def _parse_method(method: str, lines: Sequence[dict[str, str]]) -> Curves:
    task_lines = {line["task"]: line for line in lines}
    tasks = list(task_lines)
    meta_seeds, agents, bins = (1 + max(int(line[axis]) for line in lines) for axis in ("meta_seed", "seed", "bin"))
    shape = (len(tasks), meta_seeds * agents, bins)
    returns, env_steps = np.full(shape, np.nan), np.full((shape[0], shape[2]), np.nan)
    pairs, diverged = np.full((2, *shape[:2]), np.nan), np.zeros(shape, bool)
    row = {task: index for index, task in enumerate(tasks)}
    for line in lines:
        t, b = row[line["task"]], int(line["bin"])
        s = agents * int(line["meta_seed"]) + int(line["seed"])
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
        meta_seeds=meta_seeds,
        headline=[line["headline"] == "1" for line in task_lines.values()],
    )


def _number(value: float) -> str:
    """All the digits that bring the same float back; empty for NaN."""
    return "" if np.isnan(value) else repr(value)
