"""Where what a command makes goes."""

import os
from pathlib import Path
from zlib import crc32

from metaobj.common.errors import UserError
from metaobj.common.files import is_there


def beside(objective: str, name: str) -> Path:
    """The folder of results: in the objective's run folder, beside its file, or under runs/."""
    name = name if len(name) <= 100 else f"{name[:90]}-{crc32(name.encode()):08x}"
    run, _, step = objective.rpartition("@")
    if step.isdecimal() and is_there(run) and Path(run).is_dir():
        return Path(run) / f"{name}@{step}"
    if not is_there(objective):
        return Path("runs") / objective.partition("=")[0].replace(":", "-")[:100] / name
    path = Path(objective)
    return path / name if path.is_dir() else path.parent / name


def check_out(folder: Path) -> None:
    """Before time is spent, whether a folder can be written or made."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UserError(f"out: {there} is a file; give a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UserError(f"out: {there} cannot be written to; give another folder")
