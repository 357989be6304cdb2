"""What the commands `train` and `evaluate` do, as functions that return data."""

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from metaobj.common.configuration import from_json, overlaid
from metaobj.common.errors import UserError
from metaobj.common.evaluation.evaluation import Evaluation
from metaobj.common.evaluation.protocol import Tuning
from metaobj.common.meta.config import fitted
from metaobj.common.objectives.compare import Comparison, compare
from metaobj.common.objectives.contestants import usual_suite
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.modules import NAMING, check_modules
from metaobj.common.objectives.plugin import get_plugin
from metaobj.common.objectives.train import meta_train
from metaobj.common.pictures.forms import Form, figures_as
from metaobj.common.runs.metrics import read_metrics
from metaobj.common.runs.run_folder import CONFIG, METRICS, read_config

Row = dict[str, Any]
"""Metrics of a few meta-updates: {"step": 10, "reward": 0.5, ...}."""


@dataclass(frozen=True)
class Trained:
    """A run of meta-training, as it stands in its folder."""

    folder: Path
    step: int
    """Meta-updates that are behind it."""
    finished: bool
    """Whether these are all of them; a run that was interrupted goes on with `resume=True`."""

    @property
    def metrics(self) -> list[Row]:
        """What was logged, a dictionary for each line of metrics.jsonl; `pandas.DataFrame(run.metrics)` is a table."""
        return read_metrics(self.folder / METRICS)

    def load(self) -> Any:
        """The objective, as `metaobj.load` gives it."""
        loaded = load_objective(self.folder)
        return loaded.plugin.interface(loaded)


class _Told:
    """A place that metrics go to: a function of the user's."""

    def __init__(self, on_progress: Callable[[int, Mapping[str, float]], None]) -> None:
        self.write = on_progress

    def close(self) -> None:
        """Nothing is held back."""


def train(
    kind: str,
    run_dir: str | Path = "runs/latest",
    *,
    preset: str | None = None,
    resume: bool = False,
    devices: int | None = None,
    figures: Form = "png",
    on_progress: Callable[[int, Mapping[str, float]], None] | None = None,
    **settings: Any,
) -> Trained:
    """Meta-train an objective, as `metaobj train` does.

    Args:
        kind: one of those that `metaobj list objectives` tells.
        run_dir: the run folder; new, or with `resume` one that is there.
        preset: a named configuration; the kind's usual one by default, or with `resume` the folder's.
        resume: go on with the run in the folder.
        devices: over how many devices lifetimes are spread; all that fit by default.
        figures: "svg" or "pdf" writes the pictures in that form too.
        on_progress: told (meta-updates done, {metric: value}) after each `log_every` of them; what it raises ends the
            run, whose checkpoints stay.
        settings: fields of the configuration by name, such as `meta_updates=100`, `network={"units": 16}`; they may be
            nested dictionaries, and lists stand for tuples.

    Returns:
        The run. It is stopped and saved by an interrupt (Ctrl-C, a notebook's stop button); `finished` tells.

    Raises:
        UserError: a name, a setting or the folder cannot be used; one line says why.
    """
    plugin = get_plugin(kind)
    if preset is not None and preset not in plugin.presets:
        raise UserError(f"preset: {preset!r} is unknown; choose from {', '.join(plugin.presets)}")
    start = plugin.presets[preset or plugin.default_preset]
    if resume and preset is None:
        record = Path(run_dir) / CONFIG
        start = from_json(type(start), read_config(Path(run_dir)), str(record))
        said = {name: settings.get(name) for name in NAMING}
        check_modules(record, start, said, lambda name, value: f"{name}={value!r}")
    data = _as_data(settings)
    config = overlaid(fitted(start, data), data)
    with figures_as(figures):
        outcome = meta_train(
            plugin,
            config,
            run_dir,
            resume=resume,
            devices=devices,
            sinks=lambda run, step: [] if on_progress is None else [_Told(on_progress)],
        )
    return Trained(Path(run_dir), outcome.step, outcome.finished)


def evaluate(
    *names: str | Path | Trained,
    suite: str | None = None,
    seeds: int | None = None,
    tuning_seeds: int | None = None,
    steps: int | None = None,
    tuning: Tuning = "training",
    baseline: str | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    figures: Form = "png",
    trust: bool = False,
    on_progress: Callable[[str], None] | None = None,
) -> Evaluation:
    """Train fresh agents by objectives and by rules that people wrote, as `metaobj compare` does.

    Args:
        names: runs, files, "pretrained:NAME", "NAME=A,B,..." (meta-training seeds together), or baselines such as
            "A2C".
        suite: a suite's, an environment's or a TOML file's name; the first objective's own by default.
        seeds: agents a task.
        tuning_seeds: agents a setting and environment in tuning.
        steps: environment steps of every agent on every task; the suite's by default.
        tuning: what settings are chosen on.
        baseline: the one that others are compared with.
        seed: of worlds, agents and actions.
        out: a folder for tables, pictures, the page, and what is computed, which an evaluation that was interrupted
            goes on from; nothing is left without it.
        figures: "svg" or "pdf" leaves the pictures there in that form too.
        trust: import modules that an objective's file names as what it was trained on.
        on_progress: told a line when a part is done.

    Returns:
        `rows` are its table (`pandas.DataFrame(evaluation.rows)`), `curves` the learning curves as arrays.

    Raises:
        UserError: a name, the suite or a size cannot be used; one line says why.
    """
    told = tuple(str(name.folder) if isinstance(name, Trained) else str(name) for name in names)
    if not told:
        raise UserError("names: none given; give one or more objectives or baselines")
    comparison = Comparison(
        names=told,
        suite=suite or usual_suite(told),
        seeds=seeds,
        tuning_seeds=tuning_seeds,
        seed=seed,
        tuning=tuning,
        baseline=baseline,
        steps=steps,
        trust=trust,
    )
    say = on_progress or (lambda line: None)
    if out is not None:
        with figures_as(figures):
            return compare(comparison, Path(out), say=say)
    with tempfile.TemporaryDirectory(prefix="metaobj-") as folder:
        return compare(comparison, Path(folder), say=say)


def _as_data(value: Any) -> Any:
    """What a user writes in Python as the data that files hold: tuples are lists, dataclasses mappings."""
    if isinstance(value, Mapping):
        return {name: _as_data(entry) for name, entry in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _as_data(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_as_data(entry) for entry in value]
    return str(value) if isinstance(value, Path) else value
