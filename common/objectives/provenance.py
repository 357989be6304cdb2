"""Where an objective comes from: what is written down when a run begins, and goes into its folder and its files."""

import time
from collections.abc import Mapping
from typing import Any

from metaobj.common.devices import hardware
from metaobj.common.errors import UserError
from metaobj.common.evaluation.cells import versions
from metaobj.common.objectives import file


def here() -> dict[str, str]:
    """The day, and what programs run on."""
    found = versions()
    told = ", ".join(f"{name} {found[name]}" for name in ("metaobj", "jax"))
    return {"date": time.strftime("%Y-%m-%d"), "versions": told, "hardware": hardware()}


def begun(init: str, kind: str) -> dict[str, Any]:
    """The provenance of a run that begins now, as JSON data.

    Args:
        init: the objective that its weights are, or nothing.
        kind: of the objectives.

    Raises:
        UserError: there is no such objective.
    """
    return {**here(), **({"init": origin(init, kind)} if init else {})}


def origin(name: str, kind: str) -> dict[str, Any]:
    """What an objective was when another one started from it, and what it had started from itself.

    Raises:
        UserError: there is none of this name and kind.
    """
    try:
        return known(name, file.load(name, kind)[1])
    except UserError as error:
        raise UserError(f"init: {error}") from error


def known(name: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The same of one whose file's metadata are given."""
    found: dict[str, Any] = {"name": name, "digest": metadata["digest"]}
    if "meta_updates" in metadata:
        found["meta_updates"] = metadata["meta_updates"]
    configuration, provenance = metadata.get("configuration"), metadata.get("provenance")
    if isinstance(provenance, Mapping) and "init" in provenance:
        found["init"] = provenance["init"]
    elif isinstance(configuration, Mapping) and configuration.get("init"):  # by a version that wrote its name alone
        found["init"] = {"name": configuration["init"]}
    return found
