"""SHA-256 digests of arrays and files, of which several processes each read their part."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from metaobj.common.processes import everyones, firsts, process, several

SIZE = hashlib.sha256().digest_size


def digest_of(header: dict[str, Any], leaves: list[Any], rows: list[int]) -> str:
    """The digest of a state and what is told with it, the same however devices and processes share the state out.

    Args:
        header: JSON data; "format_version" 1 digests whole arrays, 2 those with rows row by row.
        leaves: arrays.
        rows: for each how many of its rows count, 0 for all of it.
    """
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    by_row = [count > 0 and header["format_version"] > 1 for count in rows]
    by_rows = iter(_of_rows([leaf for leaf, parted in zip(leaves, by_row, strict=True) if parted]))
    for leaf, count, parted in zip(leaves, rows, by_row, strict=True):
        if parted:
            digest.update(next(by_rows)[:count].data)
            continue
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
        # Through bytes one leaf at a time: the host holds one leaf's copy, not the state's.
        whole = np.asarray(leaf)[:count] if count else leaf
        digest.update(_bytes(whole).data)
    return digest.hexdigest()


def _of_rows(leaves: list[Any]) -> list[np.ndarray]:
    """For each array [N, ...] the digests [N, SIZE] of its rows."""
    found = [np.zeros((leaf.shape[0], SIZE), np.uint8) for leaf in leaves]
    for leaf, digests in zip(leaves, found, strict=True):
        parts = [(0, leaf)]
        if isinstance(leaf, jax.Array):
            parts = [(part.index[0].start or 0, part.data) for part in leaf.addressable_shards if part.replica_id == 0]
        for start, part in parts:
            for at, row in enumerate(np.asarray(part), start):
                digests[at] = np.frombuffer(hashlib.sha256(_bytes(row).data).digest(), np.uint8)
    if several() and found:
        # Rows that another process holds are 0 here.
        everyone = multihost_utils.process_allgather(np.concatenate(found)).sum(0, dtype=np.uint8)
        found = np.split(everyone, np.cumsum([len(digests) for digests in found])[:-1])
    return found


def _bytes(array: Any) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def digests_of_files(folder: Path, but: str) -> dict[str, str]:
    """Of all files in a folder and those within it, except the one called `but`; "" for one that cannot be read."""
    every = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != but]
    every = json.loads(firsts(json.dumps(sorted(every))))
    own = {name: _of_file(folder / name) for name in every[process() :: jax.process_count()]}
    found = {name: digest for told in everyones(json.dumps(own)) for name, digest in json.loads(told).items()}
    return {name: found[name] for name in every}


def _of_file(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # told to the others, who would wait for it
        return ""


def check_files(folder: Path, record: str) -> None:
    """Compare a folder's files with the digests in one of them, where it is there.

    Raises:
        ValueError: naming the first that is not as it was.
    """
    path = folder / record
    wanted = json.loads(firsts(path.read_text() if path.exists() else "{}"))
    if not wanted:
        return
    found = digests_of_files(folder, record)
    for name, digest in wanted.items():
        if name not in found:
            raise ValueError(f"its file {name} is missing")
        if found[name] != digest:
            raise ValueError(f"its file {name} does not match its digest")
