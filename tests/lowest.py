"""The lowest versions that pyproject.toml allows, as constraints: `python -m tests.lowest > constraints.txt`."""

import re
import tomllib
from collections.abc import Iterable
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(\[[\w,-]+\])?(?P<bounds>[^;]*)")


def lowest(requirements: Iterable[str]) -> list[str]:
    """`NAME==VERSION` of each requirement, where VERSION is its lower bound, or the only one that it takes.

    Raises:
        ValueError: a requirement has no lower bound, or two of one name differ in it.
    """
    found: dict[str, str] = {}
    for requirement in requirements:
        parts = _REQUIREMENT.match(requirement)
        bound = re.search(r"(?:>=|==)\s*([\w.]+)", parts["bounds"]) if parts else None
        if parts is None or bound is None:
            raise ValueError(f"{requirement}: has no lower bound")
        if found.setdefault(parts["name"], bound[1]) != bound[1]:
            raise ValueError(f"{requirement}: {found[parts['name']]} is the lower bound elsewhere")
    return [f"{name}=={version}" for name, version in found.items()]


def of_the_project() -> list[str]:
    """Those of all that it depends on, with every extra."""
    project = tomllib.loads(PROJECT.read_text())["project"]
    groups = [project["dependencies"], *project["optional-dependencies"].values()]
    return lowest(one for group in groups for one in group if not one.startswith(f"{project['name']}["))


if __name__ == "__main__":
    print("\n".join(of_the_project()))
