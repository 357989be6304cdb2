"""An objective as a module of its own, for programs that have neither this package nor JAX.

A kind's template is Python text with a few marks, so that what is exported holds what its objective does and nothing
else. A line that ends in `#[word word]` stays where all these words are told, or with `!` before one where it is not;
`xp.` is the library's name; `$name` is a value.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from typing import Literal, TypeAlias

Library: TypeAlias = Literal["numpy", "torch"]
_PREFIX = {"numpy": "np.", "torch": "torch."}
_MARK = re.compile(r"\s*#\[([^\]]*)\]$")


@dataclass(frozen=True)
class Exported:
    """What a kind says of an objective in another library's words."""

    code: str
    """All of the module but its head: imports, the weights from the file of its own name, the functions."""
    use: str
    """Some lines of Python that call it, as `objective`."""
    notes: tuple[str, ...] = ()
    """What else one must know to use it."""


def fill(template: Traversable, library: Library, words: Iterable[str], values: Mapping[str, object]) -> str:
    """A template's text for a library.

    Args:
        template: the file.
        library: whose words are kept and whose name `xp` is.
        words: that hold of this objective.
        values: by name.
    """
    there = {library, *words}
    lines = []
    for line in template.read_text().splitlines():
        if mark := _MARK.search(line):
            if not all((word.removeprefix("!") in there) != word.startswith("!") for word in mark[1].split()):
                continue
            line = line[: mark.start()]
        lines.append(line)
    text = re.sub(r"\bxp\.", _PREFIX[library], "\n".join(lines) + "\n")
    return re.sub(r"\$(\w+)", lambda found: repr(values[found[1]]), text)
