"""What a run shows while it goes on: a live line in a terminal, a line now and then elsewhere."""

import time
from collections.abc import Mapping
from typing import Any

from rich import progress
from rich.console import Console

from metaobj.common.evaluation.wording import duration


class Progress:
    """Rate, time left and the learning signal of a run of `total` meta-updates, of which `done` are behind it.

    How long the first chunk takes says nothing of the others: compiling is a part of it. Time left is told from the
    second on.
    """

    def __init__(
        self,
        console: Console,
        total: int,
        done: int = 0,
        live: Mapping[str, str] | None = None,
        every_seconds: float = 20.0,
    ) -> None:
        self._console = console
        self._total = total
        self._live = {"reward": "reward {:.3f}", **(live or {})}
        self._every = every_seconds
        self._told = 0.0
        self._first: tuple[int, float] | None = None  # the step at the end of the first chunk, and when that was
        self._bar: progress.Progress | None = None
        if console.is_terminal:
            self._bar = progress.Progress(
                progress.TextColumn("{task.completed}/{task.total}"),
                progress.BarColumn(bar_width=16),
                progress.TimeElapsedColumn(),
                progress.TextColumn("{task.description}"),
                console=console,
            )
            self._task = self._bar.add_task("", total=total, completed=done)

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def note(self, text: str) -> None:
        """Say what is being done before the first meta-update."""
        if self._bar is not None:
            self._bar.update(self._task, description=text)
        else:
            self._console.print(text, highlight=False, soft_wrap=True)

    def update(self, step: int, row: Mapping[str, Any]) -> None:
        """Show the latest metrics."""
        now = time.monotonic()
        signal = "  ".join(form.format(row[name]) for name, form in self._live.items() if name in row)
        rate = f"{row['steps_per_second'] / 1e3:.0f}k steps/s" if "steps_per_second" in row else ""
        parts = [self._time_left(step, now), rate, signal]
        if row.get("not_finite"):
            parts.append(f"[yellow]{row['not_finite']} lifetimes not finite, restarted[/]")
        text = "  ".join(filter(None, parts))
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
        elif now - self._told >= self._every or step >= self._total:
            self._told = now
            self._console.print(f"{step}/{self._total}  {text}", highlight=False, soft_wrap=True)

    def _time_left(self, step: int, now: float) -> str:
        if self._first is None:
            self._first = step, now
        first, then = self._first
        if step == first or step >= self._total:
            return ""
        return f"{duration((now - then) / (step - first) * (self._total - step))} left"
