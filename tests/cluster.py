"""Several processes on this machine, which find each other by way of 127.0.0.1."""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PATIENCE = 600


class Ended(NamedTuple):
    """How a process ended, and what it said."""

    status: int
    out: str
    err: str


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def flags(number: int, processes: int, port: int) -> list[str]:
    return ["--coordinator", f"127.0.0.1:{port}", "--process", str(number), "--processes", str(processes)]


def begin(command: Sequence[str], devices: int = 1, **environment: str) -> "subprocess.Popen[str]":
    """A command that finds this package, on so many CPU devices, with programs that are compiled fast."""
    kept = {name: value for name, value in os.environ.items() if "_proxy" not in name.lower()}  # JAX warns of them
    given = {
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(devices),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "NPROC": "2",
    }
    return subprocess.Popen(
        list(command), env=kept | given | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def start(arguments: Sequence[str], devices: int = 1, **environment: str) -> "subprocess.Popen[str]":
    """Python with these arguments, likewise."""
    return begin([sys.executable, *arguments], devices, **environment)


def end(process: "subprocess.Popen[str]", within: float = PATIENCE) -> Ended:
    """Wait for it; what does not end within so many seconds is killed, and the test fails."""
    try:
        out, err = process.communicate(timeout=within)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        raise AssertionError(f"a process did not end within {within:g} s\n{out}\n{err}") from None
    return Ended(process.returncode, out, err)


def together(
    arguments: Sequence[str], processes: int, devices: int = 1, within: float = PATIENCE, **environment: str
) -> list[Ended]:
    """Run Python with these arguments as each of so many processes, to their ends, see `end`."""
    port = free_port()
    started = [
        start([*arguments, *flags(number, processes, port)], devices, **environment) for number in range(processes)
    ]
    try:
        return [end(process, within) for process in started]
    finally:
        for process in started:
            if process.returncode is None:  # one before it did not end
                process.kill()
                process.communicate()
