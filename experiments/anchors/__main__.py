"""Measure the hand-written methods against published figures.

    python -m experiments.anchors [NAMES ...] [--seeds 8] [--steps N] [--output experiments/results/anchors]

NAMES are anchors or groups of them (`control`, `minatar`, `all`). All settings and seeds of a method are one program;
its curves are written as it ends, so that what is cut short leaves what was done. The page is made of all tables that
the folder holds, those of earlier runs too; without names it is made anew.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from experiments.anchors.catalogue import ANCHORS, GROUPS
from experiments.anchors.measure import load, measure, save, shortened
from experiments.anchors.page import summarise, write_page
from experiments.script import run_script
from metaobj.common.devices import use_all_cores
from metaobj.common.errors import UserError


@dataclass(frozen=True)
class Arguments:
    """Hand-written methods against published figures."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Anchors or groups of them."""
    seeds: int = 8
    """Agents per setting."""
    steps: int | None = None
    """Environment steps of an agent; each anchor's own budget where none are told."""
    methods: tuple[str, ...] = ()
    """Only these methods."""
    whole_grid: bool = False
    """All settings that the methods are tuned over in evaluations, instead of the anchors' own few."""
    output: Path = Path("experiments/results/anchors")
    """Folder of tables and page."""


def main() -> None:
    """Run the anchors that are named, and write the page."""
    arguments = tyro.cli(Arguments, description=__doc__)
    use_all_cores()
    if unknown := [name for name in arguments.names if name not in ANCHORS and name not in GROUPS]:
        raise UserError(f"names: {unknown[0]!r} given; choose from {', '.join((*ANCHORS, *GROUPS))}")
    names = [part for name in arguments.names for part in GROUPS.get(name, (name,))]
    todo = [(name, at) for name in names for at in range(len(ANCHORS[name].contestants))]
    begun = time.monotonic()
    for name, at in todo:
        anchor = ANCHORS[name] if arguments.steps is None else shortened(ANCHORS[name], arguments.steps)
        contestant = anchor.contestants[at]
        if arguments.methods and contestant.method.name not in arguments.methods:
            continue
        method = contestant.method
        settings = method.settings(anchor.entry.agent) if arguments.whole_grid else contestant.combinations
        say(begun, f"{name}: {method.name}, {len(settings)} settings, {arguments.seeds} seeds")
        curves = measure(anchor, method, settings, arguments.seeds)
        path = arguments.output / f"{name}.csv"
        others = [one for one in (load(path) if path.exists() else []) if one.method != method.name]
        save(path, others + curves)
        for one in sorted(curves, key=lambda one: -summarise(one).final.point):
            say(begun, f"  {one.setting}: {summarise(one)}")
    write_page(arguments.output)
    say(begun, f"{arguments.output / 'README.md'} written")


def say(begun: float, line: str) -> None:
    """With the seconds since the start."""
    print(f"{time.monotonic() - begun:6.0f} s  {line}", flush=True)


if __name__ == "__main__":
    run_script(main)
