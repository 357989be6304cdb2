"""Runs of one configuration that differ in their seed: each in a folder, all in one, which comparisons take as one."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.rule import Rule
from rich.text import Text

from metaobj.common.errors import MOST, UserError
from metaobj.common.objectives.plugin import Config, Plugin
from metaobj.common.objectives.run_pictures import draw_seeds
from metaobj.common.objectives.train import Outcome, make_trainer, meta_train, reseeded
from metaobj.common.processes import agreed, is_first
from metaobj.common.runs.metrics import Sink
from metaobj.common.runs.run_folder import CONFIG, RunFolder

PREFIX = "seed-"
LONGEST = 1000
"""Seeds of a sweep."""


def parse_seeds(words: Sequence[str]) -> tuple[int, ...]:
    """The seeds that words such as "0", "3" and "10..19" say, both ends included.

    Raises:
        UserError: a word says none, a seed is said twice, or there are too many.
    """
    seeds: list[int] = []
    for word in words:
        found = re.fullmatch(r"(\d{1,10})(?:\.\.(\d{1,10}))?", word)
        first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
        if not first <= last <= MOST:
            raise UserError(f"seeds: {word} given; must be numbers such as 0 1 2, or 0..9")
        if last - first >= LONGEST:
            raise UserError(f"seeds: {word} given; must be {LONGEST} or fewer")
        seeds += range(first, last + 1)
    if len(set(seeds)) < len(seeds):
        raise UserError(f"seeds: {' '.join(words)} given; one is there twice")
    return tuple(seeds)


def runs_of(folder: Path) -> list[Path]:
    """The runs in a sweep's folder, by seed; none where it is no such folder."""
    if (folder / CONFIG).exists() or not folder.is_dir():
        return []
    runs = [path.parent for path in folder.glob(f"{PREFIX}*/{CONFIG}")]
    numbered = [run for run in runs if run.name.removeprefix(PREFIX).isdecimal()]
    return sorted(numbered, key=lambda run: seeds_of([run]))


def seeds_of(runs: Sequence[Path]) -> tuple[int, ...]:
    """The seeds of runs in a sweep's folder."""
    return tuple(int(run.name.removeprefix(PREFIX)) for run in runs)


def sweep(
    plugin: Plugin[Config, Any],
    config: Config,
    folder: Path,
    seeds: Sequence[int],
    *,
    resume: bool = False,
    devices: int | None = None,
    sinks: Callable[[RunFolder, int], Sequence[Sink]] = lambda run, step: (),
    console: Console | None = None,
) -> Outcome:
    """Meta-train once for each seed, one run after another, and draw them together.

    Args:
        plugin: the kind of objective.
        config: the configuration but for its seed.
        folder: where the runs go, as seed-0 and so on.
        seeds: one or more.
        resume: go on where the runs that are there stand; those that are missing begin.
        devices: see `meta_train`.
        sinks: likewise.
        console: likewise.

    Returns:
        How the last run that was made ended; a signal ends the sweep.

    Raises:
        UserError: a folder holds something else, or a run without `resume`.
    """
    console = console or Console(quiet=True)
    if (folder / CONFIG).exists():
        raise UserError(f"run folder {folder}: holds a run, not runs of several seeds; give another")
    runs = [folder / f"{PREFIX}{seed}" for seed in seeds]
    begun = [(run / CONFIG).exists() for run in runs]
    if any(begun) and not resume:
        raise UserError(f"run folder {runs[begun.index(True)]}: holds a run; pass --resume to go on with it")
    with agreed():
        shared = make_trainer(plugin, config, devices)
    for seed, run, there in zip(seeds, runs, begun, strict=True):
        console.print(Rule(f"seed {seed}"))
        own = replace(config, seed=seed)
        trainer = reseeded(plugin, shared, seed)
        outcome = meta_train(
            plugin, own, run, resume=there, devices=devices, sinks=sinks, console=console, trainer=trainer
        )
        if outcome.signal is not None:
            return outcome
    if not is_first():
        return replace(outcome, objective=folder)
    try:
        draw_seeds(plugin, runs, folder / "training.png")
        console.print(Text(str(folder / "training.png"), style="dim"), soft_wrap=True)
    except (OSError, UserError) as error:  # the runs themselves are safe
        console.print(Text(f"warning: no picture of the runs: {error}", style="yellow"), soft_wrap=True)
    return replace(outcome, objective=folder)
