"""The tables of what was chosen, from what, and of how the evaluation was made."""

import math

from metaobj.common.evaluation.evaluation import Choice, Evaluation
from metaobj.common.evaluation.method import Settings
from metaobj.common.evaluation.page.cells import body, heads, method_head, table, text_cell
from metaobj.common.evaluation.page.markup import Markup, breakable, folded, joined, tag


def settings(evaluation: Evaluation) -> Markup:
    """Each method's chosen settings, and folded below them all that were tried."""
    numbers = {entry.method: number for number, entry in enumerate(evaluation.curves)}
    lines = [
        tag(
            "tr",
            method_head(choice.method, numbers[choice.method]),
            text_cell(choice.agent),
            tag("td", _values(choice)),
            text_cell(str(len(choice.tried)), "number"),
            tag("td", *_where(choice)),
        )
        for choice in evaluation.choices
    ]
    names = heads("Method", "Agents", "Chosen", "Settings tried", "On", numbers=["Settings tried"])
    caption = "Marked values are the lowest or the highest that were tried: better ones may lie beyond."
    chosen = table("Chosen settings", caption, [tag("tr", *names)], [body(lines)])
    tried = [_tried(choice) for choice in evaluation.choices]
    return joined(
        [
            tag("p", f"{evaluation.protocol[:1].upper()}{evaluation.protocol[1:]}."),
            chosen,
            folded("All tried settings with their scores", *tried),
        ]
    )


def provenance(evaluation: Evaluation) -> Markup:
    """What it was made with."""
    facts = {label: value for label, value in evaluation.provenance.items() if label != "command"}
    lines = [tag("tr", tag("th", label, scope="row"), text_cell(value, "source")) for label, value in facts.items()]
    return table("Provenance", "What this was made with.", [], [body(lines)], kind="facts")


def _values(choice: Choice) -> Markup:
    items = []
    for name, value in choice.setting.items():
        edge = [" ", tag("span", f"{choice.edges[name]} tried", class_="edge")] if name in choice.edges else []
        items.append(tag("li", tag("code", name), f" {value:g}", *edge))
    return tag("ul", *items, class_="values")


def _where(choice: Choice) -> list[str]:
    worlds = breakable(", ".join(choice.worlds))
    little = tag("span", "little was learnt there by any", class_="edge")
    return [worlds, " ", little] if choice.little else [worlds]


def _tried(choice: Choice) -> Markup:
    names = list(dict.fromkeys(name for setting, _ in choice.tried for name in setting))
    ranked = sorted(choice.tried, key=lambda pair: -pair[1] if math.isfinite(pair[1]) else math.inf)
    lines = [tag("tr", *_tried_cells(choice, names, setting, score)) for setting, score in ranked]
    what = f"{choice.method}, {choice.agent}"
    columns = [tag("tr", *heads(*names, "score", "", numbers=[*names, "score"]))]
    return table(f"Tried settings of {what}", f"{what}: by score, the best first.", columns, [body(lines)])


def _tried_cells(choice: Choice, names: list[str], setting: Settings, score: float) -> list[Markup]:
    chosen = setting == choice.setting
    values = [f"{setting[name]:g}" if name in setting else "" for name in names]
    cells = [text_cell(value, "number") for value in (*values, f"{score:.4g}")]
    return [*cells, text_cell("chosen") if chosen else tag("td")]
