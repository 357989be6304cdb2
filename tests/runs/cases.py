"""Small runs of LPG, and what they leave."""

import io
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rich.console import Console

from metaobj.common.objectives.train import Outcome, make_trainer, meta_train
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.objective import LPGConfig
from metaobj.lpg.plugin import plugin

TINY = LPGTraining(
    distribution="tiny",
    meta_updates=5,
    inner_updates=1,
    rollout_steps=2,
    log_every=1,
    checkpoint_every=1,
    keep_checkpoints=3,
    network=LPGConfig(units=4, prediction_size=2, embedding_units=2),
)
TIMING = ("seconds", "steps_per_second")
shared_trainer = cache(make_trainer)
"""Runs of one configuration share what is traced and compiled."""


class At:
    """A sink that does something when a step is logged, before its checkpoint is written."""

    def __init__(self, step: int, do: Callable[[], None]) -> None:
        self.step, self.do = step, do

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.step:
            self.do()

    def close(self) -> None:
        pass


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def checkpoints(folder: Path) -> list[int]:
    return sorted(int(entry.name) for entry in (folder / "checkpoints").iterdir())


def told(folder: Path, config: LPGTraining = TINY, **options: Any) -> tuple[Outcome, str]:
    console = Console(file=io.StringIO(), width=1000)
    outcome = meta_train(plugin, config, folder, console=console, **options)
    assert isinstance(console.file, io.StringIO)
    return outcome, console.file.getvalue()


def same(folder: Path, straight: Path) -> bool:
    assert [row["step"] for row in rows(folder)] == [1, 2, 3, 4, 5]
    assert rows(folder) == rows(straight)
    return (folder / "objective.safetensors").read_bytes() == (straight / "objective.safetensors").read_bytes()
