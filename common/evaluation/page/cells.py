"""What the page's tables are made of."""

from collections.abc import Iterable, Sequence
from typing import TypeAlias

from metaobj.common.evaluation.curves import ALL
from metaobj.common.evaluation.page.markup import Markup, breakable, scroll_box, tag
from metaobj.common.evaluation.page.plot import swatch
from metaobj.common.evaluation.summary import SummaryRow
from metaobj.common.evaluation.wording import group_label, with_interval

Numbers: TypeAlias = tuple[float, float, float]
"""A point and the ends of its interval."""


def table(
    name: str, caption: str, heads: Sequence[Markup], bodies: Iterable[Markup], kind: str | None = None
) -> Markup:
    """A table in a box of its own; `name` is what the box is called for those who cannot see it."""
    parts = [tag("caption", tag("span", caption)), *([tag("thead", *heads)] if heads else []), *bodies]
    return scroll_box(name, tag("table", *parts, class_=kind))


def heads(*names: str, numbers: Sequence[str] = ()) -> list[Markup]:
    """Heads of columns; those in `numbers` stand to the right, as their numbers do."""
    return [tag("th", name, scope="col", class_="number" if name in numbers else None) for name in names]


def body(lines: Sequence[Markup], title: str = "", columns: int = 0) -> Markup:
    """Lines that belong together, under a title across the columns."""
    head = (
        [tag("tr", tag("th", tag("span", title), scope="rowgroup", colspan=columns), class_="group")] if title else []
    )
    return tag("tbody", *head, *lines)


def method_head(name: str, number: int, rowspan: int | None = None) -> Markup:
    """The head of a method's line."""
    return tag("th", swatch(number), breakable(name), scope="row", rowspan=rowspan, class_="method")


def number_cell(numbers: Numbers, strong: bool = False, sign: str = "", remark: str = "") -> Markup:
    """A point with its interval."""
    point, _, interval = with_interval(*numbers, sign=sign).partition(" ")
    more = [" ", tag("span", remark, class_="bad")] if remark else []
    return tag(
        "td",
        tag("b" if strong else "span", point),
        " ",
        tag("span", interval, class_="interval"),
        *more,
        class_="number",
    )


def text_cell(text: str, kind: str | None = None) -> Markup:
    """Words, or a single number where `kind` is "number"; a dash for nothing."""
    return tag("td", text or "–", class_=kind)


def by_group(rows: Iterable[SummaryRow]) -> dict[str, list[SummaryRow]]:
    """Rows by their group: first that which pools the others, as it is the overall answer."""
    groups: dict[str, list[SummaryRow]] = {}
    for row in sorted(rows, key=lambda row: row.group != ALL):
        groups.setdefault(row.group, []).append(row)
    return groups


def group_title(row: SummaryRow) -> str:
    """The row's group with its size and unit."""
    return f"{group_label(row.group)} · {counted(row.tasks, 'task')} × {counted(row.seeds, 'seed')} · {row.measure}"


def counted(count: int, thing: str) -> str:
    """Such as "1 task" and "2 tasks"."""
    return f"{count} {thing}" + ("" if count == 1 else "s")
