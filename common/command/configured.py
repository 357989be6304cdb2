"""The configuration that a command is about, before its flags are read."""

from dataclasses import replace
from typing import Any

from metaobj.common.command.arguments import flag, last_value
from metaobj.common.meta.config import longest_interval


def fitted(config: Any, arguments: list[str]) -> Any:
    """The configuration with lengths as they are given, and where no interval of the log is given, one that divides
    them; a run that is shorter than the interval of its checkpoints has one, at its end.

    Raises:
        UserError: a length is out of bounds.
    """
    told = {name: last_value(arguments, flag(name)) or "" for name in ("meta_updates", "checkpoint_every", "log_every")}
    given = {name: int(value) for name, value in told.items() if value.isdecimal()}
    if "log_every" in given or not given or not all(given.values()):
        return config
    updates, every = (given.get(name, getattr(config, name)) for name in ("meta_updates", "checkpoint_every"))
    if "checkpoint_every" not in given:
        every = min(every, updates)
    log_every = longest_interval(min(config.log_every, updates), updates, every)
    return replace(config, meta_updates=updates, checkpoint_every=every, log_every=log_every)
