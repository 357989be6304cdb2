"""The same objective, however many devices and processes share the lifetimes, and whether they can equally."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from jax.sharding import AbstractMesh, AxisType

from metaobj.common.devices import AXIS, make_mesh, shared_out
from metaobj.common.errors import UserError
from metaobj.common.objectives.file import flatten
from tests.cluster import end, start, together
from tests.spread import run, summed, trainer_of

KINDS = ("lpg", "metagenrl", "disco")
COMPILED = 3600
"""Seconds in which a process must end that compiles up to five programs, on a core that it shares."""


def test_shares_are_equal_and_so_are_their_chunks() -> None:
    assert [shared_out(12, devices, 32) for devices in (1, 2, 3, 5, 8)] == [12, 12, 12, 15, 16]
    assert [shared_out(size, 1, 4) for size in (3, 4, 5, 7, 9)] == [3, 4, 6, 8, 9]
    assert shared_out(1, 8, 32) == 8 and shared_out(65, 1, 32) == 66


def test_there_are_no_more_devices_than_are_of_use(monkeypatch: pytest.MonkeyPatch) -> None:
    class Device:
        process_index = 0

    monkeypatch.setattr(jax, "devices", lambda: [Device()] * 8)
    monkeypatch.setattr("metaobj.common.devices.Mesh", lambda devices, axes: devices)
    # Three of 5 hold two lifetimes at most, and eight do too.
    sizes = {(8,): 8, (5,): 5, (9,): 5, (3, 5): 5, (1,): 1, (16, 4): 8}
    assert {given: len(make_mesh(given)) for given in sizes} == sizes
    assert len(make_mesh([5], 2)) == 2
    with pytest.raises(UserError, match="devices: 9 given; there are 8"):
        make_mesh([5], 9)


def compare(found: dict[str, np.ndarray], wanted: dict[str, np.ndarray], what: str) -> None:
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-13, err_msg=f"{what}: {name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"distribution": "tiny-uneven-families", "family_adam": True},
        {"distribution": "tiny-uneven-pairs", "estimator": "persistent-es"},
    ],
    ids=["backprop", "pairs"],
)
def test_lifetimes_that_make_up_for_others_count_for_nothing(float64: None, changes: dict[str, Any]) -> None:
    """Of chunks of equal sizes, at most 4, five lifetimes fill two and leave one place."""
    trainers = [trainer_of("lpg", 1, chunk=chunk, **changes) for chunk in (4, 8)]
    assert [sum(trainer.places) > trainer.lifetimes for trainer in trainers] == [True, False]
    made_up, straight = map(run, trainers)
    compare(flatten(made_up[0]), flatten(straight[0]), "eta")
    compare(made_up[1], straight[1], "metrics")
    assert made_up[1]["ended"].sum() > 10


def test_devices_sum_once() -> None:
    """In the program as it is before it is compiled, for eight devices that are not there."""
    trainer = trainer_of("lpg", 1, distribution="tiny-uneven-families")
    eight = replace(trainer, mesh=AbstractMesh((8,), (AXIS,), axis_types=(AxisType.Auto,)))
    state = jax.eval_shape(eight.first, jax.random.key(0))
    text = jax.jit(eight.step).trace(state).lower(lowering_platforms=("cpu",)).as_text()
    reduced = re.findall(r"stablehlo.all_reduce.*?-> tensor<(\w+)>", text, re.DOTALL)
    gathered = re.findall(r"stablehlo.all_gather.*?-> tensor<(\w+)>", text)
    assert [text.partition("x")[0] for text in reduced] == [str(sum(summed(eight)))]
    assert len(gathered) == 1


@pytest.fixture(scope="module", params=KINDS)
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each of the runs of one kind, see tests/spreading.py; programs are compiled once."""
    folder = tmp_path_factory.mktemp(request.param)
    environment = {
        "JAX_COMPILATION_CACHE_DIR": str(folder / "programs"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    where = ["-m", "tests.spreading", request.param, str(folder)]

    def alone(*arguments: str) -> None:
        done = end(start([*where, *arguments], 8, **environment), COMPILED)
        assert done.status == 0, done.err

    def several(processes: int, *arguments: str) -> None:
        for done in together([*where, *arguments], processes, within=COMPILED, **environment):
            assert done.status == 0, done.err

    alone("--on", "1", "2", "4", "8", "--resumed", "8 in 1:3")
    several(2, "--on", "2", "--resumed", "1 in 1:2")
    several(4, "--on", "4")
    alone("--resumed", "2 in 2:1", "2 in 2:3")
    return folder


def arrays(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    with np.load(folder / "eta.npz") as eta, np.load(folder / "metrics.npz") as metrics:
        return dict(eta), dict(metrics)


@pytest.mark.slow
def test_devices_and_processes_give_the_same(runs: Path) -> None:
    """On 1, 2, 4 and 8 devices, as two and four processes, and where a checkpoint of some goes on on others."""
    wanted_eta, wanted_metrics = arrays(runs / "1 in 1")
    assert wanted_eta and all(value.dtype == np.float64 for value in wanted_eta.values())
    assert wanted_metrics["ended"].sum() > 4 and not wanted_metrics["not_finite"].any()
    found = {path.parent.name for path in runs.glob("*/eta.npz")}
    resumed = {"8 in 1 to 3 in 1", "2 in 2 to 1 in 1", "2 in 2 to 3 in 1", "1 in 1 to 2 in 2"}
    assert found == {"1 in 1", "2 in 1", "4 in 1", "8 in 1", "2 in 2", "4 in 4"} | resumed
    furthest = 0.0
    for name in sorted(found):
        eta, metrics = arrays(runs / name)
        compare(eta, wanted_eta, name)
        compare(metrics, wanted_metrics, name)
        moved = [(eta[at][wanted != 0], wanted[wanted != 0]) for at, wanted in wanted_eta.items()]
        furthest = max(furthest, *(float(np.max(abs(x / wanted - 1), initial=0.0)) for x, wanted in moved))
    print(f"{runs.name}: {len(found)} runs, etas differ by at most {furthest:.1e} of themselves")


@pytest.mark.slow
def test_the_compiled_program_has_one_all_reduce(runs: Path) -> None:
    """Of as many bytes as eta and the scalars have, in float64; and one all-gather."""
    for name in ("2 in 1", "8 in 1", "2 in 2"):
        eta, scalars = json.loads((runs / name / "summed.json").read_text())
        text = (runs / name / "program.txt").read_text()
        found = re.findall(r"= (.+?) ((?:all|reduce-scatter|collective|ragged)[a-z-]*?)(?:-start)?\(", text)
        found = [(shape, kind) for shape, kind in found if not kind.endswith("-done")]
        assert sorted(kind for _, kind in found) == ["all-gather", "all-reduce"], (name, found)
        shape = next(shape for shape, kind in found if kind == "all-reduce")
        assert bytes_of(shape) == 8 * (eta + scalars) and 0 < scalars < 60, (name, shape, eta, scalars)
        print(f"{runs.name}, {name}: one all-reduce of {shape}: {eta} of eta and {scalars} scalars")


def bytes_of(shape: str) -> int:
    """Of an array, or of several, as XLA writes their shapes: "f64[3,2]{1,0}"."""
    arrays = re.findall(r"[a-z]+(\d+)\[([\d,]*)\]", shape)
    return sum(int(bits) // 8 * math.prod(int(size) for size in sizes.split(",") if size) for bits, sizes in arrays)


def test_bytes_of_a_shape() -> None:
    assert bytes_of("f64[3,2]{1,0}") == 48 and bytes_of("(f32[5]{0}, f64[])") == 28 and bytes_of("pred") == 0
