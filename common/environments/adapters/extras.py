"""Packages that are not installed with this one."""

import contextlib
import importlib
import io
import warnings
from typing import Any

from metaobj.common.environments.names import needed_extra
from metaobj.common.errors import UserError


def import_extra(name: str, module: str) -> Any:
    """The module of an optional package, which the environment called `name` needs.

    Raises:
        UserError: it is not installed.
    """
    try:
        # Some complain at every import, of their age or of what they can do without, and some print it.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        extra = f"pip install 'metaobj[{needed_extra(name)}]'"
        raise UserError(f"environment: {name!r} needs the package {package}; install it with: {extra}") from error
