"""The page of an evaluation: one HTML document that needs nothing else, for readers who did not run it."""

from metaobj.common.evaluation.evaluation import Evaluation
from metaobj.common.evaluation.notes import general_notes, restart_notes
from metaobj.common.evaluation.page import figures, results, settings, task_grid, words
from metaobj.common.evaluation.page.frame import anchor, frame
from metaobj.common.evaluation.page.markup import Markup, folded, joined, tag


def page(evaluation: Evaluation) -> str:
    """The page as HTML.

    Args:
        evaluation: its curves have numbers where agents have diverged (`scoring.score_diverged`), and its rows are
            those of `summary.summary_table` for them.
    """
    parts = {
        "Results": results.headline(evaluation),
        "Against the baseline": results.comparison(evaluation) if evaluation.baseline is not None else None,
        "Learning curves": figures.learning_curves(evaluation),
        "Performance profiles": figures.profiles(evaluation),
        "Single tasks": task_grid.tasks(evaluation),
        "Settings": settings.settings(evaluation) if evaluation.choices else None,
        "How it was made": _making(evaluation),
    }
    sections = {name: part for name, part in parts.items() if part is not None}
    links = [tag("a", name, href=f"#{anchor(name)}") for name in sections]
    return frame(
        words.title(evaluation),
        tag("p", words.finding(evaluation), class_="finding"),
        *(tag("p", sentence) for sentence in words.further_findings(evaluation)),
        tag("nav", *links, aria_label="On this page"),
        _reading(evaluation),
        *(tag("section", tag("h2", title), part, id=anchor(title)) for title, part in sections.items()),
    )


def _reading(evaluation: Evaluation) -> Markup:
    """What to keep in mind, and the words of the tables."""
    told_below = (*general_notes(evaluation.rows), *restart_notes(evaluation.curves))
    notes = tag("ul", *(tag("li", note) for note in told_below), class_="notes")
    told = [joined([tag("dt", word), tag("dd", meaning)]) for word, meaning in words.glossary(evaluation).items()]
    return joined([notes, folded("How to read this page", tag("dl", *told))])


def _making(evaluation: Evaluation) -> Markup:
    command = evaluation.provenance.get("command")
    again = [tag("p", "To run it again:"), tag("pre", tag("code", command), tabindex=0)] if command else []
    return joined([settings.provenance(evaluation), *again])
