"""Objectives from files, by the plugin of their kind. Nothing in a file is run."""

from pathlib import Path
from typing import Any

import jax

from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives import file
from metaobj.common.objectives.configuration import from_json
from metaobj.common.objectives.plugin import Loaded, get_plugin


def load_objective(path_or_name: str | Path, kind: str | None = None) -> Loaded[Any, Any]:
    """An objective file, the objective of a run folder, or `pretrained:NAME`.

    Args:
        path_or_name: which.
        kind: the kind that is wanted; None takes any.

    Raises:
        UserError: there is none, it is damaged, or of another kind or version.
    """
    arrays, metadata = file.load(path_or_name, kind)
    try:
        plugin = get_plugin(metadata["kind"])
    except UserError as error:
        raise UserError(f"{path_or_name}: {error}") from None
    missing = {"objective", "configuration", "entries", "hyperparameters"} - set(metadata)
    if missing:
        raise UserError(f"{path_or_name}: its metadata lacks {', '.join(sorted(missing))}; another version wrote it")
    try:
        objective = plugin.rebuild(metadata["objective"])
    except (KeyError, TypeError, ValueError, UserError) as error:
        raise UserError(f"{path_or_name}: this version of {plugin.kind} cannot be built from it: {error}") from error
    wanted = file.flatten(jax.eval_shape(objective.init, jax.random.key(0)))
    shapes = {name: array.shape for name, array in arrays.items()}
    odd = sorted(n for n in shapes.keys() | wanted.keys() if n not in wanted or shapes.get(n) != wanted[n].shape)
    if odd:
        raise UserError(f"{path_or_name}: its array {odd[0]} does not fit the objective that its metadata describes")
    where = f"{path_or_name}: its metadata"
    return Loaded(
        plugin=plugin,
        objective=objective,
        eta=jax.tree.map(jax.numpy.asarray, file.unflatten(arrays)),
        config=from_json(plugin.configuration, metadata["configuration"], f"{where}: configuration"),
        entries=from_json(tuple[Entry, ...], metadata["entries"], f"{where}: entries"),
        hyperparameters=from_json(dict[str, tuple[float, ...]], metadata["hyperparameters"], f"{where}: grids"),
        settings=from_json(tuple[dict[str, float], ...], metadata.get("settings", []), f"{where}: settings"),
        metadata=metadata,
    )
