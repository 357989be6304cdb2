"""Configurations as data: dataclasses from what `asdict` and JSON made of them, now or in an older version, and from
what a user wrote in TOML.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from metaobj.common.errors import UserError


def from_json(kind: Any, value: Any, where: str) -> Any:
    """A value of a type from JSON data.

    A field that is missing takes its default, so that files from before it existed stay readable; one that is unknown
    is an error.

    Args:
        kind: a dataclass, `tuple[kind, ...]`, `dict[str, kind]`, a `Literal`, or float, int, bool or str.
        value: JSON data.
        where: what messages begin with.

    Raises:
        UserError: the data does not fit the type.
    """
    if is_dataclass(kind):
        return _dataclass_from_json(kind, value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise UserError(f"{where}: {value!r} found; must be a list")
        return tuple(from_json(get_args(kind)[0], entry, where) for entry in value)
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise UserError(f"{where}: {value!r} found; must be names with values")
        return {name: from_json(get_args(kind)[1], entry, f"{where}: {name}") for name, entry in value.items()}
    if get_origin(kind) is Literal:
        fits = value in get_args(kind)
    else:
        fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        choices = "choose from " + ", ".join(map(repr, get_args(kind)))
        raise UserError(f"{where}: {value!r} found; {choices if get_args(kind) else f'must be {kind.__name__}'}")
    return float(value) if kind is float else value


def _dataclass_from_json(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{where}: {type(value).__name__} found; must be the fields of {kind.__name__}")
    known = {field.name: field for field in fields(kind)}
    needed = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    if odd := sorted((set(value) - set(known)) | (needed - set(value))):
        raise UserError(f"{where}: is of another kind of objective or version: {', '.join(odd)} does not fit")
    hints = get_type_hints(kind)
    return kind(**{name: from_json(hints[name], value[name], f"{where}: {name}") for name in known if name in value})


def read_toml(path: str | Path) -> dict[str, Any]:
    """The data of a TOML file.

    Raises:
        UserError: there is none that can be read.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is no TOML file ({error})") from error


def overlaid(default: Any, data: Any, where: str = "") -> Any:
    """A dataclass with the values of the fields that data names, at any depth; names may have hyphens, as flags do.

    Raises:
        UserError: a field is unknown, or a value does not fit it; the message begins with the field's dotted name.
    """
    if not isinstance(data, Mapping):
        raise UserError(f"{where}: {data!r} found; must be fields of {type(default).__name__}")
    hints, changes = get_type_hints(type(default)), {}
    for key, value in data.items():
        name = key.replace("-", "_")
        at = f"{where}.{name}" if where else name
        if name not in hints:
            similar = " or ".join(at.removesuffix(name) + other for other in get_close_matches(name, hints, 2))
            hint = f"did you mean {similar}?" if similar else f"choose from {', '.join(hints)}"
            raise UserError(f"{at}: is unknown; {hint}")
        old = getattr(default, name)
        changes[name] = overlaid(old, value, at) if is_dataclass(old) else from_json(hints[name], value, at)
    return replace(default, **changes)
