"""The folder of one training run: who may use it, and with which configuration.

config.json   metrics.jsonl   checkpoints/   objectives/   objective.safetensors   run.lock
"""

import contextlib
import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import TracebackType
from typing import Any

from metaobj.common.errors import UserError
from metaobj.common.files import atomic_write, parse_json
from metaobj.common.processes import agreed, firsts, is_first, process

FORMAT_VERSION = 1
CONFIG, METRICS, LOCK = "config.json", "metrics.jsonl", "run.lock"
SEEN_WITHIN = 30
"""Seconds until all processes must see the folder."""


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
    run_id: str
    """A name that no other run has; of a run from before there were such names, its folder's."""
    provenance: dict[str, Any]
    """What was written down when it began, and since; of several processes, what the first one knows."""
    _lock: int | None
    """Of several processes, the first one's."""
    _made: tuple[Path, ...] = ()
    """Folders that were not there before, the innermost first."""

    @classmethod
    def open(
        cls,
        path: str | Path,
        config: Mapping[str, Any],
        resume: bool = False,
        may_differ: Collection[str] = (),
        upgrade: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda config: config,
        provenance: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda before: before,
    ) -> "RunFolder":
        """Start a run in a new or empty folder or, with `resume`, go on with the run that is in it.

        Of several processes the first does so, and the others take part in it.

        Args:
            path: the folder.
            config: the resolved configuration: nested mappings of JSON data.
            resume: whether the folder must hold a run already, of the same configuration.
            may_differ: dotted names of fields that a resumed run may change, such as its length.
            upgrade: brings the configuration in the folder, which an older version may have written, up to date.
            provenance: makes what is written down beside the configuration, JSON data, of what was until now.

        Raises:
            UserError: the folder is in use, holds something else, or does not fit `resume` or `config`.
        """
        path = Path(path)
        with agreed():
            run = cls._taken(path, config, resume, may_differ, upgrade, provenance) if is_first() else None
        run_id = firsts("" if run is None else run.run_id)
        with agreed():
            if run is None:
                _wait_for(path, run_id)
                run = cls(path, _as_json(config), resume, run_id, {}, None)
        return run

    @classmethod
    def _taken(
        cls,
        path: Path,
        config: Mapping[str, Any],
        resume: bool,
        may_differ: Collection[str],
        upgrade: Callable[[dict[str, Any]], Mapping[str, Any]],
        provenance: Callable[[dict[str, Any]], Mapping[str, Any]],
    ) -> "RunFolder":
        wanted = _as_json(config)
        check_place(path, resume)
        made = tuple(folder for folder in (path, *path.parents) if not folder.exists())
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"run folder {path}: cannot be made: {error.strerror}") from error
        lock = _take_lock(path)
        try:
            check_place(path, resume)  # again: another process may have come first
            for leftover in path.glob(".*.tmp"):  # of an atomic write that was killed
                leftover.unlink()
            run_id, written = secrets.token_hex(6), dict[str, Any]()
            if resume:
                found = check_same(path, wanted, may_differ, upgrade)
                run_id = run_id if _is_copied(path, found) else _run_id(path, found)
                written = found.get("provenance", {})
            record = {
                "format_version": FORMAT_VERSION,
                "package_version": package_version(),
                "run_id": run_id,
                "place": str(path.resolve()),
                "provenance": (written := _as_json(provenance(written))),
                "config": wanted,
            }
            atomic_write(path / CONFIG, json.dumps(record, indent=2) + "\n")
        except BaseException:
            os.close(lock)
            raise
        return cls(path, wanted, resume, run_id, written, lock, made)

    @property
    def metrics(self) -> Path:
        """Where the run's metrics go."""
        return self.path / METRICS

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
        if self._lock is not None:
            os.close(self._lock)

    def abandon(self) -> None:
        """Take back what a start has made that failed before anything was learned, folders among it, so that it does
        not stand in the way of the next. The folder was empty before; does nothing in a resumed run.
        """
        if self.resumed:
            return
        for entry in self.path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something has come into one of them since
            for folder in self._made:
                folder.rmdir()

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def read_config(path: str | Path) -> dict[str, Any]:
    """The resolved configuration of the run in a folder, or in its file; UserError where none can be read."""
    path = Path(path)
    return _read_record(path / CONFIG if path.is_dir() else path)["config"]


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
    if not (path / LOCK).exists() or not os.path.samestat(os.fstat(lock), os.stat(path / LOCK)):
        os.close(lock)  # the lock of a start that has just been taken back
        raise UserError(f"run folder {path}: in use by another process; give another --run-dir")
    return lock


def _read_record(file: Path) -> dict[str, Any]:
    """What config.json holds: `format_version` and `config` are there and of their types, and others where they are."""
    try:
        record = parse_json(file.read_bytes())
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise UserError(f"{file}: is not the configuration of a run ({error})") from error
    wanted = isinstance(record, dict) and "format_version" in record and isinstance(record.get("config"), dict)
    texts = all(isinstance(record.get(name, ""), str) for name in ("run_id", "place")) if wanted else False
    if not texts or not isinstance(record.get("provenance", {}), dict):
        raise UserError(f"{file}: is not the configuration of a run")
    if record["format_version"] != FORMAT_VERSION:
        found = json.dumps(record["format_version"])
        raise UserError(f"{file}: its format version is {found}; this version of metaobj reads {FORMAT_VERSION}")
    return record


def _run_id(path: Path, record: dict[str, Any]) -> str:
    """The name that a run has in other places; without what Weights & Biases takes in none."""
    return record["run_id"] if "run_id" in record else re.sub("[:;,#?/']", "-", path.absolute().name)


def _is_copied(path: Path, record: dict[str, Any]) -> bool:
    """Whether the run stands in another folder too, under the same name: of two that go on, one needs another name."""
    place = record.get("place")
    if place is None or "run_id" not in record or place == str(path.resolve()):
        return False
    try:
        return _read_record(Path(place) / CONFIG).get("run_id") == record["run_id"]
    except UserError:  # it was moved
        return False


def _as_json(config: Mapping[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(config, default=str))


def check_same_everywhere(config: Mapping[str, Any]) -> None:
    """Raises:
    UserError: some process was given another configuration than the first.
    """
    first = json.loads(firsts(json.dumps(config, default=str)))
    with agreed():
        if (different := different_field(first, config)) is not None:
            name, theirs, own = different
            raise UserError(
                f"{name}: process {process()} was given {own}, process 0 {theirs}; all must be given the same"
            )


def _wait_for(path: Path, run_id: str) -> None:
    """A file system that hosts share may show a moment later what another one wrote."""
    end = time.monotonic() + SEEN_WITHIN
    while True:
        try:
            if _read_record(path / CONFIG).get("run_id") == run_id:
                return
        except UserError:  # not there yet
            pass
        if time.monotonic() > end:
            raise UserError(f"run folder {path}: process {process()} does not see process 0's; hosts must share it")
        time.sleep(0.1)


def check_same(
    path: Path,
    config: Mapping[str, Any],
    may_differ: Collection[str] = (),
    upgrade: Callable[[dict[str, Any]], Mapping[str, Any]] = lambda config: config,
) -> dict[str, Any]:
    """What config.json of a run's folder holds, which is to go on with this configuration; see `RunFolder.open`.

    Raises:
        UserError: its configuration is another one, or cannot be read.
    """
    record = _read_record(path / CONFIG)
    different = different_field(upgrade(record["config"]), config, may_differ)
    if different is not None:
        name, before, now = different
        raise UserError(f"run folder {path}: cannot resume with another {name}: the run has {before}, given {now}")
    return record


def different_field(old: Any, new: Any, may_differ: Collection[str] = ()) -> tuple[str, str, str] | None:
    """The first field in which two configurations differ: (dotted name, old value, new value), as JSON text."""
    old_fields, new_fields = _fields(_as_json(old)), _fields(_as_json(new))
    for name in [*new_fields, *(name for name in old_fields if name not in new_fields)]:
        before, now = old_fields.get(name, "absent"), new_fields.get(name, "absent")
        if before != now and name not in may_differ:
            return name, before, now
    return None


def _fields(config: Any, prefix: str = "") -> dict[str, str]:
    """Dotted name to value as JSON text, in which 1, 1.0, true and "1" differ and NaN equals itself."""
    if not isinstance(config, dict) or not config:
        return {prefix: json.dumps(config)}
    fields: dict[str, str] = {}
    for name, value in config.items():
        fields |= _fields(value, f"{prefix}.{name}" if prefix else name)
    return fields
