"""The host's side of meta-training: compile, run in chunks, log, checkpoint, resume, stop on a signal."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.markup import escape

from metaobj.common import objective_file, plotting
from metaobj.common.arguments import from_json
from metaobj.common.checkpoint import Checkpoints
from metaobj.common.devices import make_mesh
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import make_distribution
from metaobj.common.lifetimes.population import make_families, sampler_grids
from metaobj.common.lifetimes.sampler import make_sampler
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.trainer import MetaTrainer, TrainingState
from metaobj.common.metrics import MetricsLog, Sink, read_metrics
from metaobj.common.plugin import Plugin
from metaobj.common.progress import Progress
from metaobj.common.run_folder import RunFolder, check_place
from metaobj.common.types import Metrics, PyTree

SHOWN = (
    "reward",
    "cosine",
    "saturation",
    "critic_loss",
    "value_loss",
    "policy_entropy",
    "prediction_entropy",
    "kl",
    "pi_hat_squared",
    "meta_gradient_norm",
    "gradient_norm_max",
    "clipped",
)
"""Metrics that the picture of a run shows first, where the objective logs them."""


MOST_ENVIRONMENTS = 15
"""Panels for single environments in that picture; all are in metrics.jsonl."""


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    finished: bool
    step: int
    objective: Path
    signal: int | None = None


def make_trainer(plugin: Plugin, config: MetaTrainingConfig, devices: int | None = None) -> MetaTrainer:
    """Everything that is fixed during a run.

    Raises:
        UserError: the configuration cannot be run.
    """
    objective = plugin.build(config)
    entries = make_distribution(config.distribution, config.scale)
    families = make_families(entries, plugin.programs(config, objective))
    sampler = make_sampler(sampler_grids(entries, plugin.hyperparameters(config)), config.sampler)
    mesh = make_mesh([family.lifetimes.size for family in families], devices)
    return MetaTrainer(objective, entries, families, sampler, config, mesh)


def meta_train(
    plugin: Plugin,
    config: MetaTrainingConfig,
    run_dir: str | Path,
    *,
    resume: bool = False,
    devices: int | None = None,
    sinks: Callable[[RunFolder, int], Sequence[Sink]] = lambda run, step: (),
    console: Console | None = None,
) -> Outcome:
    """Meta-train, from the start or from where a run folder stands, and leave the objective in the folder.

    Args:
        plugin: the kind of objective.
        config: its configuration.
        run_dir: made if missing.
        resume: go on with the run that is there; its configuration must be this one.
        devices: over how many devices lifetimes are spread; all that fit by default.
        sinks: further places that metrics go to, made from (the folder, the step resumed at).
        console: where progress is shown; None shows nothing.

    Raises:
        UserError: the folder or the configuration does not fit.
        CheckpointError: a checkpoint cannot be written; the earlier ones are whole.
    """
    console = console or Console(quiet=True)
    trainer = make_trainer(plugin, config, devices)
    check_place(Path(run_dir), resume)
    state = trainer.init()
    check_first_observations(trainer, state)
    with RunFolder.open(run_dir, asdict(config), resume=resume) as run:
        checkpoints = Checkpoints(
            run.checkpoints,
            config.keep_checkpoints,
            lambda line: console.print(f"[yellow]warning[/] {escape(line)}", highlight=False, soft_wrap=True),
        )
        log = None
        try:
            restored = checkpoints.restore_latest(state) if resume else None
            seconds = 0.0
            if restored is not None:
                step, state, extra = restored
                seconds = extra["seconds"]
                console.print(f"resumed from step {step}", highlight=False)
                save_objective(run.objective, plugin, trainer, state)  # the run may have been killed just before that
            step = int(state.step)
            log = MetricsLog(run.metrics, list(sinks(run, step)))
            log.truncate_to(step)
            saver = _Saver(plugin, trainer, run, checkpoints)
            outcome = _loop(trainer, state, step, seconds, log, saver, run, console)
        finally:
            if log is not None:
                log.close()
            checkpoints.close()
        try:
            draw(trainer, run)
        except (OSError, UserError) as error:  # the run itself is safe
            console.print(f"[yellow]warning[/] no pictures of the run: {error}", highlight=False, soft_wrap=True)
    return outcome


def check_first_observations(trainer: MetaTrainer, state: TrainingState) -> None:
    """Before anything is written.

    Raises:
        UserError: an environment's observations are not all finite numbers.
    """
    all_finite = jax.jit(lambda observation: jnp.all(jnp.isfinite(observation)))
    for family, population in zip(trainer.families, state.populations, strict=True):
        if not all_finite(population.worlds.observation):
            names = " or ".join(trainer.entries[task].environment for task in family.tasks)
            raise UserError(f"{names}: observations with NaN or infinity given; they must be finite")


@dataclass
class _Saver:
    plugin: Plugin
    trainer: MetaTrainer
    run: RunFolder
    checkpoints: Checkpoints

    def __call__(self, step: int, state: TrainingState, seconds: float) -> None:
        self.checkpoints.save(step, state, {"seconds": seconds})
        save_objective(self.run.objective, self.plugin, self.trainer, state)


def configuration_of(plugin: Plugin, metadata: Mapping[str, Any]) -> Any:
    """The configuration that an objective was trained with, from its file's metadata.

    Raises:
        UserError: another version wrote it, with other fields.
    """
    return from_json(type(plugin.presets[plugin.default_preset]), metadata["configuration"], "the objective's metadata")


def save_objective(path: Path, plugin: Plugin, trainer: MetaTrainer, state: TrainingState) -> None:
    """Write eta with what is needed to use it elsewhere. The bytes depend on the state alone."""
    step = int(state.step)
    settings = trainer.sampler.best(jax.device_get(state.sampler))
    metadata = {
        "kind": plugin.kind,
        "objective": plugin.describe(trainer.config),
        "configuration": asdict(trainer.config),
        "entries": [asdict(entry) for entry in trainer.entries],
        "hyperparameters": {name: list(v) for name, v in plugin.hyperparameters(trainer.config).items()},
        "settings": settings,
        "meta_updates": step,
        "environment_steps": step * trainer.steps_per_update,
    }
    objective_file.save(path, jax.device_get(state.eta), metadata)


def _loop(
    trainer: MetaTrainer,
    state: TrainingState,
    step: int,
    seconds: float,
    log: MetricsLog,
    save: _Saver,
    run: RunFolder,
    console: Console,
) -> Outcome:
    config = trainer.config
    stopped: list[int] = []
    if step >= config.meta_updates:
        return Outcome(True, step, run.objective)
    with _signals(stopped, told=not console.quiet), Progress(console, config.meta_updates, step) as progress:
        progress.note(f"compiling for {trainer.mesh.size} device(s)")
        if step == 0:
            save(0, state, seconds)
        chunk = trainer.run_chunk.lower(state).compile()
        while step < config.meta_updates and not stopped:
            before = time.monotonic()
            state, metrics = chunk(state)
            step += config.log_every
            metrics = jax.device_get(metrics)
            took = time.monotonic() - before
            seconds += took
            row = summarise(trainer, metrics, took)
            row["seconds"] = seconds
            row["environment_steps"] = step * trainer.steps_per_update
            at_checkpoint = step % config.checkpoint_every == 0 or step == config.meta_updates
            if at_checkpoint:
                row["sampler"] = np.asarray(trainer.sampler.probabilities(state.sampler)).round(6).tolist()
            log.write(step, row)
            progress.update(step, row)
            if at_checkpoint or stopped:
                save(step, state, seconds)
    done = step >= config.meta_updates
    return Outcome(done, step, run.objective, stopped[0] if stopped and not done else None)


def summarise(trainer: MetaTrainer, metrics: Metrics, seconds: float) -> dict[str, Any]:
    """One line of metrics from the chunk's [log_every, ...]: means, sums of counts, values by environment."""
    metrics = dict(metrics)
    episodes, returns = metrics.pop("task_episodes").sum(0), metrics.pop("task_return_sum").sum(0)
    rewards = metrics.pop("task_reward").mean(0)
    row: dict[str, Any] = {}
    for name, values in sorted(metrics.items()):
        counted = name in ("ended", "not_finite")
        row[name] = int(values.sum()) if counted else float(values.max() if name.endswith("_max") else values.mean())
    updates = len(next(iter(metrics.values())))
    row["steps_per_second"] = updates * trainer.steps_per_update / seconds
    for at, entry in enumerate(trainer.entries):
        row[f"reward/{entry.environment}"] = float(rewards[at])
        if episodes[at]:
            row[f"episode_return/{entry.environment}"] = float(returns[at] / episodes[at])
    return row


def draw(trainer: MetaTrainer, run: RunFolder) -> None:
    """Pictures of the run so far: its curves, and what the hyperparameter sampler came to."""
    rows = read_metrics(run.metrics)
    if not rows:
        return
    keys = {key for row in rows for key in row}
    returns = [f"episode_return/{entry.environment}" for entry in trainer.entries]
    # An environment whose episodes have not ended yet is shown by its reward per step.
    returns = [key if key in keys else key.replace("episode_return", "reward") for key in returns]
    shown = [key for key in SHOWN if key in keys] + returns[:MOST_ENVIRONMENTS]
    plotting.training_curve(run.path / "training.png", rows, shown)
    tables = [row["sampler"] for row in rows if "sampler" in row]
    if not tables:
        return
    by_grid: dict[Any, list[int]] = {}
    for at, grid in enumerate(trainer.sampler.grids):
        by_grid.setdefault(grid, []).append(at)
    for number, (grid, tasks) in enumerate(by_grid.items()):
        sizes = [len(values) for _, values in grid]
        probabilities = np.array(tables[-1])[tasks][:, : int(np.prod(sizes))].reshape(len(tasks), *sizes)
        names = [trainer.entries[task].environment for task in tasks]
        path = run.path / ("sampler.png" if number == 0 else f"sampler_{number + 1}.png")
        plotting.sampler_table(path, probabilities, axes=list(grid), tasks=names)


class _signals:
    """While it is open, SIGINT and SIGTERM are noted; a second one does what it did before."""

    def __init__(self, stopped: list[int], told: bool) -> None:
        self._stopped = stopped
        self._told = told
        self._old: dict[int, Any] = {}

    def __enter__(self) -> None:
        def note(number: int, frame: FrameType | None) -> None:
            if self._stopped:
                signal.signal(number, self._old[number])
                signal.raise_signal(number)
            self._stopped.append(number)
            if self._told:  # by the system call itself: a handler may have interrupted a write to the same stream
                os.write(2, b"\nstopping after this chunk and saving; once more to stop at once\n")

        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._old[number] = signal.signal(number, note)
            except ValueError:  # not in the main thread: signals are somebody else's business
                return

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)


def load_objective(path_or_name: str | Path, kind: str | None = None) -> tuple[Plugin, Any, PyTree, Mapping[str, Any]]:
    """(plugin, objective, eta, metadata) of an objective file, a run folder or `pretrained:NAME`."""
    from metaobj.common.plugin import get_plugin

    arrays, metadata = objective_file.load(path_or_name, kind)
    try:
        plugin = get_plugin(metadata["kind"])
    except UserError as error:
        raise UserError(f"{path_or_name}: {error}") from None
    missing = {"objective", "configuration", "entries", "hyperparameters"} - set(metadata)
    if missing:
        raise UserError(f"{path_or_name}: its metadata lacks {', '.join(sorted(missing))}; another version wrote it")
    try:
        objective = plugin.rebuild(metadata["objective"])
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path_or_name}: this version of {plugin.kind} cannot be built from it: {error}") from error
    wanted = objective_file.flatten(jax.eval_shape(objective.init, jax.random.key(0)))
    shapes = {name: array.shape for name, array in arrays.items()}
    odd = sorted(n for n in shapes.keys() | wanted.keys() if n not in wanted or shapes.get(n) != wanted[n].shape)
    if odd:
        raise UserError(f"{path_or_name}: its array {odd[0]} does not fit the objective that its metadata describes")
    eta = jax.tree.map(jax.numpy.asarray, objective_file.unflatten(arrays))
    return plugin, objective, eta, metadata
