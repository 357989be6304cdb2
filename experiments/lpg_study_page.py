"""The page of `lpg_study`: its table, what starts come to, and how transfer grows with worlds.

python -m experiments.lpg_study_page
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.ticker import EngFormatter

from experiments.lpg_study import A2C, EVOLVED, LAYOUTS, PLAIN, POOLS, STARTS, UPDATES, VARIANTS
from experiments.rows import Row, read
from experiments.script import run_script
from metaobj.common.files import atomic_write
from metaobj.common.pictures.style import COLOURS, add_legend, grid_of_panels, save_figure, set_title, style_panel

FOLDER = Path("experiments/results/lpg_study")
SHOWN: Mapping[str, tuple[str, int]] = {
    "layouts_final": ("layouts, final", 2),
    "layouts_area": ("area", 2),
    "plain": ("chains", 2),
    "plain, no y": ("without y", 2),
    "costly": ("costly chains", 2),
    "costly, no y": ("without y", 2),
    "cartpole_final": ("CartPole, final", 0),
    "cartpole_area": ("area", 0),
}
PANELS = {
    "layouts_area": "held-out layouts, area (score)",
    "plain": "chains longer than a rollout (score)",
    "cartpole_area": "CartPole, area (return)",
}


def told(values: Sequence[float], digits: int) -> str:
    """The mean over seeds, and the range."""
    if not values:
        return ""
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(rows: Sequence[Row]) -> list[str]:
    """In Markdown: each variant at the end of its meta-training, and starts before it."""
    lines = [f"| | {' | '.join(title for title, _ in SHOWN.values())} |", "|---" * (1 + len(SHOWN)) + "|"]
    for name in (A2C, *VARIANTS):
        shares = (0.0, 1.0) if name in STARTS[1:] else (0.0,) if name == A2C else (1.0,)
        for share in shares:
            own = [row for row in rows if row["variant"] == name and row["share"] == share]
            if not own:
                continue
            title = f"{name}, before any meta-update" if share == 0 and name != A2C else name
            values = {key: [row[key] for row in own if key in row] for key in SHOWN}
            cells = [told(values[key], digits) for key, (_, digits) in SHOWN.items()]
            lines.append(f"| {title} | {' | '.join(cells)} |")
    return lines


def draw_starts(rows: Sequence[Row], path: Path) -> None:
    """What meta-training makes of each start, by meta-updates."""
    figure, panels = grid_of_panels(len(PANELS), 4.0, 3.0, 3)
    for panel, (key, title) in zip(panels, PANELS.items(), strict=True):
        for name, colour in zip(STARTS, COLOURS, strict=False):
            shares = sorted({row["share"] for row in rows if row["variant"] == name})
            points = [[row[key] for row in rows if row["variant"] == name and row["share"] == s] for s in shares]
            at = UPDATES * np.array(shares)
            panel.plot(at, [np.mean(p) for p in points], color=colour, linewidth=2, marker="o", markersize=3)
            panel.fill_between(at, [min(p) for p in points], [max(p) for p in points], color=colour, alpha=0.15, lw=0)
        for row in rows:
            if row["variant"] == A2C and key in row:
                panel.axhline(row[key], color="black", linewidth=1, linestyle=":")
        style_panel(panel, title, "meta-updates")
    add_legend(figure, STARTS)
    set_title(figure, "What meta-training on tables makes of its start", "means and ranges over three seeds; dots: A2C")
    save_figure(figure, path)


def draw_worlds(rows: Sequence[Row], path: Path) -> None:
    """How transfer grows with the number of worlds of each kind."""
    figure, panels = grid_of_panels(len(PANELS), 4.0, 3.0, 3)
    names = {float(number): f"{number} worlds" for number in POOLS} | {4.0 * POOLS[-1]: PLAIN}
    for panel, (key, title) in zip(panels, PANELS.items(), strict=True):
        for at, name in names.items():
            values = [row[key] for row in rows if row["variant"] == name and row["share"] == 1.0 and key in row]
            panel.plot([at] * len(values), values, ".", color=COLOURS[0], markersize=7, alpha=0.5)
            if values:
                panel.plot([at], [np.mean(values)], "_", color=COLOURS[1], markersize=16, markeredgewidth=2)
        panel.set_xscale("log", base=4)
        panel.set_xticks(list(names), [*map(str, POOLS), "no end"])
        style_panel(panel, title, "worlds of each kind")
    set_title(figure, "Transfer by the number of training worlds", "a point for each seed, their mean a bar")
    save_figure(figure, path)


def draw_evolution(rows: Sequence[Row], path: Path) -> None:
    """Evolution strategies beside meta-gradients, trained on layouts, by environment steps."""
    figure, panels = grid_of_panels(2, 4.0, 3.0, 2)
    names = (LAYOUTS, *EVOLVED.values())
    for panel, (key, title) in zip(
        panels, {"layouts_final": "held-out layouts, final", "layouts_area": "area"}.items(), strict=True
    ):
        for name, colour in zip(names, COLOURS, strict=False):
            own = [row for row in rows if row["variant"] == name and key in row]
            for seed in sorted({row["seed"] for row in own}):
                course = sorted((row["environment_steps"], row[key]) for row in own if row["seed"] == seed)
                panel.plot(*zip(*course, strict=True), color=colour, linewidth=0.8, alpha=0.5)
            steps = sorted({row["environment_steps"] for row in own})
            means = [np.mean([row[key] for row in own if row["environment_steps"] == at]) for at in steps]
            panel.plot(steps, means, color=colour, linewidth=2, marker="o", markersize=3)
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))
        style_panel(panel, title, "environment steps")
    add_legend(figure, ("meta-gradients", *EVOLVED))
    set_title(figure, "LPG trained on layouts, by two ways", "a thin line for each seed, their mean a thick one")
    save_figure(figure, path)


def main() -> None:
    """Pictures and table beside the data."""
    rows = read(FOLDER / "study.csv")
    draw_starts(rows, FOLDER / "starts.png")
    if any(row["variant"] == f"{POOLS[0]} worlds" for row in rows):
        draw_worlds(rows, FOLDER / "worlds.png")
    if any(row["variant"] in EVOLVED.values() for row in rows):
        draw_evolution(rows, FOLDER / "evolution.png")
    atomic_write(FOLDER / "table.md", "\n".join(table(rows)) + "\n")
    print("\n".join(table(rows)))


if __name__ == "__main__":
    run_script(main)
