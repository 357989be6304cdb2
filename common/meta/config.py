"""Configuration of meta-training that every objective shares."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias, get_args, get_type_hints

from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.lifetimes.sampler import SamplerConfig
from metaobj.common.meta.objectives import Last, MetaObjective, Mixed

Schedule: TypeAlias = Literal["constant", "cosine"]
MatmulPrecision: TypeAlias = Literal["default", "highest", "bfloat16"]
LENGTHS = ("meta_updates", "checkpoint_every", "log_every")


def longest_interval(at_most: int, *lengths: int) -> int:
    """The largest number of meta-updates that divides all lengths, or so many."""
    return max(n for n in range(1, at_most + 1) if math.gcd(*lengths) % n == 0)


def fitted(config: Any, given: Mapping[str, Any]) -> Any:
    """The configuration with the lengths that are given, and where no interval of the log is, one that divides them; a
    run that is shorter than the interval of its checkpoints has one, at its end.

    Raises:
        UserError: a length is out of bounds, or the interval that is given does not divide the others.
    """
    lengths = {name: given[name] for name in (*LENGTHS, "start_updates") if type(given.get(name)) is int}
    starts = given.get("start", getattr(config, "start", "none")) != "none"
    if not (lengths or starts) or min(lengths.values(), default=1) < 1:  # which the configuration itself tells of
        return config
    updates = lengths.get("meta_updates", config.meta_updates)
    every = lengths.get("checkpoint_every", min(config.checkpoint_every, updates))
    divided = [updates, every]
    if starts:
        divided.append(lengths.get("start_updates", getattr(config, "start_updates", updates)))
    log_every = lengths.get("log_every") or longest_interval(min(config.log_every, *divided), *divided)
    return replace(config, meta_updates=updates, checkpoint_every=every, log_every=log_every)


def check_start(config: Any) -> None:
    """Of a configuration with `start` and `start_updates`.

    Raises:
        UserError: no such start is known, something else is started from, or it has no such length.
    """
    if config.start not in (known := get_args(get_type_hints(type(config))["start"])):
        raise UserError(f"start: {config.start!r} given; choose from {', '.join(known)}")
    if config.start != "none":
        if config.init:
            told = f"where init ({config.init}) tells what is started from"
            raise UserError(f"start: {config.start} given; must be none {told}")
        check_numbers(config, "start_updates", at_least=config.log_every, at_most=MOST)
        check_interval(config, "meta_updates checkpoint_every start_updates")


def wants_start(config: Any) -> bool:
    """Whether such a configuration asks for one, as a run begins: an older file may tell what was the default then.

    Raises:
        UserError: it asks for none, and tells how long it is to take.
    """
    if config.start == "none" and config.start_updates != type(config).start_updates:
        raise UserError(f"start_updates: {config.start_updates} given; start says that nothing is distilled")
    return bool(config.start != "none")


def check_interval(config: "MetaTrainingConfig", names: str) -> None:
    """Raises:
    UserError: `log_every` does not divide all fields of these names.
    """
    lengths = {name: getattr(config, name) for name in names.split()}
    if any(length % config.log_every for length in lengths.values()):
        told = " and ".join(f"{name} ({length})" for name, length in lengths.items())
        fits = longest_interval(min(config.log_every, *lengths.values()), *lengths.values())
        raise UserError(f"log_every: {config.log_every} given; must divide {told}, as --log-every {fits} does")


@dataclass(frozen=True)
class MetaTrainingConfig:
    """How an objective is meta-trained."""

    distribution: str = "small-layouts"
    """What is trained on: a distribution's name, several joined by "+", or an environment's name."""
    scale: int = 1
    """Multiplies the number of the distribution's lifetimes."""
    life: float = 1.0
    """Multiplies the lengths of the distribution's lifetimes: longer ones teach more of what old agents need."""
    worlds: int = 0
    """How many different worlds each environment of the distribution has, drawn once from the seed, for every agent one
    of them; by default every new agent has a new one.
    """
    meta_updates: int = 300
    """Steps of the objective's Adam: how long the run is."""
    inner_updates: int = 5
    """K, agent updates that each meta-gradient goes through."""
    rollout_steps: int = 20
    """T, steps per environment and update."""
    discount: float = 0.995
    """gamma, the discount per step of the agents' returns."""
    learning_rate: float = 1e-3
    """Learning rate of the Adam that trains the objective."""
    mix: float = 0.0
    """Judge not the K-th updated agent alone but each of the K, the k-th with a weight of mix^(K - k): less noise, and
    a shorter sight. 1 weighs all alike.
    """
    init: str = ""
    """An objective that eta starts from: a file, a run folder, RUN@STEP or pretrained:NAME, of the same sizes; by
    default fresh weights.
    """
    estimator: Literal["backprop", "antithetic-es", "persistent-es"] = "backprop"
    """How the meta-gradient is taken: through the K updates in reverse, or, without differentiating, by what pairs of
    lifetimes earn whose weights differ, over K updates or over their whole lives. Then agents are judged by what they
    earn alone, and meta-losses, their weights and the clip have no part in it.
    """
    es_sigma: float = 0.03
    """Standard deviation of what is added to the weights, where lifetimes are paired."""
    family_adam: bool = False
    """An Adam of its own for each family of worlds (those that share a program), whose steps are averaged: kinds of
    worlds with small meta-gradients then teach as much as those with large ones.
    """
    lifetime_adam: bool = False
    """An Adam of its own for each lifetime (for each pair, where they are paired), whose steps are averaged (Oh et al.
    2025). It goes on when a lifetime ends and the next begins in its place. Takes the memory of two sets of the
    objective's weights for each.
    """
    schedule: Schedule = "cosine"
    """How the objective's learning rate goes over the run: stays, or falls to 0 along half a cosine."""
    lifetime_gradient_clip: float = 0.1
    """Each lifetime's meta-gradient is scaled to at most this global norm before the mean; 0 leaves it as it is."""
    seed: int = 0
    """Seed of worlds, networks, actions and noise; the same seed gives the same objective."""
    chunk: int = 32
    """At most so many lifetimes of a family and device are differentiated at once; sets memory, not results."""
    matmul_precision: MatmulPrecision = "default"
    """How an accelerator takes matrix products in meta-updates, those of worlds included; sums and all else are
    float32. By default as it does by itself (TF32 on NVIDIA's from Ampere on, bfloat16 on TPUs); highest: of float32
    numbers; bfloat16: of numbers rounded to it. A CPU has float32 alone. What is done before the first meta-update and
    beside them (a distilled start, selection) is as by default.
    """
    log_every: int = 10
    """Meta-updates per compiled chunk and per line of metrics."""
    checkpoint_every: int = 50
    """Meta-updates between checkpoints; also saved at the end and at a signal."""
    keep_checkpoints: int = 3
    """How many of the newest checkpoints stay."""
    selection: str = ""
    """Worlds that tell which checkpoint is best, a distribution's name as above and of other environments: at each
    checkpoint fresh agents learn there. objective.safetensors is then the best checkpoint's, last.safetensors the last.
    """
    sampler: SamplerConfig = field(default_factory=SamplerConfig)

    def __post_init__(self) -> None:
        # Steps are counted in 32 bits, and a seed that takes more of them would be cut.
        sizes = "scale inner_updates rollout_steps chunk checkpoint_every keep_checkpoints meta_updates log_every"
        check_numbers(self, sizes, at_least=1, at_most=MOST)
        check_numbers(self, "worlds", at_least=0, at_most=2**20)
        check_numbers(self, "seed", at_least=0, at_most=2**32 - 1)
        check_numbers(self, "learning_rate life es_sigma", above=0)
        check_numbers(self, "lifetime_gradient_clip", at_least=0)
        check_numbers(self, "discount mix", at_least=0, at_most=1)
        if self.estimator not in (known := get_args(get_type_hints(type(self))["estimator"])):
            raise UserError(f"estimator: {self.estimator!r} given; choose from {', '.join(known)}")
        if self.paired and self.meta_objective != Last():
            raise UserError(f"estimator: {self.estimator} given; must be backprop where {self.meta_objective} judges")
        if self.family_adam and self.lifetime_adam:
            raise UserError("lifetime_adam: true given; must be false where family_adam is true")
        for name, known in (("schedule", get_args(Schedule)), ("matmul_precision", get_args(MatmulPrecision))):
            if (given := getattr(self, name)) not in known:
                raise UserError(f"{name}: {given!r} given; choose from {', '.join(known)}")
        check_interval(self, "meta_updates checkpoint_every")

    @property
    def paired(self) -> bool:
        """Whether lifetimes come in pairs that begin alike."""
        return self.estimator != "backprop"

    @property
    def meta_objective(self) -> MetaObjective:
        """What the meta-gradient is taken of."""
        return Mixed(self.mix) if self.mix else Last()
