"""Objectives from files, by the plugin of their kind. Nothing in a file is run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax

from metaobj.common.errors import UserError
from metaobj.common.objectives import file
from metaobj.common.objectives.configuration import from_json
from metaobj.common.objectives.plugin import Plugin, get_plugin
from metaobj.common.types import PyTree


def load_objective(path_or_name: str | Path, kind: str | None = None) -> tuple[Plugin, Any, PyTree, Mapping[str, Any]]:
    """(plugin, objective, eta, metadata) of an objective file, a run folder or `pretrained:NAME`."""
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
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path_or_name}: this version of {plugin.kind} cannot be built from it: {error}") from error
    wanted = file.flatten(jax.eval_shape(objective.init, jax.random.key(0)))
    shapes = {name: array.shape for name, array in arrays.items()}
    odd = sorted(n for n in shapes.keys() | wanted.keys() if n not in wanted or shapes.get(n) != wanted[n].shape)
    if odd:
        raise UserError(f"{path_or_name}: its array {odd[0]} does not fit the objective that its metadata describes")
    eta = jax.tree.map(jax.numpy.asarray, file.unflatten(arrays))
    return plugin, objective, eta, metadata


def configuration_of(plugin: Plugin, metadata: Mapping[str, Any]) -> Any:
    """The configuration that an objective was trained with, from its file's metadata.

    Raises:
        UserError: another version wrote it, with other fields.
    """
    return from_json(type(plugin.presets[plugin.default_preset]), metadata["configuration"], "the objective's metadata")
