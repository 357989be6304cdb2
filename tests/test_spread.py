"""The same objective, however many devices and processes share the lifetimes, and whether they can equally."""

import re
import textwrap
from collections.abc import Sequence
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
from metaobj.common.objectives.plugin import get_plugin
from metaobj.common.objectives.train import make_trainer
from tests.cluster import end, start, together
from tests.spread import CONFIGS, run

KINDS = ("lpg", "metagenrl")


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
    [{"family_adam": True}, {"distribution": "uneven-pairs", "estimator": "persistent-es"}],
    ids=["backprop", "pairs"],
)
def test_lifetimes_that_make_up_for_others_count_for_nothing(float64: None, changes: dict[str, Any]) -> None:
    """Of chunks of equal sizes, at most 4, five lifetimes fill two and leave one place."""
    trainer = make_trainer(get_plugin("lpg"), replace(CONFIGS["lpg"], chunk=4, **changes), 1)
    assert sum(trainer.places) > trainer.lifetimes
    made_up, straight = (run("lpg", 1, None, None, chunk=chunk, **changes) for chunk in (4, 8))
    compare(flatten(made_up[0]), flatten(straight[0]), "eta")
    compare(made_up[1], straight[1], "metrics")
    assert made_up[1]["ended"].sum() > 10


def test_devices_sum_once() -> None:
    """In the program as it is before it is compiled, for eight devices that are not there."""
    trainer = make_trainer(get_plugin("lpg"), CONFIGS["lpg"], 1)
    eight = replace(trainer, mesh=AbstractMesh((8,), (AXIS,), axis_types=(AxisType.Auto,)))
    state = jax.eval_shape(eight.first, jax.random.key(0))
    text = jax.jit(eight.step).trace(state).lower(lowering_platforms=("cpu",)).as_text()
    reduced = re.findall(r"stablehlo.all_reduce.*?-> tensor<(\w+)>", text, re.DOTALL)
    gathered = re.findall(r"stablehlo.all_gather.*?-> tensor<(\w+)>", text)
    eta = sum(leaf.size for leaf in jax.tree.leaves(state.eta))
    metrics = jax.eval_shape(eight.step, state)[1]
    # Summed besides are how many gradients are finite and lives begun in each family, and steps by environment.
    scalars = sum(leaf.size for leaf in jax.tree.leaves(metrics)) + 2 * len(eight.families) + len(eight.entries)
    scalars -= len(("gradient_norm_max", "meta_gradient_norm", "first_steps"))
    assert [text.partition("x")[0] for text in reduced] == [str(eta + scalars)]
    assert len(gathered) == 1


def ran(arguments: Sequence[str], devices: int) -> None:
    done = end(start(["-m", "tests.spread", *arguments], devices))
    assert done.status == 0, done.err


def arrays(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    with np.load(folder / "eta.npz") as eta, np.load(folder / "metrics.npz") as metrics:
        return dict(eta), dict(metrics)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a folder for each kind: the run on one device."""
    folder = tmp_path_factory.mktemp("one")
    for kind in KINDS:
        ran([kind, str(folder / kind), "--devices", "1"], 1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_devices_and_processes_give_the_same(kind: str, one: Path, tmp_path: Path) -> None:
    """On 1, 2, 4 and 8 devices, as two and four processes; a checkpoint of eight devices goes on on three, one of two
    processes in one.
    """
    eight, two = str(tmp_path / "by-eight"), str(tmp_path / "by-two")
    for devices in ("2", "4"):
        ran([kind, str(tmp_path / devices), "--devices", devices], 8)
    ran([kind, str(tmp_path / "8"), "--devices", "8", "--save", eight], 8)
    ran([kind, str(tmp_path / "8 to 3"), "--devices", "3", "--from", eight], 8)
    for processes in (2, 4):
        save = ["--save", two] if processes == 2 else []
        for done in together(["-m", "tests.spread", kind, str(tmp_path / f"processes {processes}"), *save], processes):
            assert done.status == 0, done.err
    ran([kind, str(tmp_path / "two to one"), "--devices", "1", "--from", two], 1)
    ran([kind, str(tmp_path / "two to three"), "--devices", "3", "--from", two], 3)
    wanted_eta, wanted_metrics = arrays(one / kind)
    assert wanted_eta and all(value.dtype == np.float64 for value in wanted_eta.values())
    assert wanted_metrics["ended"].sum() > 4 and not wanted_metrics["not_finite"].any()
    for folder in sorted(path.parent for path in tmp_path.glob("*/eta.npz")):
        eta, metrics = arrays(folder)
        compare(eta, wanted_eta, folder.name)
        compare(metrics, wanted_metrics, folder.name)


@pytest.mark.slow
def test_the_compiled_program_has_one_all_reduce() -> None:
    """Of eight devices: of as many bytes as eta and the scalars have."""
    program = """
    import jax
    from metaobj.common.objectives.plugin import get_plugin
    from metaobj.common.objectives.train import make_trainer
    from tests.spread import CONFIGS
    for kind, config in CONFIGS.items():
        trainer = make_trainer(get_plugin(kind), config, 8)
        state = trainer.init()
        print("program", kind, sum(leaf.size for leaf in jax.tree.leaves(state.eta)))
        print(trainer.run_chunk.lower(state).compile().as_text())
    """
    done = end(start(["-c", textwrap.dedent(program)], 8))
    assert done.status == 0, done.err
    for text in done.out.split("program ")[1:]:
        kind, eta = text.split(maxsplit=2)[:2]
        found = re.findall(r"= (\S+) ((?:all|reduce|collective|ragged)-[a-z-]+)(?:-start)?\(", text)
        kinds = [name for _, name in found]
        assert sorted(kinds) == ["all-gather", "all-reduce"], (kind, found)
        shape = next(shape for shape, name in found if name == "all-reduce")
        size = re.fullmatch(r"f32\[(\d+)\].*", shape)
        assert size is not None and 0 < int(size[1]) - int(eta) < 60, (kind, shape, eta)
