"""HTML and SVG built so that text cannot become markup."""

import re
from collections.abc import Iterable
from html import escape

_OWN_LINE = frozenset(["details", "dl", "figure", "h2", "meta", "p", "section", "table", "tbody", "thead", "tr"])


class Markup(str):
    """Text that is markup already; any other text is escaped where it is put in."""


def tag(name: str, /, *content: str, **attributes: object) -> Markup:
    """An element.

    Args:
        name: of the element.
        content: elements, and text, which is escaped.
        attributes: a trailing underscore is left out of their names and others become hyphens; None leaves one out.
    """
    given = ((key.rstrip("_").replace("_", "-"), str(value)) for key, value in attributes.items() if value is not None)
    start = "".join([f"<{name}", *(f' {key}="{escape(value)}"' for key, value in given), ">"])
    end = "" if name in ("meta", "img") else f"</{name}>"
    return Markup(start + joined(content) + end + ("\n" if name in _OWN_LINE else ""))


def joined(parts: Iterable[str]) -> Markup:
    """Elements and text in a row."""
    return Markup("".join(part if isinstance(part, Markup) else escape(part) for part in parts))


def breakable(name: str) -> Markup:
    """A name that may go on in the next line after a slash or an underscore."""
    return Markup(re.sub(r"(?<=[/_])(?=.)", "<wbr>", escape(name)))


def scroll_box(label: str, *content: str) -> Markup:
    """What may be wider than the page: it scrolls in its own box, by keyboard too."""
    return tag("div", *content, class_="scroll", role="region", aria_label=label, tabindex=0)


def folded(summary: str, *content: str) -> Markup:
    """What few readers need: closed until it is asked for."""
    return tag("details", tag("summary", summary), *content)
