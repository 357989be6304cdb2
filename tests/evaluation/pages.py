"""Pages of evaluations, and what is in them."""

import dataclasses
import re
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

from metaobj.common.evaluation.evaluation import Choice, Evaluation
from metaobj.common.evaluation.summary import summary_table

CHOICE = Choice(
    method="LPG",
    agent="dense 64-64",
    setting={"learning_rate": 0.004, "entropy_weight": 0.01},
    edges={"learning_rate": "highest"},
    tried=[
        ({"learning_rate": 0.001, "entropy_weight": 0.01}, 0.5),
        ({"learning_rate": 0.004, "entropy_weight": 0.01}, 1.25),
        ({"learning_rate": 0.002, "entropy_weight": 0.01}, 0.75),
    ],
    worlds=["grid/any_small", "grid/survive"],
)


def evaluation(curves, baseline="A2C", **changes) -> Evaluation:
    made = Evaluation(
        suite="held-out",
        protocol="Settings were chosen on training worlds.",
        curves=curves,
        rows=summary_table(curves, baseline, repetitions=100),
        baseline=baseline,
        choices=[CHOICE] if curves[0].method == "LPG" else [],
        sources={"dense": "exact, by value iteration"},
        provenance={"version": "metaobj 1.2.3", "command": "metaobj evaluate x --suite held-out"},
    )
    return dataclasses.replace(made, **changes)


class Parsed(HTMLParser):
    """Fails on what is not closed in order, and keeps elements, words and the cells of tables by caption."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag in ("meta", "wbr", "img"):
            return
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
            self.captions.append("")
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data
        elif "caption" in self.open:
            self.captions[-1] += data

    def table(self, caption: str) -> list[list[str]]:
        return next(table for table, told in zip(self.tables, self.captions, strict=True) if told.startswith(caption))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def svgs(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", text, re.DOTALL)]


def plots(text: str) -> list[ElementTree.Element]:
    return [picture for picture in svgs(text) if picture.get("class") == "plot"]


def heights(polyline: ElementTree.Element) -> list[float]:
    return [float(point.split(",")[1]) for point in (polyline.get("points") or "").split()]
