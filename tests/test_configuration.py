"""Files live on: configurations from before a field existed, and the objective files of the first version."""

from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

from metaobj.common.configuration import from_json
from metaobj.common.errors import UserError
from metaobj.common.objectives.loading import load_objective

FIXTURES = Path(__file__).parent / "fixtures"


@dataclass(frozen=True)
class Inner:
    width: int = 3
    rates: tuple[float, ...] = (0.5, 2.0)


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner = field(default_factory=Inner)
    share: float = 0.25


def test_what_asdict_made_comes_back() -> None:
    value = Outer("x", Inner(5, (1.0,)), 2.0)
    data = {"name": "x", "inner": {"width": 5, "rates": [1.0]}, "share": 2.0}
    assert from_json(Outer, data, "file") == value
    assert asdict(value)["inner"] == {"width": 5, "rates": (1.0,)}


def test_a_missing_field_takes_its_default_at_any_depth() -> None:
    assert from_json(Outer, {"name": "x"}, "file") == Outer("x")
    assert from_json(Outer, {"name": "x", "inner": {"width": 7}}, "file") == Outer("x", Inner(7))


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"name": "x", "colour": 3}, "file: is of another kind of objective or version: colour does not fit"),
        ({"name": "x", "inner": {"depth": 3}}, "file: inner: is of another kind .*: depth does not fit"),
        ({}, "file: is of another kind of objective or version: name does not fit"),
        ({"name": "x", "inner": 3}, "file: inner: int found; must be the fields of Inner"),
        ({"name": "x", "share": "much"}, "file: share: 'much' found; must be float"),
        ({"name": "x", "inner": {"rates": 3}}, "file: inner: rates: 3 found; must be a list"),
    ],
)
def test_what_does_not_fit_is_named(data: dict, line: str) -> None:
    with pytest.raises(UserError, match=line):
        from_json(Outer, data, "file")


@pytest.mark.parametrize("name", ["lpg-tabular", "metagenrl-demo"])
def test_the_objective_files_of_the_first_version_load_for_ever(name: str) -> None:
    """These files are never written anew."""
    loaded = load_objective(FIXTURES / f"{name}.safetensors")
    assert loaded.plugin.kind == name.partition("-")[0]
    assert loaded.metadata["format_version"] == 1 and loaded.entries and len(loaded.settings) == len(loaded.entries)
    assert loaded.config.meta_updates == loaded.metadata["meta_updates"]
