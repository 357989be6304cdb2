"""Objectives from files, by the plugin of their kind. Nothing in a file is run, and nothing in it is believed: all that
is used later is checked here, for the command and for Python alike.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from metaobj.common.configuration import from_json
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives import file
from metaobj.common.objectives.plugin import Loaded, get_plugin


def load_objective(path_or_name: str | Path, kind: str | None = None, trust: bool = False) -> Loaded[Any, Any]:
    """An objective file, the objective of a run folder, or `pretrained:NAME`.

    Args:
        path_or_name: which.
        kind: the kind that is wanted; None takes any.
        trust: whether Python modules that the file names as environments may be imported later, see
            `Loaded.environments`.

    Raises:
        UserError: there is none, it is damaged, or of another kind or version; or an array or a number in it is not
            what it must be.
    """
    arrays, metadata = file.load(path_or_name, kind)
    try:
        plugin = get_plugin(metadata["kind"])
    except UserError as error:
        raise UserError(f"{path_or_name}: {error}") from None
    missing = {"objective", "configuration", "entries", "hyperparameters"} - set(metadata)
    if missing:
        raise UserError(f"{path_or_name}: its metadata lacks {', '.join(sorted(missing))}; another version wrote it")
    where = f"{path_or_name}: its metadata"
    if not isinstance(metadata["objective"], Mapping):
        raise UserError(f"{where}: objective: {type(metadata['objective']).__name__} found; must be named fields")
    try:
        objective = plugin.rebuild(metadata["objective"])
        wanted = file.flatten(jax.eval_shape(objective.init, jax.random.key(0)))
    except (KeyError, TypeError, ValueError, OverflowError, UserError) as error:
        raise UserError(f"{path_or_name}: this version of {plugin.kind} cannot be built from it: {error}") from error
    _check_arrays(str(path_or_name), arrays, wanted)
    entries = from_json(tuple[Entry, ...], metadata["entries"], f"{where}: entries")
    if not entries:
        raise UserError(f"{where}: entries: none found; there must be one or more")
    names = [name for name in objective.hyperparameters if name != "learning_rate"]
    grids = from_json(dict[str, tuple[float, ...]], metadata["hyperparameters"], f"{where}: hyperparameters")
    for name in names:
        if not grids.get(name):
            raise UserError(f"{where}: hyperparameters: no values of {name}")
    for grid, values in grids.items():
        _check_settings(f"{where}: hyperparameters: {grid}", values)
    settings = from_json(tuple[dict[str, float], ...], metadata.get("settings", []), f"{where}: settings")
    if settings and len(settings) != len(entries):
        raise UserError(
            f"{where}: settings: {len(settings)} found; must be none, or one for each entry ({len(entries)})"
        )
    for setting in settings:
        _check_settings(f"{where}: settings", list(setting.values()))
        if missing := {"learning_rate", *names} - set(setting):
            raise UserError(f"{where}: settings: {', '.join(sorted(missing))} is missing")
    for name in ("meta_updates", "environment_steps"):
        if type(count := metadata.get(name, 0)) is not int or count < 0:
            raise UserError(f"{where}: {name}: {count!r:.40} found; must be a whole number, at least 0")
    return Loaded(
        plugin=plugin,
        objective=objective,
        eta=file.unflatten({n: jax.numpy.asarray(array, wanted[n].dtype) for n, array in arrays.items()}),
        config=from_json(plugin.configuration, metadata["configuration"], f"{where}: configuration"),
        entries=entries,
        hyperparameters=grids,
        settings=settings,
        metadata=metadata,
        source=str(path_or_name),
        trust=trust,
    )


def _check_arrays(where: str, arrays: Mapping[str, np.ndarray], wanted: Mapping[str, Any]) -> None:
    """That they are those of the objective which the metadata describes, floats, and all finite."""
    for name in sorted(wanted.keys() - arrays.keys()):
        raise UserError(f"{where}: its array {name} is missing")
    for name, array in arrays.items():
        if name not in wanted:
            raise UserError(f"{where}: its array {name} does not fit the objective that its metadata describes")
        if array.dtype not in (np.float32, np.float64):
            raise UserError(f"{where}: its array {name} is of {array.dtype}; must be float32 or float64")
        if array.shape != wanted[name].shape:
            shapes = f"{list(array.shape)}; must be {list(wanted[name].shape)}"
            raise UserError(f"{where}: the shape of its array {name} is {shapes}, as its metadata says")
        with np.errstate(over="ignore"):  # what is too large for a float32 is infinite then
            bad = int(np.sum(~np.isfinite(array.astype(wanted[name].dtype))))
        if bad:
            raise UserError(f"{where}: its array {name} holds {bad} numbers that are not finite; must be none")


def _check_settings(where: str, values: Sequence[float]) -> None:
    if odd := [value for value in values if not 0 <= value < math.inf]:
        raise UserError(f"{where}: {odd[0]} found; must be finite and at least 0")
