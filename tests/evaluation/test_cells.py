"""Stored cells: found by all that went into them, whole or not at all."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.evaluation.cells import Cells, describe, digest
from metaobj.common.evaluation.training import Record

INPUTS = {"task": "a", "sizes": [3, 4]}


def record(optimal: bool = True) -> Record:
    values = np.arange(6.0).reshape(3, 2)
    return Record(values, np.array([10, 20]), np.zeros(3), np.ones(3) if optimal else None, np.zeros((3, 2), bool))


@pytest.mark.parametrize("optimal", [True, False])
def test_what_is_stored_comes_back_to_the_bit(optimal: bool, tmp_path: Path) -> None:
    cells = Cells(tmp_path / "cells")
    assert cells.find(INPUTS) is None
    cells.keep(INPUTS, record(optimal))
    found = Cells(tmp_path / "cells").find(dict(reversed(INPUTS.items())))
    assert found is not None and (found.optimal is None) == (not optimal)
    for one, other in zip(found, record(optimal), strict=True):
        np.testing.assert_array_equal(one, other)
    assert cells.find({**INPUTS, "task": "b"}) is None
    assert Cells().find(INPUTS) is None


def test_what_is_damaged_is_computed_again(tmp_path: Path) -> None:
    cells = Cells(tmp_path)
    cells.keep(INPUTS, record())
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    generator = np.random.default_rng(0)
    for content in (b"", whole[:100], b"PK" + whole[9:], bytes(generator.integers(0, 256, 500, np.uint8))):
        file.write_bytes(content)
        assert cells.find(INPUTS) is None
    for _ in range(100):
        torn = bytearray(whole)
        torn[generator.integers(len(torn))] ^= 1 << int(generator.integers(8))
        file.write_bytes(bytes(torn))
        assert cells.find(INPUTS) is None


def test_a_cell_of_another_name_is_not_taken(tmp_path: Path) -> None:
    cells = Cells(tmp_path)
    cells.keep(INPUTS, record())
    (file,) = tmp_path.iterdir()
    cells.keep({"task": "b"}, record())
    (other,) = (path for path in tmp_path.iterdir() if path != file)
    file.replace(other)
    assert cells.find({"task": "b"}) is None


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="file/cells: cannot be made"):
        Cells(tmp_path / "file" / "cells").keep(INPUTS, record())


@dataclasses.dataclass(frozen=True)
class Part:
    size: int
    what: Any = None


def test_static_values_are_described_the_same_everywhere() -> None:
    part = Part(3, (Part(1, math.sqrt), {"b": 1.5, "a": None}, frozenset({"y", "x"})))
    where = f"{__name__}.Part"
    inner = {"type": where, "size": 1, "what": "math.sqrt"}
    assert describe(part) == {"type": where, "size": 3, "what": [inner, {"b": 1.5, "a": None}, ["x", "y"]]}
    assert describe(object()) == {"type": "builtins.object", "text": "<object object>"}, "no address"
    assert describe(Part) == where
    assert describe(jnp.arange(3)) == describe(np.arange(3, dtype=np.int32)) != describe(np.arange(3.0))


def test_a_digest_is_of_values_places_and_types() -> None:
    trees = ({"a": np.zeros(2)}, {"b": np.zeros(2)}, {"a": np.zeros((2, 1))}, {"a": np.zeros(2, np.float32)}, ())
    assert len({digest(tree) for tree in trees}) == 5
    assert digest({"a": np.zeros(2)}) == digest({"a": np.zeros(2)})
