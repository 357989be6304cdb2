"""The verbs that look at one objective or method: inspect, distil, convert, follow, watch.

What is imported at the top must not use JAX, as in `cli.py`.
"""

from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape

from metaobj.common.command.arguments import parse, with_configuration
from metaobj.common.command.options import (
    ConvertArguments,
    DistilArguments,
    FollowArguments,
    InspectArguments,
    WatchArguments,
)
from metaobj.common.command.places import beside, check_out
from metaobj.common.errors import UserError
from metaobj.common.files import is_there
from metaobj.common.pictures.forms import figures_as

if TYPE_CHECKING:
    from metaobj.common.objectives.plugin import Inspection


def inspect(arguments: list[str], console: Console) -> int:
    """Pictures of what an objective does."""
    from metaobj.common.files import make_folder
    from metaobj.common.objectives.loading import load_objective
    from metaobj.common.objectives.plugin import unable
    from metaobj.common.objectives.run_page import write_run_page

    chosen = parse(InspectArguments, arguments, "inspect")
    loaded = load_objective(chosen.objective, trust=chosen.trust)
    if loaded.plugin.inspect is None:
        raise unable(chosen.objective, loaded.plugin, "inspect", "inspected")
    folder = chosen.out or beside(chosen.objective, "inspection")
    check_out(folder)
    make_folder(folder)
    with console.status("inspecting"), figures_as(chosen.figures):
        found = loaded.plugin.inspect(loaded, folder)
    write_run_page(folder.parent)
    _tell(found, console)
    return 0


def distil(arguments: list[str], console: Console) -> int:
    """The same in a smaller network, or as a formula."""
    from metaobj.common.objectives.loading import load_objective
    from metaobj.common.objectives.plugin import unable

    if arguments and arguments[0] in ("-h", "--help"):
        print("usage: metaobj distil OBJECTIVE ...; `metaobj distil OBJECTIVE --help` tells more")
        return 0
    if not arguments or arguments[0].startswith("-"):
        raise UserError("OBJECTIVE: missing; give it first")
    name, *rest = arguments
    loaded = load_objective(name)
    plugin = loaded.plugin
    if plugin.distil is None:
        raise unable(name, plugin, "distil", "distilled")
    chosen, options = with_configuration(DistilArguments(), plugin.distil.options, rest, "distil OBJECTIVE")
    folder = chosen.out or beside(name, "distilled")
    check_out(folder)
    _tell(plugin.distil.run(replace(loaded, trust=chosen.trust), options, folder, console), console)
    return 0


def convert_file(arguments: list[str], console: Console) -> int:
    """An objective file of weights that were published in another form."""
    from metaobj.common.objectives.file import SUFFIX
    from metaobj.common.objectives.plugin import plugins

    chosen = parse(ConvertArguments, arguments, "convert")
    if not is_there(chosen.file) or not chosen.file.is_file():
        raise UserError(f"{chosen.file}: no such file")
    out = chosen.out or Path(chosen.file.with_suffix(SUFFIX).name)
    if is_there(out):
        raise UserError(f"out: {out} given; is there already")
    able = [(plugin.title, plugin.convert) for plugin in plugins().values() if plugin.convert is not None]
    reason = UserError(f"{chosen.file}: no installed kind of objective is published in another form")
    for title, convert in able:
        try:
            told = convert(chosen.file, out)
        except UserError as error:
            reason = error
            continue
        for line in (f"{out}: {title}", *told):
            console.print(escape(line), soft_wrap=True)
        return 0
    raise reason


def follow(arguments: list[str], console: Console) -> int:
    """What a rule says of itself as agents learn by it."""
    from metaobj.common.objectives.followed import Following, follow_method

    chosen = parse(FollowArguments, arguments, "follow")
    with figures_as(chosen.figures):
        follow_method(*_of_method(chosen, "follow", Following), console)
    return 0


def watch(arguments: list[str], console: Console) -> int:
    """An agent's episodes at several ages."""
    from metaobj.common.objectives.watched import Watching, watch_method

    chosen = parse(WatchArguments, arguments, "watch")
    watch_method(*_of_method(chosen, "watch", Watching), console)
    return 0


def _of_method(chosen: Any, verb: str, wanted: Any) -> tuple[Any, Path]:
    """What is to be seen of a method in an environment, and the folder for it.

    Args:
        chosen: the command's flags.
        verb: its name.
        wanted: the dataclass of what it does; all its fields are flags.
    """
    named = f"{verb}-{Path(chosen.method).name}-{chosen.environment}".replace("/", "-")
    folder = chosen.out or Path("runs") / named
    check_out(folder)
    return wanted(**{field.name: getattr(chosen, field.name) for field in fields(wanted)}), folder


def _tell(found: "Inspection", console: Console) -> None:
    for line in (*map(str, found.files), *found.verdict):
        console.print(escape(line), soft_wrap=True)
