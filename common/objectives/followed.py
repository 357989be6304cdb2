"""One method on one task, and what its rule says of itself there."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.evaluation import follow
from metaobj.common.evaluation.method import Method, Settings
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.files import make_folder
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives.compare import of_length
from metaobj.common.objectives.contestants import find_contestants

PICTURE, TABLE = "follow.png", "follow.csv"


@dataclass(frozen=True)
class Following:
    """Whose lives are followed, and where."""

    method: str
    """An objective or a method's name, see `contestants.find_contestants`."""
    environment: str
    agents: int = 8
    steps: int | None = None
    """Environment steps of every agent; by default the suite's."""
    set: tuple[str, ...] = ()
    """NAME=VALUE of hyperparameters; others are the middle of a few."""
    seed: int = 0
    trust: bool = False

    def __post_init__(self) -> None:
        check_numbers(self, "agents", at_least=1, at_most=MOST)
        check_numbers(self, "seed", at_least=0, at_most=2**32 - 1)


def follow_method(following: Following, folder: Path, console: Console) -> follow.Followed:
    """Let agents live, print what they came to, and leave a picture and a table.

    Raises:
        UserError: there is no such method, task or hyperparameter, or agents cannot live there.
    """
    method, entry, setting = chosen(
        following.method, following.environment, following.steps, following.set, following.trust
    )
    with console.status("living"):
        seen = follow.follow(method, entry, setting, following.agents, seed=following.seed)
    make_folder(folder)
    follow.draw(folder / PICTURE, seen, f"{method.name} on {entry.environment} ({told(setting)})")
    follow.write(folder / TABLE, seen)
    last = {name: values[:, -max(values.shape[1] // 10, 1) :].mean() for name, values in seen.values.items()}
    console.print(f"In the last tenth of their lives ({told(setting)}):", highlight=False)
    for name, value in last.items():
        console.print(f"  {escape(name.strip('_'))} {value:.4g}", highlight=False)
    console.print(escape(f"{folder / PICTURE}, {folder / TABLE}"), highlight=False, soft_wrap=True)
    return seen


def chosen(
    name: str, environment: str, steps: int | None, given: Sequence[str], trust: bool
) -> tuple[Method, Entry, Settings]:
    """The one method, the one task and the hyperparameters that a user names.

    Args:
        name: of the method, see `contestants.find_contestants`.
        environment: its name, or that of a suite of one task.
        steps: of each agent; the suite's where None.
        given: see `setting_of`.
        trust: see `load_objective`.

    Raises:
        UserError: there is no such method, task or hyperparameter.
    """
    suite = make_suite(environment, "environment")
    if len(suite) > 1:
        raise UserError(f"environment: {environment} given; is a suite of {len(suite)} tasks, one is needed")
    (contestant,) = find_contestants([name], suite, trust).contestants
    method = contestant.methods[0]
    entry = suite[0] if steps is None else of_length(suite[0], steps, method)
    return method, entry, setting_of(method, entry, given)


def told(setting: Settings) -> str:
    """Hyperparameters as a picture's title has them."""
    return ", ".join(f"{name} {value:g}" for name, value in setting.items())


def setting_of(method: Method, entry: Entry, given: Sequence[str]) -> Settings:
    """A method's hyperparameters: the middle of a few, with what is `given` as NAME=VALUE.

    Raises:
        UserError: a name is none of the method's, or a value no number that it can be.
    """
    few = method.few_settings(entry.agent)
    setting = dict(few[len(few) // 2])
    for one in given:
        name, _, text = one.partition("=")
        if name not in setting:
            raise UserError(f"set: {name!r} given; {method.name} has {', '.join(setting)}")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value < math.inf:
            raise UserError(f"set: {one!r} given; {name} must be a finite number, at least 0")
        setting[name] = value
    return setting
