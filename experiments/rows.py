"""A study's table: a CSV file that several processes may add lines to."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from metaobj.common.errors import UserError

Row: TypeAlias = dict[str, Any]
TEXT = ("variant", "case", "precision", "device", "hardware", "jax", "date", "command")
"""Columns that hold no numbers."""


def read(path: Path) -> list[Row]:
    """The table so far. What is not known of a row is not in it."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return [
            {key: value if key in TEXT else float(value) for key, value in row.items() if value}
            for row in csv.DictReader(file)
        ]


def add(path: Path, names: Sequence[str], row: Row) -> None:
    """One line more, in one write."""
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, names)
        if file.tell() == 0:
            writer.writeheader()
        writer.writerow(row)


def check_only(only: Sequence[str], known: Sequence[str]) -> None:
    """Raises:
    UserError: one of them is unknown.
    """
    for name in only:
        if name not in known:
            raise UserError(f"only: {name!r} given; choose from {'; '.join(known)}")
