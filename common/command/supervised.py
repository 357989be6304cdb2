"""A process of several runs beneath another one, which tells in one line how it ended.

Where another process is gone, JAX's runtime ends this one by itself, from a thread of its own and with a page about it;
so may any library that processes speak through. Nothing in the same process can keep them from that.
"""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType
from typing import NoReturn

from metaobj.common.processes import Cluster, leave

LOST = 3
"""Exit status where another process is gone, or was never there."""
_CHANNEL = "METAOBJ_CHANNEL"
"""Names the socket between the two: its end tells the lower one that the upper one is gone, a byte the upper one how
the lower one ended.
"""
_OWN = b"metaobj: "
"""How a line begins that the command itself says."""
_PAGE = re.compile(rb"[WEF]\d{4} [\d:.]+ +\d+ (coordination_service|client\.h)")
"""How the runtime's page begins."""
_FATAL = b"the JAX distributed service detected fatal errors"
_UNHEALTHY = re.compile(rb"tasks are unhealthy[^\n]*:\n([\d, ]+)\n")
_GONE = re.compile(
    "gloo|nccl|coordination|heartbeat|barrier|unavailable|deadline.exceeded|connection (reset|closed)", re.IGNORECASE
)


def supervise(arguments: Sequence[str], cluster: Cluster) -> int:
    """Run the command with these arguments in a process beneath this one; its exit status."""
    ours, theirs = socket.socketpair()
    path = os.pathsep.join(folder or os.getcwd() for folder in sys.path)
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "metaobj", *arguments],
        env=os.environ | {_CHANNEL: str(theirs.fileno()), "PYTHONPATH": path},
        pass_fds=[theirs.fileno()],
        stderr=subprocess.PIPE,
        process_group=0,  # so that a terminal's Ctrl-C comes by way of this one, once
    )
    theirs.close()

    def pass_on(number: int, frame: FrameType | None) -> None:
        child.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    page, line_said = b"", False
    assert child.stderr is not None
    with child.stderr as said:
        for line in said:
            own = line.startswith(_OWN)
            line_said |= own
            if not own and (page or _PAGE.match(line)):
                page += line
            else:
                os.write(2, line)
    ended, told = child.wait(), ours.recv(1)
    for number, handler in before.items():
        signal.signal(number, handler)
    ours.close()
    if told:
        return told[0]
    if _FATAL in page:
        if not line_said:
            os.write(2, _OWN + _what_happened(page, cluster).encode() + b"\n")
        return LOST
    how = f"was ended by {signal.Signals(-ended).name}" if ended < 0 else f"ended with status {ended}"
    os.write(2, page + _OWN + f"process {cluster.process} {how}\n".encode())
    return ended if ended >= 0 else 128 - ended


def _what_happened(page: bytes, cluster: Cluster) -> str:
    if b"RegisterTask" in page:
        where = cluster.coordinator or "the launcher's host"
        return f"coordinator: {where}: not all {cluster.processes or ''} processes met there within {cluster.wait} s"
    if (found := _UNHEALTHY.search(page)) is None:
        return gone("process 0 does not answer")
    return gone("it was not heard of any more", f"process {found[1].decode().strip()}")


def gone(reason: str, who: str = "another process") -> str:
    """What is said where a process is lost."""
    return f"{who} of the run is gone ({reason}); the same command with --resume goes on with those that are left"


def is_loss(error: Exception) -> bool:
    """Whether an error among several processes tells that another one is gone."""
    return isinstance(error, RuntimeError | ValueError) and _GONE.search(str(error)) is not None


class Channel:
    """The lower process's way to the one above it."""

    def __init__(self, number: int) -> None:
        self._socket = socket.socket(fileno=number)
        threading.Thread(target=self._watch, daemon=True).start()
        # Libraries in C++ speak to the terminal when processes meet; what Python prints has the stream for itself.
        sys.stdout.flush()
        stream = os.fdopen(os.dup(1), "w", buffering=1 if sys.stdout.isatty() else -1, errors="replace")
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 1)
        sys.stdout = stream

    def _watch(self) -> None:
        self._socket.recv(1)
        os._exit(1)  # the one above is gone, and with it everyone to whom anything could be told

    def end(self, status: int) -> NoReturn:
        """Tell the status, part from the other processes if they come to it, and end."""
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        self._socket.send(bytes([status]))
        with suppress(Exception):  # they do not come: then this one ends alone
            if status != LOST:
                leave()
        os._exit(status)


def open_channel() -> Channel | None:
    """The way to the process above this one, where there is one."""
    number = os.environ.pop(_CHANNEL, None)
    return Channel(int(number)) if number is not None else None
