"""The page of a run: what its folder holds, as one HTML document for someone who was not there."""

import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metaobj.common.errors import UserError
from metaobj.common.evaluation.page.frame import anchor, frame
from metaobj.common.evaluation.page.markup import Markup, folded, joined, scroll_box, tag
from metaobj.common.evaluation.wording import duration
from metaobj.common.files import atomic_write, parse_json
from metaobj.common.runs.metrics import read_metrics
from metaobj.common.runs.run_folder import CONFIG, METRICS

PAGE = "run.html"
PICTURES = {
    "Training": "training*.png",
    "Hyperparameters": "sampler*.png",
}
"""By section: the pictures of it."""
LINKED = ("*/report.html", "*/*.png")
"""What was made of the run's objective."""
LARGEST = 1 << 23
"""Bytes of a picture that is put into the page."""
_TOLD = ("date", "hardware", "versions")


def write_run_page(folder: Path) -> Path | None:
    """Write the page of the run in a folder, from what lies there; None where there is no run, or no page can be
    written: it tells of what is there without it.
    """
    try:
        record = parse_json((folder / CONFIG).read_bytes())
        rows = read_metrics(folder / METRICS)
    except (OSError, ValueError, UserError):
        return None
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        return None
    try:
        atomic_write(folder / PAGE, run_page(folder, record, rows))
    except (OSError, UserError):
        return None
    return folder / PAGE


def run_page(folder: Path, record: Mapping[str, Any], rows: list[dict[str, Any]]) -> str:
    """The document.

    Args:
        folder: the run's.
        record: what its config.json says.
        rows: its metrics.
    """
    config = record["config"]
    sections: dict[str, Markup] = {}
    for title, pattern in PICTURES.items():
        shown = [picture(path, title) for path in sorted(folder.glob(pattern)) if path.stat().st_size <= LARGEST]
        if shown:
            sections[title] = joined(shown)
    if (found := results(folder)) is not None:
        sections["What was made of it"] = found
    if rows:
        sections["The last line of its log"] = scroll_box("metrics", table(rows[-1]))
    provenance = record.get("provenance")
    if isinstance(provenance, Mapping) and (known := {k: provenance[k] for k in _TOLD if k in provenance}):
        sections["How it was made"] = table(known)
    sections["Settings"] = folded("All of them", tag("pre", json.dumps(config, indent=2), tabindex=0))
    links = [tag("a", title, href=f"#{anchor(title)}") for title in sections]
    return frame(
        f"Meta-training: {folder.resolve().name}",
        tag("p", course(config, rows), class_="finding"),
        tag("nav", *links, aria_label="On this page"),
        *(tag("section", tag("h2", title), part, id=anchor(title)) for title, part in sections.items()),
    )


def course(config: Mapping[str, Any], rows: list[dict[str, Any]]) -> str:
    """How far the run has come, in a sentence."""
    wanted, where = config.get("meta_updates"), config.get("distribution")
    if not rows:
        return f"Nothing is logged yet of {wanted} meta-updates on {where}."
    last = rows[-1]
    steps = f"{last.get('environment_steps') or 0:.3g}"
    spent = last.get("seconds")
    took = f" in {duration(spent)}" if isinstance(spent, int | float) else ""
    return f"{last.get('step')} of {wanted} meta-updates on {where}: {steps} environment steps{took}."


def picture(path: Path, title: str) -> Markup:
    """A picture within the page."""
    data = b64encode(path.read_bytes()).decode()
    return tag("figure", tag("img", alt=title, src=f"data:image/png;base64,{data}"))


def results(folder: Path) -> Markup | None:
    """Links to pages and pictures of evaluations and inspections."""
    found = [path for pattern in LINKED for path in sorted(folder.glob(pattern))]
    pages = {path.parent for path in found if path.suffix == ".html"}
    shown = [path for path in found if path.suffix == ".html" or path.parent not in pages]
    if not shown:
        return None
    names = [path.relative_to(folder).as_posix() for path in shown]
    return tag("ul", *(tag("li", tag("a", name, href=name)) for name in names))


def table(values: Mapping[str, Any]) -> Markup:
    """Names with values, of which lists are left out."""
    told = {name: value for name, value in values.items() if not isinstance(value, list | dict)}
    rows = [
        tag(
            "tr",
            tag("th", name.replace("_", " "), scope="row"),
            tag("td", f"{value:.6g}" if isinstance(value, float) else str(value)),
        )
        for name, value in told.items()
    ]
    return tag("table", tag("tbody", *rows))
