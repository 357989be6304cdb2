"""Writing files so that a crash at any moment leaves them whole, and reading JSON that anyone may have written."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from metaobj.common.errors import UserError


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Write a file so that a reader, or the next start after a crash, finds the old content or the new, never a part.

    Raises:
        UserError: the file cannot be written (disk full, no permission); the old content is as it was.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(content.encode() if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path}: cannot write: {error.strerror}") from error


def write_csv(path: str | Path, header: Iterable[object], rows: Iterable[Iterable[object]]) -> None:
    """Write a table, atomically; its folder is made if missing.

    Raises:
        UserError: the file cannot be written.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    make_folder(Path(path).parent)
    atomic_write(path, text.getvalue())


def make_folder(path: str | Path) -> None:
    """Make a folder and those above it, where they are missing.

    Raises:
        UserError: it cannot be made.
    """
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made: {error.strerror}") from error


def remove(path: str | Path) -> None:
    """Remove a file, where there is one.

    Raises:
        UserError: it cannot be removed.
    """
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be removed: {error.strerror}") from error


def is_there(path: str | Path) -> bool:
    """Whether there is such a file or folder; a name that no system takes is none."""
    try:
        return Path(path).exists()
    except (OSError, ValueError):
        return False


def parse_json(text: str | bytes) -> Any:
    """JSON data of any origin.

    Raises:
        ValueError: it is none, holds a number that is not finite or does not fit a float, or is nested too deeply.
    """

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError(f"the number {text}")
        return value

    try:
        return json.loads(text, parse_float=number, parse_constant=number)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def _sync_folder(path: Path) -> None:
    """Make a rename in this folder outlast a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
