"""The verb that tells what there is."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from metaobj.common.errors import UserError


def list_all(arguments: list[str], console: Console) -> int:
    """Presets, distributions, suites, objectives, environments."""
    from metaobj.common.environments.registry import environment_names
    from metaobj.common.evaluation.suites import APART, SUITES, Suite
    from metaobj.common.lifetimes.distributions import DISTRIBUTIONS
    from metaobj.common.objectives.file import pretrained_names
    from metaobj.common.objectives.plugin import plugins

    if arguments:
        raise UserError(f"list: takes no arguments, {' '.join(arguments)} given")

    def show(title: str, names: Sequence[str]) -> None:
        console.print(f"[bold]{title}[/]")
        console.print(Padding(", ".join(map(escape, names)), (0, 0, 0, 2)))

    def tasks(suite: Suite) -> str:
        names = [entry.environment for entry in suite.entries]
        told = ", ".join(f"{name} (in no mean: asks for {APART[name]})" if name in APART else name for name in names)
        needs = [f"needs metaobj[{extra}]" for extra in suite.extras]
        return "; ".join([f"{suite}: {told}", *needs])

    for kind, plugin in plugins().items():
        show(f"presets of {kind}", list(plugin.presets))
        show(f"distributions of {kind}", list(plugin.distributions))
        against = [method.name for method in plugin.baselines(plugin.presets[plugin.default_preset])]
        if named := [method.name for method in plugin.methods(plugin.presets[plugin.default_preset].rollout_steps)]:
            show(f"methods of {kind}, for any comparison", named)
        sizes = plugin.protocol
        show(f"compared with {kind}", [f"{', '.join(against)}; {sizes.seeds} agents, {sizes.tuning_seeds} in tuning"])
    show("distributions", list(DISTRIBUTIONS))
    console.print("[bold]suites[/]")
    for suite in SUITES.values():
        console.print(Padding(escape(tasks(suite)), (0, 0, 0, 2)))
    show("pretrained objectives", [f"pretrained:{name}" for name in pretrained_names()] or ["none"])
    show("environments", [*environment_names(), "gymnasium/ID", "module:object"])
    return 0
