"""What meta-updates of a preset cost on this machine, beside what they could not do without."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from metaobj.common.errors import UserError
from metaobj.common.memory import peak_memory
from metaobj.common.meta.cost import Work, work_of
from metaobj.common.meta.machine import Rates
from metaobj.common.meta.timed import MetaUpdate, median, timed, warm_up
from metaobj.common.meta.trainer import MetaTrainer
from metaobj.common.objectives.plugin import Plugin, get_plugin, plugins
from metaobj.common.objectives.train import check_memory, make_trainer


@dataclass(frozen=True)
class Cost:
    """Of one preset. Seconds are wall seconds of a meta-update where nothing else is said."""

    preset: str
    """KIND/PRESET."""
    scale: int
    lifetimes: int
    devices: int
    environment_steps: int
    """Of a meta-update."""
    trace_seconds: float
    compile_seconds: float
    """Of tracing and compiling."""
    seconds: float
    cpu_seconds: float
    """Of all threads together."""
    state_megabytes: float
    """Of the training state, on all devices together."""
    temporary_megabytes: float
    """What the compiled program allocates beside it, likewise."""
    peak_megabytes: float
    """That the process held at most; of an accelerator's memory nothing is in it."""
    work: Work
    """Counted, of one device."""

    def told(self, rates: Rates) -> dict[str, Any]:
        """As JSON data, with the floors."""
        products, traffic = rates.floor(self.work, 1e6 * self.state_megabytes / self.devices)
        return {
            **asdict(self),
            "steps_per_second": self.environment_steps / self.seconds,
            "meta_updates_per_second": 1 / self.seconds,
            "products_seconds": products,
            "traffic_seconds": traffic,
        }


def find_preset(name: str) -> tuple[Plugin[Any, Any], str]:
    """The kind and the preset that KIND/PRESET names, or PRESET where one kind alone has it.

    Raises:
        UserError: there is none, or several kinds have it.
    """
    kind, slash, preset = name.partition("/")
    if slash:
        plugin = get_plugin(kind)
        if preset not in plugin.presets:
            raise UserError(f"presets: {name!r} is unknown; choose from {', '.join(_full(plugin))}")
        return plugin, preset
    found = [plugin for plugin in plugins().values() if name in plugin.presets]
    if len(found) == 1:
        return found[0], name
    if found:
        several = ", ".join(f"{plugin.kind}/{name}" for plugin in found)
        raise UserError(f"presets: {name!r} is of several kinds; choose from {several}")
    every = [preset for plugin in plugins().values() for preset in _full(plugin)]
    raise UserError(f"presets: {name!r} is unknown; choose from {', '.join(every)}")


def _full(plugin: Plugin[Any, Any]) -> list[str]:
    return [f"{plugin.kind}/{preset}" for preset in plugin.presets]


def short_chunks(
    kind: str, preset: str, scale: int, devices: int | None = None, meta_updates: int = 1, **changes: Any
) -> MetaTrainer:
    """The trainer of a preset whose compiled chunks are so many meta-updates each, from fresh weights.

    Args:
        kind: of objective.
        preset: of that kind.
        scale: multiplies the lifetimes.
        devices: over how many lifetimes are spread; all that are of use by default.
        meta_updates: of a chunk.
        changes: other fields of the configuration.

    Raises:
        UserError: it cannot be run, or memory cannot hold its state.
    """
    plugin = get_plugin(kind)
    few = dict.fromkeys(("meta_updates", "log_every", "checkpoint_every"), meta_updates)
    trainer = make_trainer(plugin, replace(plugin.presets[preset], scale=scale, init="", **few, **changes), devices)
    check_memory(trainer)
    return trainer


def measure(kind: str, preset: str, scale: int, meta_updates: int, devices: int | None = None) -> Cost:
    """What meta-updates of a preset cost, the medians of so many; in a process of its own, for the peak of memory."""
    run = MetaUpdate(trainer := short_chunks(kind, preset, scale, devices))
    warm_up(run)
    seconds, cpu_seconds = median([timed(run) for _ in range(meta_updates)])
    return Cost(
        preset=f"{kind}/{preset}",
        scale=scale,
        lifetimes=trainer.lifetimes,
        devices=trainer.mesh.size,
        environment_steps=trainer.steps_per_update,
        trace_seconds=run.trace_seconds,
        compile_seconds=run.compile_seconds,
        seconds=seconds,
        cpu_seconds=cpu_seconds,
        state_megabytes=run.state_megabytes,
        temporary_megabytes=run.temporary_megabytes,
        peak_megabytes=peak_memory() / 1e6,
        work=work_of(run.jaxpr),
    )
