"""The metrics of a run: always JSON lines, and TensorBoard and Weights & Biases where asked for."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from metaobj.common.environments.adapters.extras import install_command
from metaobj.common.errors import UserError
from metaobj.common.files import atomic_write, parse_json


class Sink(Protocol):
    """Another place that metrics go to."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the scalars of one step."""

    def close(self) -> None:
        """Pass on what is still held back."""


class MetricsLog:
    """Appends one JSON object per line to a file: `{"step": 10, "loss": 0.5, ...}`, in the file when `write` returns.

    A number that is not finite is written as null, which every JSON reader understands. A last line that was torn by
    a kill is dropped when the log is opened.

    Args:
        path: the file, made if missing.
        sinks: where the scalars among the metrics go besides.
    """

    def __init__(self, path: str | Path, sinks: Sequence[Sink] = ()) -> None:
        self._path = Path(path)
        self._sinks = tuple(sinks)
        _drop_torn_line(self._path)
        try:
            self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115  closed by close()
        except OSError as error:
            raise UserError(f"{self._path}: cannot write: {error.strerror}") from error

    def write(self, step: int, metrics: Mapping[str, Any]) -> None:
        """Append the metrics of one step.

        Args:
            step: the meta-update that they belong to.
            metrics: names to scalars or arrays (NumPy, JAX or Python), strings, None, or mappings of these.

        Raises:
            UserError: the disk is full; what of the line was written is taken back.
        """
        record = {"step": int(step), **{name: _plain(value) for name, value in metrics.items()}}
        line = json.dumps(record, allow_nan=False).encode() + b"\n"
        end = self._file.seek(0, 2)
        try:
            written = 0
            while written < len(line):  # an unbuffered file may take a part only
                written += self._file.write(line[written:])
        except OSError as error:
            self._file.truncate(end)
            raise UserError(f"{self._path}: cannot write: {error.strerror}") from error
        scalars = dict(_scalars(metrics))
        for sink in self._sinks:
            sink.write(int(step), scalars)

    def sync(self) -> None:
        """Make what was written outlast a power cut: before a checkpoint that a run would resume from.

        Raises:
            UserError: the disk says no.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise UserError(f"{self._path}: cannot write: {error.strerror}") from error

    def truncate_to(self, step: int) -> None:
        """Forget, atomically, every line after `step`: a resumed run writes them again."""
        lines = self._path.read_bytes().splitlines(keepends=True)
        kept = [line for line in lines if (found := _step(line)) is not None and found <= step]
        if len(kept) == len(lines):
            return
        atomic_write(self._path, b"".join(kept))
        self._file.close()
        self._file = open(self._path, "ab", buffering=0)  # noqa: SIM115  closed by close()

    def close(self) -> None:
        """Close the file and the sinks."""
        self._file.close()
        for sink in self._sinks:
            sink.close()


def read_metrics(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a metrics file as dictionaries, also while a run is writing it."""
    return [parse_json(line) for line in Path(path).read_bytes().splitlines(keepends=True) if _step(line) is not None]


class TensorBoard:
    """Scalars as TensorBoard event files (extra `tensorboard`).

    Args:
        directory: where they go.
        resumed_at: the step a resumed run goes on from; None for a new run. TensorBoard then hides what was written
            after it, and what a run wrote that goes on from its start is removed.
    """

    def __init__(self, directory: str | Path, resumed_at: int | None) -> None:
        try:
            import tensorboardX
        except ImportError as error:
            raise missing("--tensorboard", "tensorboardX", "tensorboard") from error
        if resumed_at == 0:
            for events in Path(directory).glob("events.out.tfevents.*"):
                events.unlink()
        purge_step = resumed_at + 1 if resumed_at else None
        self._writer = tensorboardX.SummaryWriter(str(directory), purge_step=purge_step)

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the scalars of one step."""
        for name, value in values.items():
            if math.isfinite(value):  # it draws nothing for others, and complains on the terminal
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write out what is buffered."""
        self._writer.close()


class WeightsAndBiases:
    """Scalars to Weights & Biases (extra `wandb`). Whether it goes online is for its own WANDB_MODE to say.

    Args:
        directory: where it keeps its files.
        project: the project that the run appears in.
        config: the run's resolved configuration.
        run_id: fixed by the caller, so that a resumed run goes on in the same place, and no other run does.
        name: what the run is called there.
    """

    def __init__(self, directory: str | Path, project: str, config: Mapping[str, Any], run_id: str, name: str) -> None:
        try:
            import wandb
        except ImportError as error:
            raise missing("--wandb", "wandb", "wandb") from error
        self._wandb: ModuleType = wandb
        try:
            self._run = wandb.init(
                dir=str(directory), project=project, config=dict(config), id=run_id, resume="allow", name=name
            )
        except wandb.errors.Error as error:
            raise UserError(f"--wandb: Weights & Biases did not start: {' '.join(str(error).split())}") from error

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the scalars of one step."""
        self._run.log(dict(values), step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def missing(flag: str, package: str, extra: str) -> UserError:
    """What to say where the optional package that a flag needs is not there."""
    return UserError(f"{flag}: the package {package} is not installed; install it with: {install_command(extra)}")


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    array = np.asarray(value)
    if array.ndim:
        return [_plain(item) for item in array]
    if array.dtype.kind in "biu":
        return array.item()
    number = float(array)
    return number if math.isfinite(number) else None


def _scalars(metrics: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    """The numbers among the metrics, names joined with "/"; not finite ones stay as they are."""
    scalars: list[tuple[str, float]] = []
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            scalars += _scalars(value, f"{prefix}{name}/")
        elif value is not None and not isinstance(value, str) and np.ndim(value) == 0:
            scalars.append((f"{prefix}{name}", float(value)))
    return scalars


def _step(line: bytes) -> int | None:
    """The step of a line; None for one that is torn or is no metrics."""
    if not line.endswith(b"\n"):
        return None
    try:
        step = parse_json(line)["step"]
    except (ValueError, KeyError, TypeError, IndexError):
        return None
    return step if type(step) is int else None


def _drop_torn_line(path: Path) -> None:
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            atomic_write(path, content[:whole])
