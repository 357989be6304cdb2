"""Configurations as JSON data: dataclasses from what `asdict` and JSON made of them."""

from dataclasses import fields, is_dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from metaobj.common.errors import UserError


def from_json(kind: Any, value: Any, where: str) -> Any:
    """A dataclass from what `asdict` and JSON made of it."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        names = {field.name for field in fields(kind)}
        if not isinstance(value, dict) or set(value) != names:
            odd = sorted(set(value) ^ names) if isinstance(value, dict) else [type(value).__name__]
            raise UserError(f"{where}: is of another kind of objective or version: {', '.join(odd)} does not fit")
        return kind(**{name: from_json(hints[name], value[name], f"{where}: {name}") for name in names})  # type: ignore[operator]  # a dataclass is callable
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise UserError(f"{where}: {value!r} found; must be a list")
        return tuple(from_json(get_args(kind)[0], entry, where) for entry in value)
    if get_origin(kind) is Literal:
        fits = value in get_args(kind)
    else:
        fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits:
        raise UserError(f"{where}: {value!r} found; must be {getattr(kind, '__name__', get_args(kind))}")
    return value
