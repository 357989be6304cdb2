"""The folder of one training run: who may use it, and with which configuration.

config.json   metrics.jsonl   checkpoints/   objective.safetensors   run.lock
"""

import fcntl
import json
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

from metaobj.common.errors import UserError
from metaobj.common.runs.files import atomic_write

FORMAT_VERSION = 1
CONFIG, LOCK = "config.json", "run.lock"


def package_version() -> str:
    """The installed version of metaobj."""
    try:
        return version("metaobj")
    except PackageNotFoundError:  # used from a source tree that is not installed
        return "unknown"


@dataclass(frozen=True)
class RunFolder:
    """A run folder that this process holds until `close`, or until it ends in whatever way.

    Use as a context manager. At most one process holds a folder; the kernel lets go of the lock of a process that dies.
    """

    path: Path
    config: dict[str, Any]
    """The resolved configuration as JSON gives it back: tuples are lists."""
    resumed: bool
    _lock: int

    @classmethod
    def open(
        cls,
        path: str | Path,
        config: Mapping[str, Any],
        resume: bool = False,
        may_differ: Collection[str] = (),
        upgrade: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda config: config,
    ) -> "RunFolder":
        """Start a run in a new or empty folder or, with `resume`, go on with the run that is in it.

        Args:
            path: the folder.
            config: the resolved configuration: nested mappings of JSON data.
            resume: whether the folder must hold a run already, of the same configuration.
            may_differ: dotted names of fields that a resumed run may change, such as its length.
            upgrade: brings the configuration in the folder, which an older version may have written, up to date.

        Raises:
            UserError: the folder is in use, holds something else, or does not fit `resume` or `config`.
        """
        path = Path(path)
        wanted = _as_json(config)
        check_place(path, resume)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"run folder {path}: cannot be made: {error.strerror}") from error
        lock = _take_lock(path)
        try:
            check_place(path, resume)  # again: another process may have come first
            for leftover in path.glob(".*.tmp"):  # of an atomic write that was killed
                leftover.unlink()
            if resume:
                _check_same(path, _as_json(upgrade(_read_config(path))), wanted, may_differ)
            record = {"format_version": FORMAT_VERSION, "package_version": package_version(), "config": wanted}
            atomic_write(path / CONFIG, json.dumps(record, indent=2) + "\n")
        except BaseException:
            os.close(lock)
            raise
        return cls(path, wanted, resume, lock)

    @property
    def metrics(self) -> Path:
        """Where the run's metrics go."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.path / "checkpoints"

    @property
    def objective(self) -> Path:
        """The file of the objective that the run learned."""
        return self.path / "objective.safetensors"

    def close(self) -> None:
        """Let others use the folder."""
        os.close(self._lock)

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_config(path: str | Path) -> dict[str, Any]:
    """The resolved configuration of the run in a folder; UserError where there is none that can be read."""
    return _read_config(Path(path))


def check_place(path: Path, resume: bool) -> None:
    """Before time is spent.

    Raises:
        UserError: no run can be started in the folder or, with `resume`, there is none to go on with.
    """
    if path.exists() and not path.is_dir():
        raise UserError(f"run folder {path}: is a file; give a folder")
    if odd := sorted(set("[]*?\\") & set(str(path.absolute()))):
        # Orbax looks for its files by pattern: it would not find them, or would find another run's.
        raise UserError(f"run folder {path}: its path holds {' '.join(odd)}; checkpoints cannot be kept there")
    holds_run = (path / CONFIG).exists()
    if resume:
        if not holds_run:
            raise UserError(f"run folder {path}: holds no run to resume; leave out --resume to start one there")
        return
    if holds_run:
        raise UserError(f"run folder {path}: already holds a run; pass --resume to go on with it, or another --run-dir")
    if path.exists() and any(not _is_scaffold(entry) for entry in path.iterdir()):
        raise UserError(f"run folder {path}: is not empty and holds no run; give another --run-dir")


def _is_scaffold(entry: Path) -> bool:
    """What a start leaves that was killed before it wrote its configuration."""
    return entry.name == LOCK or (entry.name.startswith(f".{CONFIG}.") and entry.suffix == ".tmp")


def _take_lock(path: Path) -> int:
    try:
        lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"run folder {path}: cannot be locked: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if isinstance(error, BlockingIOError):
            raise UserError(f"run folder {path}: in use by another process; give another --run-dir") from error
        raise UserError(f"run folder {path}: cannot be locked: {error.strerror}") from error
    return lock


def _read_config(path: Path) -> dict[str, Any]:
    file = path / CONFIG
    try:
        record = json.loads(file.read_text())
        found, config = record["format_version"], record["config"]
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: is not the configuration of a run") from error
    if found != FORMAT_VERSION:
        raise UserError(f"{file}: its format version is {found}; this version of metaobj reads {FORMAT_VERSION}")
    return config


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(config, default=str))


def _check_same(path: Path, old: Any, new: Any, may_differ: Collection[str]) -> None:
    old_fields, new_fields = _fields(old), _fields(new)
    for name in [*new_fields, *(name for name in old_fields if name not in new_fields)]:
        before, now = old_fields.get(name, "absent"), new_fields.get(name, "absent")
        if before != now and name not in may_differ:
            raise UserError(f"run folder {path}: cannot resume with another {name}: the run has {before}, given {now}")


def _fields(config: Any, prefix: str = "") -> dict[str, str]:
    """Dotted name to value as JSON text, in which 1, 1.0, true and "1" differ and NaN equals itself."""
    if not isinstance(config, dict) or not config:
        return {prefix: json.dumps(config)}
    fields: dict[str, str] = {}
    for name, value in config.items():
        fields |= _fields(value, f"{prefix}.{name}" if prefix else name)
    return fields
