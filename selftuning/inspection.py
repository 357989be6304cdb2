"""What was tuned, in numbers."""

from pathlib import Path

from metaobj.common.files import make_folder, write_csv
from metaobj.common.objectives.plugin import Inspection, Loaded
from metaobj.selftuning.config import SelfTuningTraining
from metaobj.selftuning.interface import LoadedSelfTuning
from metaobj.selftuning.rule import SelfTuning


def inspect(loaded: Loaded[SelfTuningTraining, SelfTuning], folder: Path) -> Inspection:
    """Write numbers.csv: each number at the beginning, its bounds, and what it came to, by head."""
    make_folder(folder)
    path = folder / "numbers.csv"
    found, rows, verdict = LoadedSelfTuning.of(loaded).values, [], []
    for name, number in loaded.objective.inner.items():
        for head, value in enumerate(found[name]):
            rows.append((name, head, number.initial, number.low, number.high, value))
        if number.tuned:
            verdict.append(f"{name}: {number.initial:.4g} became {', '.join(f'{value:.4g}' for value in found[name])}")
    write_csv(path, ("number", "head", "initial", "low", "high", "value"), rows)
    return Inspection([path], tuple(verdict))
