"""The house: arrows between its rooms point down, and nothing in `common` knows a family of objectives by name."""

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FAMILIES = ("lpg", "metagenrl", "selftuning", "disco", "lpo")
FLOORS = (
    ("types", "errors"),
    ("keys", "files", "configuration"),
    ("gradients", "networks", "environments", "devices", "processes", "memory", "pictures"),
    ("experience",),
    ("agents",),
    ("rules",),
    ("lifetimes",),
    ("meta", "evaluation"),
    ("runs",),
    ("objectives",),
    ("command",),
)
"""Rooms of `common` from the bottom up; what is on one floor may be used by all floors above it."""
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
TOP = len(FLOORS)
"""Of the families of objectives; the package's front, the experiments and the tests stand above them."""


def modules() -> dict[str, Path]:
    """Dotted name within the package to file, of `common` and the families."""
    files = [path for folder in ("common", *FAMILIES) for path in (ROOT / folder).rglob("*.py")]
    return {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in files}


def imports(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of the package that a module imports anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: a relative import"
            targets = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            continue
        ours = [target.removeprefix("metaobj.") for target in targets if (target or "").startswith("metaobj.")]
        assert not {t for t in targets if (t or "").split(".")[0] in ("common", *FAMILIES)}, f"{name}: a bare import"
        found |= {target for target in ours if target in known}
    # `from package import module` names both; the module alone is meant.
    return {t for t in found if not any(other.startswith(t + ".") for other in found)} - {name}


MODULES = modules()
GRAPH = {name: imports(name, path, MODULES) for name, path in MODULES.items()}


def room(name: str) -> str:
    top, _, rest = name.partition(".")
    return top if top in FAMILIES else rest.partition(".")[0]


def floor(name: str) -> int:
    return TOP if room(name) in FAMILIES else FLOOR_OF[room(name)]


def test_every_room_has_a_floor() -> None:
    rooms = {room(name) for name in MODULES if name != "common"}
    assert rooms == {*FLOOR_OF, *FAMILIES}
    assert {path.stem for path in (ROOT / "common").glob("*.py")} == {
        "__init__",
        "types",
        "errors",
        "keys",
        "files",
        "configuration",
        "gradients",
        "devices",
        "processes",
        "memory",
    }


def test_arrows_point_down() -> None:
    up = [
        f"{name} -> {target}"
        for name, targets in GRAPH.items()
        for target in targets
        if room(name) != room(target) and floor(name) <= floor(target)
    ]
    assert not up


def test_families_do_not_know_each_other() -> None:
    across = [
        f"{name} -> {target}"
        for name, targets in GRAPH.items()
        for target in targets
        if room(name) in FAMILIES and room(target) in FAMILIES and room(name) != room(target)
    ]
    assert not across


def test_there_is_no_circle() -> None:
    # A package stands for what it imports by itself, so it is a module like others.
    state: dict[str, int] = defaultdict(int)
    path: list[str] = []

    def visit(name: str) -> None:
        state[name] = 1
        path.append(name)
        for target in sorted(GRAPH[name]):
            assert state[target] != 1, f"a circle: {' -> '.join([*path[path.index(target) :], target])}"
            if not state[target]:
                visit(target)
        path.pop()
        state[name] = 2

    for name in sorted(GRAPH):
        if not state[name]:
            visit(name)


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("common")])
def test_common_names_no_family(name: str) -> None:
    """In no word of code: names, strings, docstrings, comments."""
    found = re.findall(rf"\b(?:{'|'.join(FAMILIES)})\b", MODULES[name].read_text(), re.IGNORECASE)
    # Where the paper is the source of an environment or a formula it is named.
    cited = {
        "common.environments.delayed_chain",
        "common.environments.grid.world",
        "common.environments.grid.specs",
    }
    assert not found or name in cited, found
