"""Writing files so that a crash at any moment leaves them whole."""

import os
from pathlib import Path

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


def _sync_folder(path: Path) -> None:
    """Make a rename in this folder outlast a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
