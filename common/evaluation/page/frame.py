"""What every page begins and ends with: one HTML document that needs nothing else, and runs nothing."""

from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from metaobj.common.evaluation.page.markup import Markup, tag

_STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
_STYLE_HASH = b64encode(sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; base-uri 'none'; form-action 'none'"


def frame(title: str, *content: str) -> str:
    """A document of a title and what stands below it."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name_="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(_STYLE)),
    )
    main = tag("main", tag("h1", title), *content)
    return "<!doctype html>\n" + tag("html", head, tag("body", main), lang="en") + "\n"


def anchor(title: str) -> str:
    """The name that links to a section have."""
    return title.lower().replace(" ", "-")
