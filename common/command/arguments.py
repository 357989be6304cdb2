"""Arguments of the command: tyro, with one line of the same form for every wrong input."""

import contextlib
import io
import re
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import tyro

from metaobj.common.errors import UserError

_TRANSLATIONS = (
    (r"Error parsing (\S+): invalid literal for int\(\) .*: (.*)", r"\1: \2 given; must be a whole number"),
    (r"Error parsing (\S+): no type .*\|INT .*? from \[(.*?)\].*", r"\1: \2 given; must be a whole number"),
    (r"Error parsing (\S+): could not convert string to float: (.*)", r"\1: \2 given; must be a number"),
    (r"Error parsing (\S+): Could not find valid parse for arguments: \[(.*)\]", r"\1: \2 given; must be numbers"),
    (r"Error parsing (\S+): (.*)", r"\1: \2"),
    (r"Missing value for argument '(?:\(')?([^\s',]+).*", r"\1: no value given"),  # older ones name a tuple of flags
    (r"invalid choice (.*) for argument '(\S+)'\. Expected one of \((.*?),?\) ?\.", r"\2: \1 given; choose from \3"),
    (r"Missing from .*?: (\S+) (.*?) \(required\)", r"\1: missing: \2"),
)
"""What tyro says of a value, and the same in the words of all other errors."""


def parse(kind: Any, arguments: list[str], program: str, default: Any = None) -> Any:
    """`tyro.cli`, with one line for wrong input."""
    heard = io.StringIO()
    keywords = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(heard):
            parsed, unknown = tyro.cli(
                kind, args=arguments, prog=f"metaobj {program}", return_unknown_args=True, **keywords
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise UserError(_in_one_line(heard.getvalue()) or f"wrong arguments; see metaobj {program} --help") from None
    if unknown:
        raise UserError(_not_expected(unknown[0], arguments, _flags(kind), program))
    return parsed


def _in_one_line(told: str) -> str:
    """The first part of the box in which tyro tells what is wrong with a value."""
    plain = re.sub(r"\x1b\[[0-9;]*m|[│╭╮╰╯]", " ", told)
    parts = [" ".join(part.split()) for part in re.split(r"[─-]{8,}", plain)]
    text = next((part for part in parts[1:] or parts if part), "")
    for pattern, words in _TRANSLATIONS:
        if re.fullmatch(pattern, text):
            return re.sub(pattern, words, text)
    return text


def _not_expected(word: str, arguments: list[str], flags: list[str], program: str) -> str:
    """What to say of an argument that no field takes."""
    if word.startswith("--"):
        name = word.partition("=")[0].replace("_", "-")
        word = name.removeprefix("--")
        similar = _called_so(word, flags) or get_close_matches(name, flags, 2, 0.7)
        hint = f"did you mean {' or '.join(similar)}?" if similar else f"see metaobj {program} --help"
        return f"{name}: is unknown; {hint}"
    at = next((i for i, argument in enumerate(arguments) if argument == word or argument.endswith(f"={word}")), 0)
    if at < len(arguments) and arguments[at] != word:
        return f"{arguments[at].partition('=')[0]}: takes no value, {word!r} given"
    after = f" after {arguments[at - 1]}" if at else ""
    return f"{word!r}: is not expected{after}; see metaobj {program} --help"


def _called_so(word: str, flags: list[str]) -> list[str]:
    """Flags whose last name a word is, or whose words begin with its letters: lr is learning-rate. Those that lie less
    deep come first.
    """
    last = {one: one.removeprefix("--").rpartition(".")[2] for one in flags}
    found = [one for one in flags if last[one] == word]
    found = found or [one for one in flags if "".join(part[0] for part in last[one].split("-")) == word]
    return sorted(found, key=lambda one: one.count("."))[:2]


def flag(field: str) -> str:
    """The flag of a field, whose name has dots where it lies deeper."""
    return "--" + re.sub(r"_(?![.]|$)", "-", field)


def _flags(kind: Any, prefix: str = "") -> list[str]:
    """All flags of a dataclass, or of a tuple of annotated ones."""
    if get_origin(kind) is tuple:
        return [name for part in get_args(kind) for name in _flags(get_args(part)[0])]
    found = []
    for field in fields(kind):
        hint = get_type_hints(kind)[field.name]
        name = prefix + field.name
        found += _flags(hint, name + ".") if is_dataclass(hint) else [flag(name)]
    return found


def last_value(arguments: list[str], flag: str) -> str | None:
    """The value that follows the last `flag`, or stands behind its "="."""
    found = None
    for at, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name.replace("_", "-") == flag:
            found = value if equals else next(iter(arguments[at + 1 :]), None)
    return found


def with_configuration(first: Any, default: Any, arguments: list[str], program: str) -> tuple[Any, Any]:
    """The command's own flags, and those of a configuration, whose values are the defaults."""
    own, configuration = type(first), type(default)
    both: Any = tuple[
        Annotated[own, tyro.conf.arg(name="")],  # type: ignore[valid-type]  # known only when it runs
        Annotated[configuration, tyro.conf.arg(name="")],  # type: ignore[valid-type]  # likewise
    ]
    return parse(both, arguments, program, (first, default))
