"""Distributions and suites of one's own, as entries in a TOML file:

    [[entries]]
    environment = "grid/random_small"
    lifetimes = 8
    updates = 500
    agent = {torso = "dense", hidden = [64, 64], optimiser = "adam"}

What an entry does not tell is as it is where the environment is named alone.
"""

from collections.abc import Callable
from typing import Any, TypeVar

from metaobj.common.configuration import overlaid, read_toml
from metaobj.common.environments.names import names_module
from metaobj.common.errors import UserError

SUFFIX = ".toml"

Entry = TypeVar("Entry")


def read_entries(path: str, usual: Callable[[str], Entry]) -> tuple[Entry, ...]:
    """The entries of a file.

    Args:
        path: of the file.
        usual: an environment's name to its entry where nothing else is told.

    Raises:
        UserError: the file cannot be read, or what it says is not possible; names the file, the entry and the field.
    """
    data = read_toml(path)
    if odd := sorted(set(data) - {"entries"}):
        raise UserError(f"{path}: {odd[0]}: is unknown; a file of entries holds [[entries]] alone")
    tables = data.get("entries")
    if not isinstance(tables, list) or not tables:
        raise UserError(f"{path}: entries: none found; must be one or more tables, [[entries]]")
    found = []
    for number, table in enumerate(tables, 1):
        try:
            found.append(_entry(table, usual))
        except UserError as error:
            raise UserError(f"{path}: entry {number}: {error}") from error
    return tuple(found)


def _entry(table: Any, usual: Callable[[str], Entry]) -> Entry:
    name = table.get("environment") if isinstance(table, dict) else None
    if not isinstance(name, str):
        raise UserError(f"environment: {name!r} found; must be an environment's name")
    if names_module(name):  # imported only where it is named on the command line: the file may be a stranger's
        raise UserError(f"environment: {name!r} found; join an environment of your own with +, as in FILE.toml+{name}")
    return overlaid(usual(name), table)
