"""What a run shows while it goes on: a live line in a terminal, a line now and then elsewhere."""

import time
from collections.abc import Mapping
from typing import Any

from rich import progress
from rich.console import Console


class Progress:
    """Rate, time left and the learning signal of a run of `total` meta-updates, of which `done` are behind it."""

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
        self._started_at = done
        self._live = {"reward": "reward {:.3f}", **(live or {})}
        self._every = every_seconds
        self._told = 0.0
        self._begun = 0.0
        self._bar: progress.Progress | None = None
        if console.is_terminal:
            self._bar = progress.Progress(
                progress.TextColumn("{task.completed}/{task.total}"),
                progress.BarColumn(bar_width=16),
                progress.TimeElapsedColumn(),
                progress.TextColumn("left"),
                progress.TimeRemainingColumn(elapsed_when_finished=False),
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
        self._begun = time.monotonic()

    def update(self, step: int, row: Mapping[str, Any]) -> None:
        """Show the latest metrics."""
        signal = "  ".join(form.format(row[name]) for name, form in self._live.items() if name in row)
        text = f"{row['steps_per_second'] / 1e3:.0f}k steps/s  {signal}"
        if row.get("not_finite"):
            text += f"  [yellow]{row['not_finite']} lifetimes not finite, restarted[/]"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
            return
        now = time.monotonic()
        if now - self._told < self._every and step < self._total:
            return
        self._told = now
        left = (now - self._begun) / max(step - self._started_at, 1) * (self._total - step)
        self._console.print(f"{step}/{self._total}  {text}  {left:.0f} s left", highlight=False, soft_wrap=True)
