"""Lines of a terminal of any width, in which no word is broken."""

import textwrap

from rich.console import Console

NARROW = 64
"""Columns below which a text stands under its name, and not beside it."""


def printable(text: str) -> str:
    """Without what moves the cursor or colours a terminal: a file may be a stranger's."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def say(console: Console, name: str, text: str = "", indent: int = 2, column: int = 0) -> None:
    """Print a name, and from `column` on a text about it, as many lines as it takes; below the name where there is no
    column or the terminal is narrow.
    """
    name, text = " " * indent + printable(name), printable(text)
    if text and column and console.width >= NARROW:
        _print(console, text, f"{name:{column - 1}} ", " " * column)
        return
    _print(console, name, "", " " * indent)
    _print(console, text, " " * (indent + 2), " " * (indent + 2))


def _print(console: Console, text: str, first: str, after: str) -> None:
    whole = textwrap.TextWrapper(
        console.width,
        initial_indent=first,
        subsequent_indent=after,
        break_long_words=False,
        break_on_hyphens=False,
    )
    for line in whole.wrap(text):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
