"""A run that goes on for longer than it was begun for."""

import time
from pathlib import Path
from typing import Any

import optax

from metaobj.common.errors import UserError
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.runs.checkpoint import saved_steps
from metaobj.common.runs.run_folder import read_config

MAY_DIFFER = ("meta_updates", "log_every")
"""Fields that a run may go on with another value of: how long it is, and how often it tells of itself."""


def extension(run_dir: Path, config: MetaTrainingConfig) -> dict[str, Any]:
    """What is written down of a run that is made longer or shorter, as JSON data; empty where it is neither.

    Raises:
        UserError: the folder's configuration cannot be read, or the run has come further already.
    """
    before = read_config(run_dir).get("meta_updates")
    if type(before) is not int or before == config.meta_updates:
        return {}
    step = max(saved_steps(run_dir / "checkpoints"), default=0)
    if config.meta_updates < step:
        raise UserError(f"meta_updates: {config.meta_updates} given; the run has come to {step}, give that or more")
    return {"at": step, "from": before, "to": config.meta_updates, "date": time.strftime("%Y-%m-%d")}


def told(extended: dict[str, Any], config: MetaTrainingConfig) -> str:
    """What becomes of the learning rate, in a line."""
    step, before, now = extended["at"], extended["from"], extended["to"]
    line = f"{now} meta-updates instead of {before}"
    if config.schedule == "constant":
        return line
    was, becomes = (float(optax.cosine_decay_schedule(config.learning_rate, n)(step)) for n in (before, now))
    return (
        f"{line}: the cosine of the learning rate is that of a run of {now} from here on, which at step {step} is at "
        f"{becomes:.2g}; it was at {was:.2g}"
    )
