"""The configuration that flags change: a preset's, that of a run that goes on, with what a file says.

What is imported at the top must not use JAX, as in `cli.py`.
"""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from metaobj.common.command.arguments import flag, last_value
from metaobj.common.configuration import from_json, overlaid, read_toml
from metaobj.common.errors import UserError
from metaobj.common.runs.run_folder import read_config

if TYPE_CHECKING:
    from metaobj.common.objectives.plugin import Plugin

NAMING = ("distribution", "selection")
"""Fields whose values may name a Python module."""
LENGTHS = ("meta_updates", "checkpoint_every", "log_every")


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
        _check_modules(record, config, NAMING, arguments)
    if file is not None:
        try:
            config = overlaid(fitted(config, data), data)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        _check_modules(file, config, [name for name in NAMING if name in data], arguments)
    return config


def suited(config: Any, arguments: list[str]) -> Any:
    """The configuration with the lengths that flags give, see `fitted`."""
    given = {name: last_value(arguments, flag(name)) or "" for name in LENGTHS}
    return fitted(config, {name: int(value) for name, value in given.items() if value.isdecimal()})


def _read(file: Path) -> dict[str, Any]:
    """The fields of a TOML file, or of a run's config.json."""
    if file.suffix == ".json":
        return read_config(file)
    return {name.replace("-", "_"): value for name, value in read_toml(file).items()}


def _check_modules(where: Path, config: Any, names: Sequence[str], arguments: list[str]) -> None:
    """A module is imported only where the user names it himself: a run folder, or a file, may be a stranger's."""
    from metaobj.common.environments.names import names_module

    for name in names:
        value = getattr(config, name)
        if value != last_value(arguments, flag(name)) and any(map(names_module, value.split("+"))):
            raise UserError(
                f"{where}: names the Python module of {value!r}, which would be imported; pass {flag(name)} "
                f"{shlex.quote(value)} too if you know what it does"
            )


def fitted(config: Any, given: Mapping[str, Any]) -> Any:
    """The configuration with the lengths that are given, and where no interval of the log is, one that divides them; a
    run that is shorter than the interval of its checkpoints has one, at its end.

    Raises:
        UserError: a length is out of bounds, or the interval that is given does not divide the others.
    """
    from metaobj.common.meta.config import longest_interval

    lengths = {name: given[name] for name in LENGTHS if type(given.get(name)) is int}
    if not lengths or min(lengths.values()) < 1:  # which the configuration itself tells of
        return config
    updates = lengths.get("meta_updates", config.meta_updates)
    every = lengths.get("checkpoint_every", min(config.checkpoint_every, updates))
    log_every = lengths.get("log_every") or longest_interval(min(config.log_every, updates), updates, every)
    return replace(config, meta_updates=updates, checkpoint_every=every, log_every=log_every)


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
