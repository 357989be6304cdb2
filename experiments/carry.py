"""Meta-train LPG on worlds that a rule must have met to carry to other tasks, for as long as there is time.

    python -m experiments.carry --rule value --seconds 500 --output runs/carry-value [--scale 32]

The run stops by itself after so many seconds, compilation included. The learning rate falls along half a cosine over
the time and not over a number of meta-updates, which depends on the machine. As it goes it leaves in the folder
objective.safetensors, metrics.jsonl and optimiser.npz; a run that is cut off loses a minute. `--init` goes on from an
objective of the same network, `--start actor-critic` from a rule that a person wrote, distilled first, which takes
its own time. What a run started from is kept as start.safetensors.
"""

import argparse
import json
import math
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from rich.console import Console

from experiments.script import run_script
from metaobj.common.devices import everywhere, spread
from metaobj.common.errors import UserError
from metaobj.common.meta.trainer import MetaTrainer, TrainingState
from metaobj.common.objectives.file import flatten
from metaobj.common.objectives.train import make_trainer, save_objective, started
from metaobj.common.runs.loop import Spent, run_chunk, summarise
from metaobj.lpg.config import PRESETS, LPGTraining
from metaobj.lpg.meta_loss import MetaLossConfig
from metaobj.lpg.plugin import plugin

RULES = {"pure": "lpg-grids", "value": "lpg-value"}
"""LPG's own inputs, or the lifetime's value function among them."""
OF_META_LOSS = ("policy_entropy", "policy_target", "anchor", "look_ahead")


@dataclass(frozen=True, eq=False)
class TimedTrainer(MetaTrainer):
    """A trainer whose learning rate is data."""

    @cached_property
    def optimiser(self) -> optax.GradientTransformation:
        return optax.inject_hyperparams(optax.adam)(learning_rate=self.config.learning_rate)

    def at_rate(self, state: TrainingState, rate: float) -> TrainingState:
        """The same state with this learning rate."""
        before = state.optimiser.hyperparams["learning_rate"]
        now = jax.device_put(jnp.asarray(rate, before.dtype), before.sharding)
        return replace(
            state, optimiser=state.optimiser._replace(hyperparams={**state.optimiser.hyperparams, "learning_rate": now})
        )


def timed(config: LPGTraining) -> TimedTrainer:
    """The trainer of a configuration.

    Raises:
        UserError: it has several Adams.
    """
    if config.family_adam:
        raise UserError("family_adam: True given; must be False here: a single learning rate falls with time")
    plain = make_trainer(plugin, config)
    return TimedTrainer(plain.objective, plain.entries, plain.families, plain.sampler, plain.config, plain.mesh)


def prepare(config: LPGTraining) -> tuple[TimedTrainer, TrainingState, Any]:
    """Trainer, first state and the compiled chunk; with fewer lifetimes at once where memory is short."""
    while True:
        begun = time.monotonic()
        trainer = timed(config)
        with ThreadPoolExecutor(1) as pool:  # two programs are compiled at once
            compiling = pool.submit(trainer.run_chunk.lower(placed(trainer)).compile)
            state = trainer.init()
            compiled = compiling.result()
        analysis = compiled.memory_analysis()
        needed = analysis.temp_size_in_bytes if analysis is not None else 0
        told = (jax.devices()[0].memory_stats() or {}).get("bytes_limit", math.inf)
        say(f"compiled in {time.monotonic() - begun:.0f} s; chunk {config.chunk} takes {needed / 2**30:.2f} GiB")
        if needed < 0.9 * told or config.chunk == 1:
            break
        config = replace(config, chunk=config.chunk // 2)
    return trainer, state, compiled


def placed(trainer: TimedTrainer) -> TrainingState:
    """Shapes and places of the trainer's state, which is not there yet."""
    shapes = jax.eval_shape(trainer.first, jax.random.key(0))
    whole, parted = everywhere(trainer.mesh), spread(trainer.mesh)

    def at(tree: Any, sharding: jax.sharding.NamedSharding) -> Any:
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding), tree)

    return replace(at(shapes, whole), populations=at(shapes.populations, parted))


def run(config: LPGTraining, seconds: float, save_every: float, output: Path) -> None:
    """Meta-train until the time is over, or a signal comes."""
    begun = time.monotonic()
    stopped: list[int] = []
    output.mkdir(parents=True, exist_ok=True)
    say(f"{jax.devices()}, jax {jax.__version__}")
    trainer, state, compiled = prepare(config)
    ready = time.monotonic()
    state = started(plugin, trainer, state, Console())
    begun += time.monotonic() - ready
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, frame: stopped.append(received))
    save_objective(output / "start.safetensors", plugin, trainer, state, 0)
    base, every = trainer.config.learning_rate, trainer.config.log_every
    say(f"{trainer.lifetimes} lifetimes, {trainer.steps_per_update} environment steps per meta-update")
    learning = time.monotonic()
    deadline = begun + seconds
    spent, saved, longest = Spent(0.0, trainer.first_steps), learning, 0.0
    with (output / "metrics.jsonl").open("w") as log:
        while not stopped and time.monotonic() + 1.2 * longest < deadline - SAVING:
            at = time.monotonic()
            share = min((at - learning) / (deadline - SAVING - learning), 1.0)
            rate = base * 0.5 * (1 + math.cos(math.pi * share))
            state, metrics, took = run_chunk(trainer, compiled, trainer.at_rate(state, rate))
            longest = max(longest, took.seconds)
            spent = Spent(spent.seconds + took.seconds, spent.environment_steps + took.environment_steps)
            step = int(state.step)
            row = {"step": step, "learning_rate": rate, **summarise(trainer, metrics, took), **spent._asdict()}
            log.write(json.dumps({name: _short(value) for name, value in row.items()}) + "\n")
            log.flush()
            if time.monotonic() - saved > save_every:
                save(output, trainer, state, spent)
                saved = time.monotonic()
                say(_told(row))
            if row["not_finite"] == trainer.lifetimes * every:
                say("no lifetime has a finite gradient")
                break
    save(output, trainer, state, spent)
    say(f"done: {int(state.step)} meta-updates, {spent.environment_steps:.4g} environment steps, {spent.seconds:.0f} s")


SAVING = 5.0
"""Seconds that are kept for the end."""


def save(output: Path, trainer: TimedTrainer, state: TrainingState, spent: Spent) -> None:
    """The objective, and what its optimiser remembers."""
    save_objective(output / "objective.safetensors", plugin, trainer, state, spent.environment_steps)
    mean, square = (flatten(jax.device_get(part)) for part in _moments(state))
    arrays = {f"mean/{name}": value for name, value in mean.items()}
    arrays |= {f"square/{name}": value for name, value in square.items()}
    temporary = output / ".optimiser.npz"
    np.savez(temporary, step=int(state.step), **arrays)
    temporary.replace(output / "optimiser.npz")


def _moments(state: TrainingState) -> tuple[Any, Any]:
    adam = state.optimiser.inner_state[0]
    return adam.mu, adam.nu


def _short(value: Any) -> Any:
    return float(f"{value:.5g}") if isinstance(value, float) else value


def _told(row: dict[str, Any]) -> str:
    names = ("step", "seconds", "steps_per_second", "policy_entropy", "pi_hat_squared", "kl", "clipped", "not_finite")
    return "  ".join(f"{name} {row[name]:.4g}" for name in names)


def say(line: str) -> None:
    """At once, so that it is there when the run is cut off."""
    print(line, flush=True)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rule", choices=sorted(RULES), default="pure")
    parser.add_argument("--seconds", type=float, default=480.0, help="from the start of the process's work to its end")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--save-every", type=float, default=60.0, help="seconds between saves")
    numbers = ("scale", "seed", "chunk", "inner_updates", "learning_rate", "log_every", "discount", "start_updates")
    for name in ("init", "start", "distribution", *numbers):
        kind = type(getattr(PRESETS["lpg-grids"], name))
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=None)
    for name in ("units", "prediction_size"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=None)
    for name in OF_META_LOSS:
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(getattr(MetaLossConfig(), name)), default=None)
    arguments = vars(parser.parse_args())
    config = PRESETS[RULES[arguments.pop("rule")]]
    given = {name: value for name, value in arguments.items() if value is not None}
    weights = {name: given.pop(name) for name in OF_META_LOSS if name in given}
    network = {name: given.pop(name) for name in ("units", "prediction_size") if name in given}
    config = replace(config, meta_loss=replace(config.meta_loss, **weights), network=replace(config.network, **network))
    seconds, save_every, output = (given.pop(name) for name in ("seconds", "save_every", "output"))
    if log_every := given.get("log_every"):
        given |= {"meta_updates": log_every, "checkpoint_every": log_every}
    run(replace(config, **given), seconds, save_every, output)


if __name__ == "__main__":
    run_script(main)
