"""A learned objective as one portable file.

The file is safetensors: named arrays, and one metadata entry `metaobj` with a JSON object. Reading it runs no code, so
it is safe to read one that a stranger sent. The same objective gives the same bytes.

    kind            which objective it is: the name of its plugin
    format_version  of this file's layout
    digest          SHA-256 over the arrays and all other metadata

All else is the caller's, such as what rebuilds the objective, what it was trained on and for how long.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from metaobj.common.errors import UserError
from metaobj.common.files import atomic_write, is_there, parse_json
from metaobj.common.types import PyTree

FORMAT_VERSION = 1
PRETRAINED = "pretrained:"
SUFFIX = ".safetensors"
STEPS = "objectives"
"""The folder of a run in which what it had learned by each checkpoint stays, `STEP.safetensors`."""
_ENTRY = "metaobj"


def save(path: str | Path, eta: PyTree, metadata: Mapping[str, Any]) -> None:
    """Write an objective, atomically.

    Args:
        path: the file; its folder exists.
        eta: nested dictionaries of arrays.
        metadata: JSON data; `kind` must be there, `format_version` and `digest` are added.

    Raises:
        UserError: the file cannot be written.
    """
    if not isinstance(metadata.get("kind"), str):
        raise ValueError(f"metadata: kind is {metadata.get('kind')!r}; it must name the kind of objective")
    arrays = {name: np.asarray(array, order="C") for name, array in flatten(eta).items()}
    entry = json.loads(json.dumps({**metadata, "format_version": FORMAT_VERSION}))
    entry["digest"] = _digest(arrays, entry)
    # One metadata entry: with several their order in the file would change from process to process.
    text = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    atomic_write(path, safetensors.numpy.save(arrays, metadata={_ENTRY: text}))


def load(path_or_name: str | Path, kind: str | None = None) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read an objective.

    Args:
        path_or_name: a file, a run folder, `RUN@STEP` for what a run had learned by then, or `pretrained:NAME` for one
            that ships with the package.
        kind: the kind of objective that is wanted; None takes any.

    Returns:
        Its arrays by name with "/" between levels (`unflatten` nests them), and its metadata.

    Raises:
        UserError: there is no such file, it is damaged, it is no objective, or not one that fits.
    """
    path = _resolve(path_or_name)
    arrays, entries = _read(path)
    if _ENTRY not in entries:
        raise UserError(f"{path}: is a safetensors file, but not a metaobj objective")
    try:
        metadata = parse_json(entries[_ENTRY])
        found_version, found_kind, digest = metadata["format_version"], metadata["kind"], metadata.get("digest")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: its metadata is damaged") from error
    if found_version != FORMAT_VERSION or not isinstance(found_kind, str):
        found = json.dumps(found_version)[:40]
        raise UserError(f"{path}: its format version is {found}; this version of metaobj reads {FORMAT_VERSION}")
    if digest != _digest(arrays, metadata):
        raise UserError(f"{path}: is damaged: its content does not match its digest")
    if kind is not None and found_kind != kind:
        raise UserError(f"{path}: is an objective of kind {found_kind}; one of kind {kind} is needed")
    return arrays, metadata


def pretrained_names() -> list[str]:
    """The names after `pretrained:` that `load` knows."""
    folder = resources.files("metaobj.common.objectives") / "pretrained"
    if not folder.is_dir():
        return []
    return sorted(entry.name.removesuffix(SUFFIX) for entry in folder.iterdir() if entry.name.endswith(SUFFIX))


def flatten(eta: PyTree, prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one, with "/" between the names of the levels."""
    if not isinstance(eta, Mapping):
        raise TypeError(
            f"eta: {type(eta).__name__} at {prefix or 'the top'}; an objective is nested dictionaries of arrays"
        )
    flat: dict[str, Any] = {}
    for name, value in eta.items():
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"eta: the name {name!r}; names are not empty and hold no '/'")
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}/")
        elif hasattr(value, "dtype"):
            flat[prefix + name] = value
        else:
            raise TypeError(
                f"eta: {type(value).__name__} at {prefix}{name}; an objective is nested dictionaries of arrays"
            )
    return flat


def unflatten(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `flatten`."""
    nested: dict[str, Any] = {}
    for path, array in arrays.items():
        *folders, name = path.split("/")
        level = nested
        for folder in folders:
            level = level.setdefault(folder, {})
        level[name] = array
    return nested


def _resolve(path_or_name: str | Path) -> Path:
    if isinstance(path_or_name, str) and path_or_name.startswith(PRETRAINED):
        name, names = path_or_name.removeprefix(PRETRAINED), pretrained_names()
        if name not in names:
            raise UserError(f"{path_or_name}: no such pretrained objective; there are: {', '.join(names) or 'none'}")
        return Path(str(resources.files("metaobj.common.objectives") / "pretrained" / (name + SUFFIX)))
    path = Path(path_or_name)
    run, at, step = str(path_or_name).rpartition("@")
    if at and step.isdecimal() and (kept(Path(run), step).is_file() or not is_there(path)):
        return _of_step(Path(run), step)
    if is_there(path) and path.is_dir():
        path = path / "objective.safetensors"
    if not is_there(path) or not path.is_file():
        raise UserError(f"{path}: no such file; give an objective file, a run folder, or pretrained:NAME")
    return path


def kept(run: Path, step: int | str) -> Path:
    """Where a run keeps what it had learned by a checkpoint."""
    return run / STEPS / f"{step}{SUFFIX}"


def kept_steps(run: Path) -> list[int]:
    """The steps of which a run has kept what it had learned, in their order."""
    return sorted(int(one.stem) for one in (run / STEPS).glob(f"*{SUFFIX}") if one.stem.isdecimal())


def _of_step(run: Path, step: str) -> Path:
    """What a run had learned by then."""
    path = kept(run, step)
    if not is_there(path):
        steps = kept_steps(run)
        there = f"there are {', '.join(map(str, steps))}" if steps else "there are none"
        raise UserError(f"{run}@{step}: the run has kept no objective of that step; {there}")
    return path


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in sorted(file.keys())}, file.metadata() or {}
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:  # its Rust core raises types of its own, and Python's for dtypes NumPy does not have
        reason = re.sub(r"\s+", " ", str(error))
        raise UserError(f"{path}: is not a safetensors file, or is damaged ({reason})") from error


def _digest(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> str:
    rest = {name: value for name, value in metadata.items() if name != "digest"}
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(json.dumps([name, list(array.shape), str(array.dtype)]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
