"""Signals that stop a run after the chunk of meta-updates that it is in."""

import os
import signal
import time
from types import FrameType
from typing import Any


class NotedSignals:
    """While it is open, SIGINT and SIGTERM are noted; a second one does what it did before.

    Args:
        stopped: takes the numbers.
        told: whether a line says so.
        apart: seconds within which another one is the same once more, of a launcher that signals every process and so
            this one as well as the one that passes signals on to it.
    """

    def __init__(self, stopped: list[int], told: bool, apart: float = 0.0) -> None:
        self._stopped = stopped
        self._told = told
        self._apart = apart
        self._last = 0.0
        self._old: dict[int, Any] = {}

    def __enter__(self) -> None:
        def note(number: int, frame: FrameType | None) -> None:
            now = time.monotonic()
            if self._stopped and now - self._last < self._apart:
                return
            self._last = now
            if self._stopped:
                signal.signal(number, self._old[number])
                signal.raise_signal(number)
            self._stopped.append(number)
            if self._told:  # by the system call itself: a handler may have interrupted a write to the same stream
                os.write(2, b"\nstopping after this chunk and saving; once more to stop at once\n")

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._old[number] = signal.signal(number, note)
            except ValueError:  # not in the main thread: signals are somebody else's business
                return

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
