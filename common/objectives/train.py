"""Meta-training of an objective in a run folder: from the start, or from where the folder stands."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import jax
from rich.console import Console
from rich.markup import escape

from metaobj.common.configuration import from_json
from metaobj.common.errors import UserError
from metaobj.common.files import atomic_write, make_folder
from metaobj.common.lifetimes.distributions import Entry, make_distribution
from metaobj.common.memory import check_fits, size_of
from metaobj.common.meta.config import wants_start
from metaobj.common.meta.trainer import MetaTrainer, TrainingState
from metaobj.common.objectives import file
from metaobj.common.objectives.extension import MAY_DIFFER, extension, told
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import Config, Plugin
from metaobj.common.objectives.provenance import begun
from metaobj.common.objectives.run_page import write_run_page
from metaobj.common.objectives.run_pictures import draw
from metaobj.common.objectives.selection import LAST, Selection, selection_entries
from metaobj.common.processes import agreed, firsts_arrays, is_first
from metaobj.common.runs.checkpoint import Checkpoints
from metaobj.common.runs.loop import Spent, Stopped, run_chunks
from metaobj.common.runs.metrics import MetricsLog, Sink, read_metrics
from metaobj.common.runs.run_folder import (
    RunFolder,
    check_place,
    check_same,
    check_same_everywhere,
    different_field,
)
from metaobj.common.types import PyTree


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    finished: bool
    step: int
    objective: Path
    signal: int | None = None


def make_trainer(plugin: Plugin[Config, Any], config: Config, devices: int | None = None) -> MetaTrainer:
    """Everything that is fixed during a run.

    Raises:
        UserError: the configuration cannot be run.
    """
    objective = plugin.build(config)
    entries = make_distribution(config.distribution, config.scale, plugin.distributions, config.life)
    make = plugin.programs if config.paired else plugin.trials or plugin.programs
    return MetaTrainer.of(objective, entries, make(config, objective), plugin.hyperparameters(config), config, devices)


def reseeded(plugin: Plugin[Any, Any], trainer: MetaTrainer, seed: int) -> MetaTrainer:
    """The trainer of the same with another seed; both share what is traced, unless worlds are drawn from the seed."""
    config: Any = replace(trainer.config, seed=seed)
    return make_trainer(plugin, config, trainer.mesh.size) if config.worlds else trainer.seeded(seed)


def meta_train(
    plugin: Plugin[Config, Any],
    config: Config,
    run_dir: str | Path,
    *,
    resume: bool = False,
    devices: int | None = None,
    sinks: Callable[[RunFolder, int], Sequence[Sink]] = lambda run, step: (),
    console: Console | None = None,
    trainer: MetaTrainer | None = None,
) -> Outcome:
    """Meta-train, from the start or from where a run folder stands, and leave the objective in the folder.

    Where several processes run this together, all call it alike; the first alone writes, shows and logs, and all write
    the checkpoints.

    Args:
        plugin: the kind of objective.
        config: its configuration.
        run_dir: made if missing.
        resume: go on with the run that is there; its configuration must be this one but for `MAY_DIFFER`.
        devices: over how many devices lifetimes are spread; all that are of use by default.
        sinks: further places that metrics go to, made from (the folder, the step resumed at).
        console: where progress is shown; None shows nothing.
        trainer: of this configuration and these devices, where there is one already.

    Raises:
        UserError: the folder or the configuration does not fit.
        CheckpointError: a checkpoint cannot be written; the earlier ones are whole.
    """
    console = console if console is not None and is_first() else Console(quiet=True)
    assert trainer is None or trainer.config == config

    def upgrade(stored: dict[str, Any]) -> dict[str, Any]:
        return asdict(from_json(type(config), stored, str(Path(run_dir) / "config.json")))

    with agreed():
        trainer = trainer or make_trainer(plugin, config, devices)
        selection_entries(plugin, config)
        if is_first():
            check_place(Path(run_dir), resume)
        longer = extension(Path(run_dir), config) if resume else {}
        if resume:
            check_same(Path(run_dir), asdict(config), MAY_DIFFER, upgrade)
        check_memory(trainer)
        beginning = {} if resume else begun(config.init, plugin.kind)
    check_same_everywhere({"kind": plugin.kind, "devices": devices, "resume": resume, **asdict(config)})
    state = trainer.init()  # before there is a folder: where it does not fit, nothing is left

    def provenance(before: dict[str, Any]) -> dict[str, Any]:
        return {**before, **beginning, **({"extended": [*before.get("extended", ()), longer]} if longer else {})}

    with RunFolder.open(run_dir, asdict(config), resume, MAY_DIFFER, upgrade, provenance) as run:
        if longer:
            console.print(told(longer, config), highlight=False, soft_wrap=True)
        try:
            stopped = _run(plugin, trainer, state, run, upgrade, sinks, console)
        except BaseException:
            if is_first() and (not run.checkpoints.is_dir() or not any(run.checkpoints.iterdir())):
                run.abandon()
            raise
        try:
            if is_first():
                draw(plugin, trainer, run)
                write_run_page(run.path)
        except (OSError, UserError) as error:  # the run itself is safe
            console.print(f"[yellow]warning[/] no pictures, no page: {error}", highlight=False, soft_wrap=True)
        with agreed():  # nobody leaves before the first has drawn
            pass
    return Outcome(stopped.step >= config.meta_updates, stopped.step, run.objective, stopped.signal)


def _run(
    plugin: Plugin[Any, Any],
    trainer: MetaTrainer,
    state: TrainingState,
    run: RunFolder,
    upgrade: Callable[[dict[str, Any]], dict[str, Any]],
    sinks: Callable[[RunFolder, int], Sequence[Sink]],
    console: Console,
) -> Stopped:
    """Restore what the folder holds, if it is resumed, and go on to the end or to a signal."""
    checkpoints = Checkpoints(
        run.checkpoints,
        trainer.config.keep_checkpoints,
        lambda line: console.print(f"[yellow]warning[/] {escape(line)}", highlight=False, soft_wrap=True),
        trainer.rows(state),
    )
    entries = [asdict(entry) for entry in trainer.entries]
    selection = Selection(plugin, trainer.config, run.path) if trainer.config.selection else None
    last = run.objective if selection is None else run.path / LAST
    # Of a run that falls back behind it, past a checkpoint that cannot be read: it stays until it is reached again.
    furthest = objective_step(last) if run.resumed else 0

    def save(step: int, state: TrainingState, spent: Spent) -> None:
        checkpoints.save(step, state, {**spent._asdict(), "config": run.config, "entries": entries})
        if is_first():
            keep(step, state, spent)

    def keep(step: int, state: TrainingState, spent: Spent) -> None:
        """What was learned by a checkpoint, beside it; a run may be killed between the two."""
        paths = [last] if step >= furthest else []
        if step > 0 or selection is not None:
            make_folder(run.path / file.STEPS)
            paths.append(file.kept(run.path, step))
        for path in paths:
            save_objective(path, plugin, trainer, state, spent.environment_steps, run.provenance)
        if selection is not None:
            atomic_write(run.objective, selection.best().read_bytes())

    log = None
    try:
        restored = checkpoints.restore_latest(state) if run.resumed else None
        step, spent = 0, Spent(0.0, trainer.first_steps)
        if restored is not None:
            step, state, extra = restored
            check_same_configuration(run, step, upgrade(extra.get("config", run.config)))
            check_same_entries(run, step, extra.get("entries"), trainer.entries)
            try:
                spent = Spent(float(extra["seconds"]), int(extra["environment_steps"]))
            except (KeyError, TypeError, ValueError, OverflowError) as error:
                raise UserError(f"{run.checkpoints}: step {step} does not tell what was spent ({error!r})") from error
            console.print(f"resumed from step {step}", highlight=False)
        with agreed():
            if is_first():
                if restored is not None:
                    keep(step, state, spent)
                elif run.resumed:
                    check_nothing_learned(run, furthest)
                if selection is not None:
                    selection.check()
        if restored is None:
            state = started(plugin, trainer, state, console)
        with agreed():
            if is_first():
                log = MetricsLog(run.metrics, list(sinks(run, step)))
                log.truncate_to(step)
        return run_chunks(trainer, state, step, spent, log, save, console, plugin.live)
    finally:
        if log is not None:
            log.close()
        checkpoints.close()


def started(plugin: Plugin[Any, Any], trainer: MetaTrainer, state: TrainingState, console: Console) -> TrainingState:
    """The first state, with the weights that the configuration asks to begin with.

    Raises:
        UserError: `init` names no objective of this kind and these sizes, or what it starts from was not learnt.
    """
    eta: PyTree | None = None
    if plugin.start is not None and wants_start(trainer.config):
        with agreed():
            try:
                eta = plugin.start(trainer.config, console, trainer.mesh.size)
            except UserError as error:
                raise UserError(f"start: {error}") from error
        # Each process has learnt it, and by the last bit not all of them the same where their processors differ.
        eta = firsts_arrays(eta)
    if trainer.config.init:
        eta = initial_weights(plugin.kind, trainer.config.init, state.eta)
    if eta is None:
        return state
    return replace(state, eta=jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), eta, state.eta))


def initial_weights(kind: str, name: str, like: PyTree) -> PyTree:
    """The weights of an objective, which must be of the same sizes as `like`.

    Raises:
        UserError: they are not, or there is no such objective.
    """
    try:
        eta = load_objective(name, kind).eta
    except UserError as error:
        raise UserError(f"init: {error}") from error
    found, wanted = ({k: v.shape for k, v in file.flatten(tree).items()} for tree in (eta, like))
    for array in sorted({*found, *wanted}):
        if found.get(array) != wanted.get(array):
            has = found.get(array, "no such array")
            raise UserError(f"init: {name}: {array} is {has}; this configuration needs {wanted.get(array, 'none')}")
    return eta


def check_memory(trainer: MetaTrainer) -> None:
    """Before memory is asked for.

    Raises:
        UserError: it cannot hold the run's state.
    """
    try:
        needed: float = size_of(jax.eval_shape(trainer.first, jax.random.key(0)))
    except OverflowError:  # a dimension that is no 32-bit integer
        needed = math.inf
    check_fits(needed, trainer.config)


def objective_step(path: Path) -> int:
    """How many meta-updates an objective file has behind it; 0 where there is none that can be read."""
    try:
        return int(file.load(path)[1]["meta_updates"])
    except (UserError, KeyError, TypeError, ValueError):
        return 0


def check_nothing_learned(run: RunFolder, furthest: int) -> None:
    """A run without a checkpoint starts at its beginning.

    Raises:
        UserError: that would write over what it had learned.
    """
    logged = max((row["step"] for row in read_metrics(run.metrics)), default=0) if run.metrics.exists() else 0
    if (step := max(furthest, logged)) > 0:
        raise UserError(
            f"{run.checkpoints}: holds no checkpoint, and the run had come to step {step}; put its checkpoints back, "
            "or start anew in another --run-dir"
        )


def check_same_configuration(run: RunFolder, step: int, saved: dict[str, Any]) -> None:
    """Raises:
    UserError: config.json was changed after the checkpoint was written.
    """
    changed = different_field(saved, run.config, MAY_DIFFER)
    if changed is not None:
        name, before, now = changed
        raise UserError(
            f"{run.path / 'config.json'}: {name} is {now}; the run's checkpoint of step {step} was made with {before}"
        )


def check_same_entries(run: RunFolder, step: int, saved: Any, entries: Sequence[Entry]) -> None:
    """Raises:
    UserError: what the distribution's name says has changed since the checkpoint was written, such as its file.
    """
    if saved is None:  # by a version that did not write them down
        return
    before = from_json(tuple[Entry, ...], saved, f"{run.checkpoints}: step {step}: entries")
    if before != tuple(entries):
        other = next((new for old, new in zip(before, entries, strict=False) if old != new), entries[-1])
        raise UserError(
            f"distribution: {run.config['distribution']}: {other.environment} is not as it was when the run's "
            f"checkpoint of step {step} was made"
        )


def save_objective(
    path: Path,
    plugin: Plugin[Any, Any],
    trainer: MetaTrainer,
    state: TrainingState,
    environment_steps: int,
    provenance: Mapping[str, Any] | None = None,
) -> None:
    """Write eta with what is needed to use it elsewhere, and what was written down when the run began. The bytes depend
    on that and the run's course alone.
    """
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
        "environment_steps": environment_steps,
        **({"provenance": provenance} if provenance else {}),
    }
    file.save(path, jax.device_get(state.eta), metadata)
