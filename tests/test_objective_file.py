"""Objective files: the same bytes for the same objective, and one line for whatever is wrong with one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from metaobj.common.errors import UserError
from metaobj.common.objectives import file as objective_file
from metaobj.common.objectives.loading import load_objective

METADATA: dict[str, Any] = {
    "kind": "lpg",
    "network": {"hidden": 32, "target": [16, 1]},
    "training_distribution": "grids",
    "trained": {"meta_updates": 100, "environment_steps": 10**9},
}


def make_eta() -> dict[str, Any]:
    return {
        "lstm": {"kernel": jax.random.normal(jax.random.key(0), (3, 8)), "bias": jnp.arange(8.0)},
        "head": {
            "out": {"kernel": np.ones((2, 2), np.float64), "scale": jnp.float32(3), "count": np.array([1, 2], np.int32)}
        },
        "empty": {"kernel": jnp.zeros((0, 4))},
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "objective.safetensors"
    objective_file.save(path, make_eta(), METADATA)
    return path


def refused(path: str | Path, match: str, **options: Any) -> None:
    with pytest.raises(UserError, match=match) as caught:
        objective_file.load(path, **options)
    assert "\n" not in str(caught.value)


def rewrite(path: Path, arrays: dict[str, np.ndarray] | None = None, **fields: Any) -> None:
    """Write the file again with some of it changed, and the digest as it was."""
    found, metadata = objective_file.load(path)
    safetensors.numpy.save_file(arrays or found, path, metadata={"metaobj": json.dumps({**metadata, **fields})})


def test_restores_exactly(path: Path) -> None:
    arrays, metadata = objective_file.load(path, kind="lpg")
    eta, found = make_eta(), objective_file.unflatten(arrays)
    assert jax.tree.structure(found) == jax.tree.structure(eta)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(eta), strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_array_equal(one, other)
    assert set(arrays) >= {"lstm/kernel", "head/out/scale"}
    assert {name: metadata[name] for name in METADATA} == METADATA
    assert metadata["format_version"] == 1 and len(metadata["digest"]) == 64


def test_a_run_folder_stands_for_its_objective(path: Path) -> None:
    assert objective_file.load(path.parent)[1] == objective_file.load(path)[1]


@pytest.mark.slow
def test_bytes_are_the_same_in_every_process(path: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from metaobj.common.objectives import file as objective_file; "
        "from tests.test_objective_file import METADATA, make_eta; "
        "flip = lambda tree: {k: flip(v) if isinstance(v, dict) else v for k, v in reversed(tree.items())}; "
        "objective_file.save(sys.argv[1], flip(make_eta()), flip(METADATA))"
    )
    other = tmp_path / "other.safetensors"
    environment = {**os.environ, "PYTHONHASHSEED": "7", "JAX_PLATFORMS": "cpu"}
    subprocess.run([sys.executable, "-c", script, str(other)], check=True, env=environment)
    assert other.read_bytes() == path.read_bytes()


def test_missing(tmp_path: Path) -> None:
    refused(tmp_path / "none.safetensors", "no such file")
    refused(tmp_path, "no such file")


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 100, b"PK\x03\x04" * 50, b"{}" * 20])
def test_not_safetensors(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused(path, "is not a safetensors file, or is damaged")


def test_truncated_anywhere(path: Path) -> None:
    content = path.read_bytes()
    for length in range(0, len(content), 37):
        path.write_bytes(content[:length])
        refused(path, "is not a safetensors file, or is damaged")


def test_any_flipped_bit_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    for position in range(0, len(content), 11):
        damaged = bytearray(content)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        refused(path, "damaged|not a metaobj objective|format version")


def test_not_an_objective(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.numpy.save_file({"w": np.ones(3)}, path)
    refused(path, "is a safetensors file, but not a metaobj objective")


def test_another_format_version(path: Path) -> None:
    rewrite(path, format_version=2)
    refused(path, "its format version is 2; this version of metaobj reads 1")


def test_another_kind(path: Path) -> None:
    refused(path, "is an objective of kind lpg; one of kind metagenrl is needed", kind="metagenrl")


def test_changed_content(path: Path) -> None:
    arrays, _ = objective_file.load(path)
    rewrite(path, network={"hidden": 64})
    refused(path, "does not match its digest")
    objective_file.save(path, make_eta(), METADATA)
    rewrite(path, arrays={**arrays, "lstm/bias": arrays["lstm/bias"] + 1})
    refused(path, "does not match its digest")
    objective_file.save(path, make_eta(), METADATA)
    rewrite(path, arrays={**arrays, "more": arrays["lstm/bias"]})
    refused(path, "does not match its digest")


@pytest.mark.parametrize("entry", ["", "[]", "null", "{", '{"kind": "lpg"}', "[" * 100_000])
def test_damaged_metadata(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "odd.safetensors"
    safetensors.numpy.save_file({"w": np.ones(3)}, path, metadata={"metaobj": entry})
    refused(path, "its metadata is damaged")


def test_pretrained(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    (package / "pretrained").mkdir(parents=True)
    monkeypatch.setattr(objective_file.resources, "files", lambda name: package)
    refused("pretrained:lpg-small", "no such pretrained objective; there are: none")
    for name in ("lpg-small", "lpg-grids"):
        (package / "pretrained" / f"{name}.safetensors").write_bytes(path.read_bytes())
    assert objective_file.pretrained_names() == ["lpg-grids", "lpg-small"]
    assert objective_file.load("pretrained:lpg-small", kind="lpg")[1]["kind"] == "lpg"
    refused("pretrained:lpg", "no such pretrained objective; there are: lpg-grids, lpg-small")
    refused("pretrained:../../objective", "no such pretrained objective")


def test_pretrained_of_the_package_can_be_read() -> None:
    for name in objective_file.pretrained_names():
        assert load_objective(f"pretrained:{name}").eta


@pytest.mark.parametrize("eta", [[np.ones(3)], {"a": [np.ones(3)]}, {"a": 1.0}])
def test_only_nested_dictionaries_of_arrays(tmp_path: Path, eta: Any) -> None:
    with pytest.raises(TypeError, match="nested dictionaries of arrays"):
        objective_file.save(tmp_path / "x", eta, METADATA)


def test_names_and_kind_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no '/'"):
        objective_file.save(tmp_path / "x", {"a/b": np.ones(3)}, METADATA)
    with pytest.raises(ValueError, match="kind"):
        objective_file.save(tmp_path / "x", {"a": np.ones(3)}, {})


def test_a_failed_save_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match="No space left"):
        objective_file.save(path, {"w": np.ones(3)}, METADATA)
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]
