"""Configurations as JSON data: dataclasses from what `asdict` and JSON made of them, now or in an older version."""

from dataclasses import MISSING, fields, is_dataclass
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
        raise UserError(f"{where}: {value!r} found; must be {getattr(kind, '__name__', get_args(kind))}")
    return value


def _dataclass_from_json(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise UserError(f"{where}: {type(value).__name__} found; must be the fields of {kind.__name__}")
    known = {field.name: field for field in fields(kind)}
    needed = {name for name, field in known.items() if field.default is MISSING and field.default_factory is MISSING}
    if odd := sorted((set(value) - set(known)) | (needed - set(value))):
        raise UserError(f"{where}: is of another kind of objective or version: {', '.join(odd)} does not fit")
    hints = get_type_hints(kind)
    return kind(**{name: from_json(hints[name], value[name], f"{where}: {name}") for name in known if name in value})
