"""Train the agents of an anchor and keep their curves."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np

from experiments.anchors.catalogue import Anchor
from metaobj.common.evaluation.method import Method, Settings
from metaobj.common.evaluation.training import train_agents
from metaobj.common.evaluation.worlds import draw_worlds
from metaobj.common.files import write_csv
from metaobj.common.lifetimes.population import make_families

HEADER = ("method", "environment", "setting", "seed", "bin", "env_steps", "return", "diverged")


@dataclass(frozen=True, eq=False)
class Curves:
    """Of one method and setting on one environment."""

    method: str
    environment: str
    setting: str
    """ "name=value", joined by spaces"""
    env_steps: np.ndarray  # [bins] of one agent by the end of the bin
    returns: np.ndarray  # [seeds, bins]
    diverged: np.ndarray  # [seeds, bins]


def shortened(anchor: Anchor, steps: int) -> Anchor:
    """The anchor with a budget of about so many environment steps, at least an update for each bin."""
    entry = anchor.entry
    share = entry.num_environments * anchor.contestants[0].method.rollout_steps
    updates = max(steps // share // anchor.bins, 1) * anchor.bins
    return replace(anchor, entry=replace(entry, updates=updates))


def measure(anchor: Anchor, method: Method, settings: Sequence[Settings], seeds: int, seed: int = 0) -> list[Curves]:
    """Curves of `seeds` fresh agents of each setting: all of them in one program.

    Raises:
        UserError: the method cannot live in the anchor's environment or budget.
    """
    entry = anchor.entry
    (family,) = make_families([entry], method.programs)
    worlds_key, agents_key = jax.random.split(jax.random.key(seed))
    worlds = draw_worlds(family, entry.environment, worlds_key, seeds)
    updates = method.updates(entry, family.program)
    bins = min(anchor.bins, updates)
    record = train_agents(method.rule, method.weights, family, worlds, updates, settings, agents_key, bins)
    return [
        Curves(
            method.name,
            entry.environment,
            " ".join(f"{name}={value:g}" for name, value in setting.items()),
            record.env_steps,
            part.returns,
            part.diverged,
        )
        for setting, part in zip(settings, record.parts(len(settings)), strict=True)
    ]


def save(path: Path, curves: Sequence[Curves]) -> None:
    """One row for each bin of each agent."""
    rows = [
        (one.method, one.environment, one.setting, seed, at, int(steps), f"{value:.6g}", int(lost))
        for one in curves
        for seed, (returns, diverged) in enumerate(zip(one.returns, one.diverged, strict=True))
        for at, (steps, value, lost) in enumerate(zip(one.env_steps, returns, diverged, strict=True))
    ]
    write_csv(path, HEADER, rows)


def load(path: Path) -> list[Curves]:
    """What `save` has written."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    groups: dict[tuple[str, str, str], list[dict[str, str]]] = {}
    for row in rows:
        groups.setdefault((row["method"], row["environment"], row["setting"]), []).append(row)
    curves = []
    for names, own in groups.items():
        shape = (len({row["seed"] for row in own}), len({row["bin"] for row in own}))
        steps = np.array([int(row["env_steps"]) for row in own]).reshape(shape)[0]
        returns = np.array([float(row["return"]) for row in own]).reshape(shape)
        diverged = np.array([row["diverged"] == "1" for row in own]).reshape(shape)
        curves.append(Curves(*names, steps, returns, diverged))
    return curves
