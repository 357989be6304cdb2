"""Packages that are not installed with this one."""

import contextlib
import importlib
import io
import json
import os
import sys
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

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
        extra = install_command(str(needed_extra(name)))
        raise UserError(f"environment: {name!r} needs the package {package}; install it with: {extra}") from error


def install_command(extra: str) -> str:
    """What is typed for an optional extra of this package; where it is installed from a folder, as after `make`, from
    there.
    """
    installed = metadata.distribution("metaobj").read_text("direct_url.json")
    told = json.loads(installed) if installed else {}
    if told.get("dir_info", {}).get("editable"):
        return f"{pip()} install -e '{_near(unquote(urlparse(told['url']).path))}[{extra}]'"
    return f"{pip()} install 'metaobj[{extra}]'"


def pip() -> str:
    """That of this environment, as it is typed: one that is not activated is not on the path."""
    if sys.prefix in (sys.base_prefix, os.environ.get("VIRTUAL_ENV")):
        return "pip"
    return f"{_near(sys.prefix)}/bin/pip"


def _near(folder: str) -> str:
    """From where the user stands, if it lies there."""
    here = Path.cwd()
    return str(Path(folder).relative_to(here)) if Path(folder).is_relative_to(here) else folder
