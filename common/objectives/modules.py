"""Python modules that a configuration names: one is imported only where the user names it himself, as a run folder or a
file may be a stranger's.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from metaobj.common.environments.names import names_module
from metaobj.common.errors import UserError

NAMING = ("distribution", "selection")
"""Fields whose values may name one."""


def check_modules(
    where: Path,
    config: Any,
    said: Mapping[str, Any],
    how: Callable[[str, str], str],
) -> None:
    """Whether the user knows of every module that a file names.

    Args:
        where: the file, for the message.
        config: what it says.
        said: by those of the fields `NAMING` that it says, what the user gives for them.
        how: (a field, its value) to what the user is to give.

    Raises:
        UserError: it names a module that the user does not.
    """
    for name, given in said.items():
        value = getattr(config, name)
        if value != given and any(map(names_module, value.split("+"))):
            raise UserError(
                f"{where}: names the Python module of {value!r}, which would be imported; pass {how(name, value)} too "
                "if you know what it does"
            )
