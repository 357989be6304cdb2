"""Where the command begins. Nothing that takes time to import is imported before it is settled how memory is had."""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

TUNABLES = "GLIBC_TUNABLES"
HUGE_PAGES = "glibc.malloc.hugetlb=1"
"""What asks glibc's allocator, from 2.35 on, to ask for huge pages; it is read when a process begins, and no earlier
version minds it.
"""
OFFERED = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def main() -> None:
    """The command, in huge pages where that takes starting this process anew. Meta-updates take up to a fifth less
    time so: a program's arrays come and go with each of its calls, and every page of them is cleared and entered.
    """
    if wants_huge_pages(os.environ):
        command = [sys.executable, *sys.orig_argv[1:]]
        with contextlib.suppress(OSError):  # without, then
            os.execve(sys.executable, command, {**os.environ, TUNABLES: HUGE_PAGES})
    from metaobj.common.command import cli

    cli.main()


def wants_huge_pages(environment: Mapping[str, str], offered: Path = OFFERED) -> bool:
    """Whether the system gives them to those who ask, and to no others; and nobody has said how memory is to be had."""
    if TUNABLES in environment or not sys.executable:
        return False
    try:
        return "[madvise]" in offered.read_text()
    except (OSError, ValueError):  # another system
        return False
