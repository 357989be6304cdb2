"""What an evaluation tells while it goes on: a line for each cell that ends, with the time left, in a file too."""

import time
from collections.abc import Callable
from pathlib import Path

from metaobj.common.evaluation.wording import duration


class Journal:
    """Counts cells and their work (environment steps of all agents).

    Args:
        work: of the whole evaluation, as far as it is known.
        say: told a line when a cell ends.
        live: told what is being done.
        path: of the log, which lines are added to.
    """

    def __init__(
        self,
        work: float = 0.0,
        say: Callable[[str], None] = lambda line: None,
        live: Callable[[str], None] = lambda text: None,
        path: Path | None = None,
    ) -> None:
        self._left = work
        self._say, self._live, self._path = say, live, path
        self._done = self._seconds = 0.0
        self._begun = 0.0
        self._warned: set[str] = set()

    def begin(self, label: str) -> None:
        """A cell is being computed."""
        self._begun = time.monotonic()
        self._live(label + self._time_left())

    def more(self, work: float) -> None:
        """There is more to do than was known."""
        self._left += work

    def end(self, label: str, work: float, stored: bool) -> None:
        """It is there, from the disk if `stored`."""
        self._left = max(self._left - work, 0.0)
        if stored:
            self._tell(f"{label}: stored before")
            return
        seconds = time.monotonic() - self._begun
        self._done, self._seconds = self._done + work, self._seconds + seconds
        self._tell(f"{label}: {duration(seconds)}{self._time_left()}")

    def _time_left(self) -> str:
        """By what the work that is done has taken; nothing where none is."""
        left = self._left / self._done * self._seconds if self._done else 0.0
        return f", about {duration(left)} left" if left > 0 else ""

    def warn(self, line: str) -> None:
        """Something went wrong that need not end the evaluation; told once."""
        if line not in self._warned:
            self._warned.add(line)
            self._tell(f"warning: {line}")

    def _tell(self, line: str) -> None:
        self._say(line)
        if self._path is None:
            return
        stamp = time.strftime("%Y-%m-%d %H:%M:%S")
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(f"{stamp}  {line}\n")
        except (OSError, UnicodeError):  # what is computed does not depend on its being told
            self._path = None
