"""The picture and the table of what agents earn in long chains."""

from pathlib import Path

import numpy as np

from metaobj.common.evaluation.credit import LEARNS, Bootstrapping
from metaobj.common.files import write_csv
from metaobj.common.pictures.style import MUTED, colours, new_figure, save_figure, set_title, style_panel, wrapped


def credit_picture(path: Path, found: Bootstrapping, said: str) -> None:
    """What agents earn in chains that are longer than a rollout, by what the rule is kept from seeing.

    Args:
        path: of the PNG.
        found: what they earn.
        said: the verdict, which the picture shows.
    """
    variants = list(dict.fromkeys(variant for variant, _ in found.scores))
    kinds = list(dict.fromkeys(kind for _, kind in found.scores))
    width = max(3.8 * len(kinds) + 1.0, 7.4)
    letters = min(int(11.3 * width), 110)  # of a line of the title
    figure = new_figure(width, 0.38 * len(variants) + 2.2)
    panels = figure.subplots(1, len(kinds), sharey=True, squeeze=False)[0]
    places = np.arange(len(variants))
    whole, cut, true = colours(3)
    for panel, kind in zip(panels, kinds, strict=True):
        for place, variant in zip(places, variants, strict=True):
            score = found.scores[(variant, kind)]
            colour = true if variant.told else cut if variant.cut else whole
            panel.plot([score.low, score.high], [place, place], color=colour, linewidth=2.4, solid_capstyle="butt")
            panel.plot(score.point, place, color=colour, marker="o", markersize=7)
        for at, style in ((0.0, "-"), (LEARNS, ":"), (1.0, "-")):
            panel.axvline(at, color=MUTED, linewidth=0.8, linestyle=style)
        style_panel(panel, f"{kind} chains", "share of the optimal return", grid_axis="x")
        panel.tick_params(axis="y", length=0)
    panels[0].set_yticks(places, [variant.name for variant in variants])
    panels[0].invert_yaxis()
    told = (
        f"last tenth of {found.seeds} agents' lives in each kind of chain, by what the rule sees, with 95 % intervals",
        f"0: the first action at random, all else right; 1: the best; dotted: {LEARNS:g}, what counts as learnt",
    )
    title = wrapped(said[:1].upper() + said[1:], letters)
    set_title(figure, title, "\n".join(wrapped(line, letters) for line in told))
    save_figure(figure, path)


def credit_table(path: Path, found: Bootstrapping) -> None:
    """The same as a CSV file."""
    rows = [
        (variant.name, kind, *(f"{float(value):.6g}" for value in score), found.seeds)
        for (variant, kind), score in found.scores.items()
    ]
    write_csv(path, ("variant", "world", "score", "low", "high", "seeds"), rows)
