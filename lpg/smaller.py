"""A learned LPG said again by another network, mostly a smaller one."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
from rich.console import Console

from metaobj.common.agents.agent import Heads
from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.experience.batches import Batch
from metaobj.common.files import make_folder
from metaobj.common.lifetimes.distributions import make_distribution
from metaobj.common.objectives import file
from metaobj.common.objectives.plugin import Inspection, Loaded
from metaobj.common.objectives.provenance import here, known
from metaobj.common.types import Metrics, PyTree
from metaobj.lpg.config import DISTRIBUTIONS, LPGTraining
from metaobj.lpg.objective import LPG
from metaobj.lpg.teaching import learn

_EVERY = 10
"""Updates between lines of progress."""


@dataclass(frozen=True)
class Smaller:
    """Distil an LPG into a fresh network, by its targets."""

    units: int = 0
    """Units of the new network's LSTM; by default as many as the old one's. All else of it is as the old one's."""
    updates: int = 1500
    """How long it learns, in updates of its weights."""
    distribution: str = ""
    """Where agents live whose targets it learns; by default what the objective was trained on."""
    seed: int = 0
    """Seed of the weights, the worlds and the agents."""

    def __post_init__(self) -> None:
        check_numbers(self, "units", at_least=0, at_most=MOST)
        check_numbers(self, "updates", at_least=_EVERY, at_most=MOST)
        check_numbers(self, "seed", at_least=0, at_most=2**32 - 1)
        if self.updates % _EVERY:
            raise UserError(f"updates: {self.updates} given; must be a multiple of {_EVERY}")


@dataclass(frozen=True, eq=False)
class Frozen:
    """A learned LPG as a teacher: a rule whose weights are its own."""

    rule: LPG
    eta: PyTree

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        return self.rule.targets(self.eta, heads, next_heads, batch)

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        return self.rule.loss(heads, targets, batch)


def smaller(loaded: Loaded[LPGTraining, LPG], options: Smaller, folder: Path, console: Console) -> Inspection:
    """Write objective.safetensors, of the new network, and tell how far its targets are from the old one's.

    Raises:
        UserError: agents cannot live in the worlds, or what was learnt is not finite.
    """
    old, config = loaded.objective, loaded.config
    network = replace(old.config, units=options.units or old.config.units)
    config = replace(config, network=network, start="none", init="", selection="", seed=options.seed)
    entries = (
        make_distribution(options.distribution, 1, DISTRIBUTIONS) if options.distribution else loaded.environments()
    )
    way = replace(
        config,
        log_every=_EVERY,
        meta_updates=options.updates,
        checkpoint_every=options.updates,
        start_updates=options.updates,
    )
    learnt = learn(Frozen(old, loaded.eta), way, entries, console)
    path = folder / "objective.safetensors"
    errors = {"policy_error": learnt.policy_error, "prediction_error": learnt.prediction_error}
    of = {**asdict(options), "of": loaded.metadata["digest"], **errors}
    changes = {"objective": loaded.plugin.describe(config), "configuration": asdict(config), "distilled": of}
    make_folder(folder)
    kept = {name: value for name, value in loaded.metadata.items() if name != "card"}  # which is the old one's
    command = f"metaobj distil {loaded.source} --units {network.units} --updates {options.updates}"
    begun = {**here(), "command": command, "init": known(loaded.source, loaded.metadata)}
    file.save(path, learnt.eta, {**kept, **changes, "provenance": begun})
    return Inspection([path], (f"units: {network.units} for {old.config.units}; {learnt.told}",))
