"""Packages that are not installed with this one."""

import importlib
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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its age, at every import
            return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        extra = f"pip install 'metaobj[{needed_extra(name)}]'"
        raise UserError(f"environment: {name!r} needs the package {package}; install it with: {extra}") from error
