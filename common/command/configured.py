"""The configuration that flags change: a preset's, that of a run that goes on, with what a file says.

What is imported at the top must not use JAX, as in `cli.py`.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaobj.common.command.arguments import flag, last_value
from metaobj.common.configuration import from_json, overlaid, read_toml
from metaobj.common.errors import UserError
from metaobj.common.runs.run_folder import read_config

if TYPE_CHECKING:
    from metaobj.common.objectives.plugin import Plugin


def starting_configuration(plugin: "Plugin[Any, Any]", arguments: list[str], run_dir: Path | None = None) -> Any:
    """The configuration that the flags are to change.

    Args:
        plugin: the kind of objective.
        arguments: of the command; --preset and --config are read here.
        run_dir: the folder of a run that goes on, whose configuration it is where no preset is named.

    Raises:
        UserError: a preset is unknown, a file cannot be read or does not fit, or one that may be a stranger's names a
            Python module.
    """
    from metaobj.common.meta.config import fitted

    given = last_value(arguments, "--config")
    file = Path(given) if given is not None else None
    data = _read(file) if file is not None else {}
    preset, in_file = last_value(arguments, "--preset"), data.pop("preset", None)
    named = preset if preset is not None else in_file
    if named is not None and named not in plugin.presets:
        told = "preset" if preset is not None else f"{file}: preset"
        raise UserError(f"{told}: {named!r} is unknown; choose from {', '.join(plugin.presets)}")
    config = plugin.presets[named if named is not None else plugin.default_preset]
    if run_dir is not None and named is None:
        record = run_dir / "config.json"
        config = from_json(type(config), read_config(run_dir), str(record))
        _check_modules(record, config, arguments)
    if file is not None:
        try:
            config = overlaid(fitted(config, data), data)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        _check_modules(file, config, arguments, said_by_file=data)
    return config


def suited(config: Any, arguments: list[str]) -> Any:
    """The configuration with the lengths that flags give, see `fitted`."""
    from metaobj.common.meta.config import LENGTHS, fitted

    given = {name: last_value(arguments, flag(name)) or "" for name in (*LENGTHS, "start", "start_updates")}
    return fitted(config, {name: int(value) if value.isdecimal() else value for name, value in given.items() if value})


def _read(file: Path) -> dict[str, Any]:
    """The fields of a TOML file, or of a run's config.json."""
    if file.suffix == ".json":
        return read_config(file)
    return {name.replace("-", "_"): value for name, value in read_toml(file).items()}


def _check_modules(
    where: Path, config: Any, arguments: list[str], said_by_file: Mapping[str, Any] | None = None
) -> None:
    """With `said_by_file`, of the fields that it names alone."""
    from metaobj.common.objectives.modules import NAMING, check_modules

    names = [name for name in NAMING if said_by_file is None or name in said_by_file]
    said = {name: last_value(arguments, flag(name)) for name in names}
    check_modules(where, config, said, lambda name, value: f"{flag(name)} {shlex.quote(value)}")


def as_toml(config: Any, path: str = "") -> Iterator[str]:
    """The lines of a TOML file that says all of a configuration."""
    values = {field.name: getattr(config, field.name) for field in fields(config)}
    if path:
        yield ""
        yield f"[{path}]"
    for name, value in values.items():
        if not is_dataclass(value):
            yield f"{name} = {json.dumps(value)}"
    for name, value in values.items():
        if is_dataclass(value):
            yield from as_toml(value, f"{path}.{name}" if path else name)
