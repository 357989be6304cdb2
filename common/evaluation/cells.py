"""What an evaluation has computed already: one file for each cell (agents of one method on one task), found by all that
went into it. A killed evaluation goes on with what is there, and nothing is computed twice.

In a file's first line is the SHA-256 of the rest, which is NumPy's archive of arrays.
"""

import dataclasses
import hashlib
import io
import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import numpy as np

from metaobj.common.environments.names import names_module
from metaobj.common.evaluation.training import Record
from metaobj.common.files import atomic_write, make_folder
from metaobj.common.types import PyTree

FORMAT_VERSION = 3
_PACKAGES = ("metaobj", "jax", "jaxlib", "flax", "optax", "numpy", "gymnax", "brax", "jumanji", "craftax", "gymnasium")


class Cells:
    """Stored cells in a folder; without one every cell is computed."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder

    def find(self, inputs: Mapping[str, Any]) -> Record | None:
        """What was computed from these inputs (JSON data); None where nothing is stored that can be read."""
        if self._folder is None:
            return None
        try:
            found, content = self._path(inputs).read_bytes().split(b"\n", 1)
        except (OSError, ValueError):
            return None
        if found != _hash(content):  # a torn or damaged file is no file
            return None
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            if str(arrays["inputs"]) != _text(inputs):
                return None
            return Record(**{name: arrays.get(name) for name in Record._fields})

    def keep(self, inputs: Mapping[str, Any], record: Record) -> None:
        """Store what was computed.

        Raises:
            UserError: it cannot be written.
        """
        if self._folder is None:
            return
        make_folder(self._folder)
        buffer = io.BytesIO()
        arrays = {name: value for name, value in record._asdict().items() if value is not None}
        np.savez_compressed(buffer, inputs=np.array(_text(inputs)), **arrays)
        content = buffer.getvalue()
        atomic_write(self._path(inputs), _hash(content) + b"\n" + content)

    def _path(self, inputs: Mapping[str, Any]) -> Path:
        assert self._folder is not None
        return self._folder / f"{_hash(_text(inputs).encode()).decode()[:24]}.cell"


def versions() -> dict[str, str]:
    """Of what computes: another one may give other numbers."""
    device = jax.devices()[0]
    return {
        "cells": str(FORMAT_VERSION),
        **{name: _version(name) for name in _PACKAGES},
        "device": device.device_kind,
        "x64": str(jax.config.values["jax_enable_x64"]),
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "none"


def source_of(environment: str) -> str:
    """Digest of the module that an environment of one's own is from; empty for those of this package."""
    if not names_module(environment):
        return ""
    module = sys.modules.get(environment.partition(":")[0])
    try:
        return _hash(Path(str(getattr(module, "__file__", ""))).read_bytes()).decode()
    except OSError:
        return ""


def is_stable(described: Any) -> bool:
    """Whether a description tells all: what was only shown as text may differ in what the text leaves out."""
    if isinstance(described, Mapping):
        return "text" not in described and all(map(is_stable, described.values()))
    return isinstance(described, str) or not isinstance(described, Sequence) or all(map(is_stable, described))


def digest(tree: PyTree) -> str:
    """SHA-256 over the arrays of a tree, with their places, shapes and types."""
    total = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(leaf)
        total.update(f"{jax.tree_util.keystr(path)} {array.shape} {array.dtype}".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def describe(value: Any) -> Any:
    """A rule, a program or any other static value as JSON data that is the same in every process."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Enum):
        return value.name
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: describe(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"type": _name(type(value)), **fields}
    if isinstance(value, Mapping):
        return {str(key): describe(entry) for key, entry in value.items()}
    if isinstance(value, Sequence | set | frozenset):
        entries = [describe(entry) for entry in value]
        return entries if isinstance(value, Sequence) else sorted(entries, key=_text)
    if isinstance(value, np.ndarray | jax.Array):
        return {"array": digest(value)}
    if isinstance(value, type) or (hasattr(value, "__qualname__") and "<" not in value.__qualname__):
        return _name(value)
    return {"type": _name(type(value)), "text": re.sub(r" at 0x[0-9a-f]+", "", repr(value))}


def _name(value: type | Callable[..., Any]) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def _hash(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _text(data: Any) -> str:
    return json.dumps(data, sort_keys=True, separators=(",", ":"))
