"""Checkpoints of a training run: Orbax behind a few functions. Nothing else in the project imports Orbax.

A checkpoint is one folder named after its step. It holds the leaves of the state, and a manifest with the path, shape
and dtype of every leaf, whatever else the caller wants kept as JSON, and a SHA-256 digest of all of it. Orbax writes
under a temporary name and renames, so a folder named after a step was whole when it was written; the digest adds that
disk faults, truncated copies and edits are found when the checkpoint is read. Digests of the files are looked at first:
they name what is damaged, and keep Orbax from reading it, which it does with much noise from its threads.

Of several processes each writes, reads and digests the parts of arrays that it holds. What is saved is the same however
they are shared out: of rows that only make up what devices could not share equally, nothing is kept.
"""

import errno
import json
import logging
import os
import re
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from metaobj.common.errors import UserError
from metaobj.common.files import atomic_write
from metaobj.common.processes import agreed, everyones, firsts, is_first, several
from metaobj.common.runs.digests import check_files, digest_of, digests_of_files
from metaobj.common.types import PyTree

FORMAT_VERSION = 2
"""Of 1, digests were of whole arrays; here, of their rows one by one where several processes may hold them."""
FILES = "files.json"
"""Digests of a checkpoint's files, added after Orbax's rename; a kill in between leaves a good checkpoint without."""
TEMPORARY = ".orbax-checkpoint-tmp"
"""What Orbax appends to the name of a folder that it has not finished."""


@contextmanager
def quiet_checkpoints() -> Iterator[None]:
    """While it is open, Orbax's failures are told by exceptions alone.

    Its logs would only repeat them on the user's terminal, and asyncio's once for each array of a damaged checkpoint.
    After a failed write, whose first error is told, tensorstore's threads report the others to an event loop that is
    gone.
    """

    def not_orbax(record: logging.LogRecord) -> bool:
        return "orbax" not in record.pathname

    def not_of_orbax(record: logging.LogRecord) -> bool:
        # Where it says only that an exception was never retrieved, the exception's own traceback tells whose it was.
        where = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        return not re.search("orbax|tensorstore", record.getMessage() + where)

    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        if str(unraisable.exc_value) != "Event loop is closed":
            before(unraisable)

    absl, asyncio = logging.getLogger("absl"), logging.getLogger("asyncio")
    absl.addFilter(not_orbax)
    asyncio.addFilter(not_of_orbax)
    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        asyncio.removeFilter(not_of_orbax)
        absl.removeFilter(not_orbax)


class CheckpointError(UserError):
    """A checkpoint could not be written; the earlier ones are whole."""


class Checkpoints:
    """The checkpoints of one run, the newest `keep` of them.

    Args:
        directory: made if missing. What a killed process left half written there is removed.
        keep: how many checkpoints stay; an old one goes only after a new one is whole.
        report: told one line when a checkpoint is unreadable and an older one is tried.
        rows: a tree like the states, of how many rows of each array count, 0 for all of it; by default all do.
    """

    def __init__(
        self,
        directory: str | Path,
        keep: int = 2,
        report: Callable[[str], None] = lambda line: None,
        rows: PyTree | None = None,
    ) -> None:
        if keep < 1:
            raise UserError(f"keep: {keep} checkpoints; at least 1 must be kept")
        self._rows = rows
        self._directory = Path(directory).absolute()
        self._keep = keep
        self._report = report
        self._whole: set[int] = set()  # steps that this process wrote or read back
        self._unreadable: set[int] = set()
        with agreed():
            try:
                self._directory.mkdir(parents=True, exist_ok=True)
                self._remove_leftovers()
            except OSError as error:
                raise CheckpointError(f"{self._directory}: cannot keep checkpoints there: {_reason(error)}") from error
        self._manager = self._open_manager()

    def steps(self) -> list[int]:
        """The steps that have a checkpoint, oldest first; whether it can be read shows when it is."""
        # While the first process removes one, others may see it still.
        return json.loads(firsts(json.dumps(saved_steps(self._directory))))

    @quiet_checkpoints()
    def save(self, step: int, state: PyTree, extra: dict[str, Any] | None = None) -> None:
        """Write `state` and return when it is safe on disk. A step already saved by this process is left as it is.

        Args:
            step: its number, at least 0.
            state: any pytree of arrays, typed PRNG keys and Python numbers, wherever they are placed.
            extra: JSON data that goes with it.

        Raises:
            CheckpointError: the disk is full, or writing failed for another reason outside the program.
        """
        if step in self._whole:
            return
        leaves, rows = [_plain(leaf) for leaf in jax.tree.leaves(state)], self._rows_of(state)
        header = {
            "format_version": FORMAT_VERSION,
            "step": step,
            "leaves": _table(state, rows),
            "extra": json.loads(json.dumps(extra or {})),
        }
        manifest = {**header, "digest": digest_of(header, leaves, rows)}
        try:
            if step in self.steps():  # unreadable: the run fell back past it, and has now come here again
                self._discard(step)
            arguments = ocp.args.Composite(
                state=ocp.args.StandardSave(_saved(leaves)), manifest=ocp.args.JsonSave(manifest)
            )
            self._manager.save(step, args=arguments, force=True)
            digests = digests_of_files(folder := self._directory / str(step), FILES)
            if is_first():
                atomic_write(folder / FILES, json.dumps(digests, indent=1))
            self._whole.add(step)
            self._unreadable.discard(step)
            self._retire()
        except Exception as error:
            self._recover(step)
            if _is_outside(error):
                raise CheckpointError(
                    f"{self._directory}: cannot write the checkpoint of step {step}: {_reason(error)}"
                ) from error
            raise

    @quiet_checkpoints()
    def restore_latest(self, template: PyTree) -> tuple[int, PyTree, dict[str, Any]] | None:
        """The newest checkpoint that is whole, as (step, state, extra); None where there is no checkpoint at all.

        Args:
            template: a state of the same structure, shapes and dtypes; the restored arrays take its shardings.

        Raises:
            UserError: there are checkpoints, and none can be read into this template.
        """
        steps = self.steps()
        reasons = []
        for step in reversed(steps):
            restored, reason = None, ""
            try:
                restored = self._restore(step, template)
            except Exception as error:  # damage shows as almost any exception, from json's to tensorstore's
                reason = _reason(error)
            reason = next(filter(None, everyones(reason)), "")
            if restored is not None and not reason:
                self._whole.add(step)
                return step, *restored
            reasons.append(f"step {step}: {reason}")
            self._unreadable.add(step)
            self._report(f"checkpoint of step {step} in {self._directory} is unreadable ({reason})")
        if steps:
            raise UserError(f"{self._directory}: none of its {len(steps)} checkpoints is readable ({reasons[0]})")
        return None

    def close(self) -> None:
        """Let go of Orbax's resources."""
        self._manager.close()

    def _restore(self, step: int, template: PyTree) -> tuple[PyTree, dict[str, Any]]:
        check_files(self._directory / str(step), FILES)
        manifest = self._manager.restore(step, args=ocp.args.Composite(manifest=ocp.args.JsonRestore()))["manifest"]
        header = {name: value for name, value in manifest.items() if name != "digest"}
        if not 1 <= header["format_version"] <= FORMAT_VERSION:
            raise ValueError(f"its format version is {header['format_version']}; this version reads {FORMAT_VERSION}")
        if header["step"] != step:
            raise ValueError(f"it is the checkpoint of step {header['step']}")
        rows = self._rows_of(template)
        _check_table(header["leaves"], _table(template, rows))

        template_leaves, structure = jax.tree.flatten(template)
        plain = [_plain(leaf) for leaf in template_leaves]
        # Where rows that do not count are more or fewer than they were, Orbax cuts arrays or makes them longer.
        wanted = ocp.args.StandardRestore(_saved(plain), strict=not any(rows))
        found = self._manager.restore(step, args=ocp.args.Composite(state=wanted))["state"]
        leaves = [found.get(_name(index), leaf) for index, leaf in enumerate(plain)]  # an empty leaf is its template
        if digest_of(header, leaves, rows) != manifest["digest"]:
            raise ValueError("its content does not match its digest")
        leaves = [_made_up(*each) for each in zip(leaves, plain, rows, strict=True)]
        restored = [_like(leaf, value) for leaf, value in zip(template_leaves, leaves, strict=True)]
        return jax.tree.unflatten(structure, restored), header["extra"]

    def _retire(self) -> None:
        """Remove what retention no longer asks for; unreadable checkpoints count for nothing."""
        for step in self._unreadable:
            self._discard(step)
        self._unreadable.clear()
        for step in self.steps()[: -self._keep]:
            self._discard(step)

    def _discard(self, step: int) -> None:
        # Renamed first, so that a kill in the middle leaves leftovers and not a broken checkpoint.
        with agreed():
            if is_first():
                doomed = self._directory / f"{step}{TEMPORARY}-discarded"
                os.replace(self._directory / str(step), doomed)
                shutil.rmtree(doomed)
        self._whole.discard(step)
        self._manager.reload()

    def _recover(self, step: int) -> None:
        """After a failed save: no leftovers on disk, and none in Orbax's memory. Of several processes none goes on: the
        others wait for this one in the middle of it.
        """
        if several():
            return
        try:
            self._manager.close()
        except Exception:  # repeats the failure of the save
            logging.getLogger(__name__).debug("closing after a failed save", exc_info=True)
        # Threads of the failed save that are still at it would tell of their own failures when the process ends.
        for thread in threading.enumerate():
            if type(thread).__module__.startswith("orbax"):
                thread.join(timeout=10)
        self._remove_leftovers()
        self._manager = self._open_manager()
        if step in self.steps() and step not in self._whole:
            self._discard(step)

    def _remove_leftovers(self) -> None:
        if is_first():
            for leftover in self._directory.glob(f"*{TEMPORARY}*"):
                shutil.rmtree(leftover, ignore_errors=True)

    def _rows_of(self, state: PyTree) -> list[int]:
        """For each leaf."""
        return jax.tree.leaves(self._rows) if self._rows is not None else [0] * len(jax.tree.leaves(state))

    def _open_manager(self) -> ocp.CheckpointManager:
        # Retention is ours: Orbax's would count unreadable checkpoints too.
        options = ocp.CheckpointManagerOptions(enable_async_checkpointing=False, max_to_keep=None)
        return ocp.CheckpointManager(self._directory, options=options)


def saved_steps(directory: Path) -> list[int]:
    """The steps that have a checkpoint in a folder, oldest first; none where there is no folder."""
    if not directory.is_dir():
        return []
    return sorted(int(entry.name) for entry in directory.iterdir() if re.fullmatch("[0-9]{1,18}", entry.name))


def _is_key(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _plain(leaf: Any) -> jax.Array | np.ndarray:
    """A leaf as an ordinary array: keys become their data."""
    if _is_key(leaf):
        return jax.random.key_data(leaf)
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _like(leaf: Any, value: Any) -> Any:
    """The inverse of `_plain`, with the kind of leaf that the template has."""
    if _is_key(leaf):
        return jax.random.wrap_key_data(value, impl=jax.random.key_impl(leaf))
    if isinstance(leaf, jax.Array | np.ndarray):
        return value
    return type(leaf)(np.asarray(value).item())


def _name(index: int) -> str:
    return f"{index:05d}"


def _saved(leaves: list[Any]) -> dict[str, Any]:
    """The leaves by name, without empty arrays, which Orbax refuses and which carry nothing beyond their shape."""
    return {_name(index): leaf for index, leaf in enumerate(leaves) if leaf.size}


def _made_up(leaf: Any, template: Any, rows: int) -> Any:
    """The leaf, whose rows beyond those that count are the template's."""
    if not rows or rows == leaf.shape[0]:
        return leaf
    counts = np.arange(leaf.shape[0]).reshape(-1, *(1,) * (leaf.ndim - 1)) < rows
    return jax.jit(jnp.where, out_shardings=template.sharding)(counts, leaf, template)


def _table(tree: PyTree, rows: list[int]) -> list[list[Any]]:
    """[path, shape, dtype] of every leaf."""
    table = []
    for (path, leaf), count in zip(jax.tree_util.tree_leaves_with_path(tree), rows, strict=True):
        array = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
        shape = [count, *array.shape[1:]] if count else list(array.shape)
        table.append([jax.tree_util.keystr(path), shape, str(array.dtype)])
    return table


def _check_table(found: list[list[Any]], wanted: list[list[Any]]) -> None:
    for (path, shape, dtype), (path_wanted, shape_wanted, dtype_wanted) in zip(found, wanted, strict=False):
        if path != path_wanted:
            raise ValueError(f"it holds another state: {path} where this run has {path_wanted}")
        if (shape, dtype) != (shape_wanted, dtype_wanted):
            raise ValueError(f"its {path} is {dtype}{shape}; this run's is {dtype_wanted}{shape_wanted}")
    if len(found) != len(wanted):
        raise ValueError(f"it holds another state: {len(found)} arrays where this run has {len(wanted)}")


def _is_outside(error: BaseException) -> bool:
    """Whether the operating system said no, told by Python, by tensorstore or by `atomic_write`."""
    return isinstance(error, OSError | UserError) or "os_error_code" in str(error)


def _reason(error: BaseException) -> str:
    """One short line about what went wrong."""
    if isinstance(error, UserError) and isinstance(error.__cause__, OSError):
        error = error.__cause__
    told = re.search(r"os_error_code='(\d+)'", str(error))
    code = int(told.group(1)) if told else getattr(error, "errno", None)
    if code == errno.ENOSPC:
        return "disk full (No space left on device)"
    if code:
        return os.strerror(code)
    line = " ".join(str(error).split())
    return (line if len(line) <= 160 else line[:157] + "...") or type(error).__name__
