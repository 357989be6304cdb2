"""One agent that learns by a method, seen at several ages."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from metaobj.common.errors import UserError, check_numbers
from metaobj.common.evaluation import watch
from metaobj.common.evaluation.wording import spaced
from metaobj.common.files import make_folder
from metaobj.common.objectives.followed import chosen, told

FILM, SHEET = "watch.gif", "watch.png"


@dataclass(frozen=True)
class Watching:
    """Who is watched, and where."""

    method: str
    """An objective or a method's name, see `contestants.find_contestants`."""
    environment: str
    ages: tuple[float, ...] = (0.0, 0.1, 0.3, 1.0)
    """Shares of its life at which an episode is played."""
    steps: int | None = None
    """Environment steps of its life; by default the suite's."""
    set: tuple[str, ...] = ()
    """NAME=VALUE of hyperparameters; others are the middle of a few."""
    seed: int = 0
    trust: bool = False

    def __post_init__(self) -> None:
        check_numbers(self, "seed", at_least=0, at_most=2**32 - 1)
        if not self.ages or not all(0 <= age <= 1 for age in self.ages) or list(self.ages) != sorted(set(self.ages)):
            given = " ".join(map(str, self.ages)) or "nothing"
            raise UserError(f"ages: {given} given; must be one or more numbers from 0 to 1, rising")


def watch_method(watching: Watching, folder: Path, console: Console) -> tuple[watch.Episode, ...]:
    """Let an agent live, and leave a film and a sheet of what it does.

    Raises:
        UserError: there is no such method, task or hyperparameter, or agents cannot live there.
    """
    method, entry, setting = chosen(watching.method, watching.environment, watching.steps, watching.set, watching.trust)
    with console.status("living"):
        episodes = watch.watch(method, entry, setting, watching.ages, watching.seed)
    make_folder(folder)
    title = f"{method.name} on {entry.environment}"
    watch.film(folder / FILM, episodes, title)
    watch.sheet(folder / SHEET, episodes, f"{title} ({told(setting)})")
    for episode in episodes:
        steps = spaced(episode.env_steps)
        console.print(f"after {steps:>11} steps  return {episode.total:.4g} in {episode.length} steps", highlight=False)
    console.print(escape(f"{folder / FILM}, {folder / SHEET}"), highlight=False, soft_wrap=True)
    return episodes
