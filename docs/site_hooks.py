"""What the site needs beside its pages: the README is its first one, and links to folders of results lead to the page
that is in them.
"""

import re
from pathlib import Path
from typing import Any

PAGES = ("README.md", "report.html")
FROM_TOP = {"](docs/": "](", "](experiments/results/": "](results/"}
"""Where the README's links lead, seen from docs/."""


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """A page as the site shows it."""
    docs = Path(config["docs_dir"])
    if page.file.src_uri == "index.md":
        markdown = (docs.parent / "README.md").read_text(encoding="utf-8")
        for before, after in FROM_TOP.items():
            markdown = markdown.replace(before, after)
    here = Path(docs, page.file.src_uri).parent

    def to_page(link: re.Match[str]) -> str:
        """A folder's link as one to its page; a folder without one is told as text."""
        text, target = link.groups()
        folder = here / target
        if "://" in target or not folder.is_dir():
            return link.group()
        found = next((name for name in PAGES if (folder / name).exists()), None)
        return f"[{text}]({target.rstrip('/')}/{found})" if found else text

    return re.sub(r"(?<!!)\[([^\]]*)\]\(([^)\s#]+)\)", to_page, markdown)
