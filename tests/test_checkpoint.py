"""Checkpoints: exact restores, and what damage does to them."""

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from metaobj.common.errors import UserError
from metaobj.common.runs.checkpoint import Checkpoints, quiet_checkpoints
from tests.states import State, assert_same, make_state, run


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with checkpoints of the steps 1, 2 and 3, for tests to copy."""
    folder = tmp_path_factory.mktemp("three")
    checkpoints = Checkpoints(folder, keep=3)
    for step in (1, 2, 3):
        checkpoints.save(step, make_state(step), {"step": step})
    checkpoints.close()
    return folder


def files_of(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_restores_every_kind_of_leaf_exactly(three: Path) -> None:
    found = Checkpoints(three).restore_latest(make_state(0))
    assert found is not None
    step, state, extra = found
    assert step == 3 and extra == {"step": 3}
    assert isinstance(state, State) and isinstance(state.optimiser[0], optax.ScaleByAdamState)
    assert_same(state, make_state(3))
    np.testing.assert_array_equal(jax.random.normal(state.key, (4,)), jax.random.normal(jax.random.key(3), (4,)))


def test_logging_is_quiet_while_it_is_asked_to_be_and_as_it_was_afterwards() -> None:
    """Importing changes nothing that belongs to the whole process."""
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    before = [list(logger.filters) for logger in loggers], sys.unraisablehook
    program = "import logging, sys; import metaobj.common.runs.checkpoint, metaobj.common.command.cli; "
    program += "assert sys.unraisablehook is sys.__unraisablehook__; "
    program += "assert not [f for n in ('absl', 'asyncio') for f in logging.getLogger(n).filters]"
    subprocess.run([sys.executable, "-c", program], check=True)
    with quiet_checkpoints():
        assert sys.unraisablehook is not before[1]
        assert [len(logger.filters) for logger in loggers] == [len(filters) + 1 for filters in before[0]]
    assert ([list(logger.filters) for logger in loggers], sys.unraisablehook) == before


def test_an_exception_that_was_never_retrieved_is_not_told_twice(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio's line does not say whose it was; a traceback through Orbax does. Others' are told."""
    scope: dict[str, Any] = {}
    exec(compile("def write():\n    raise OSError(28, 'No space left')", "site-packages/orbax/path.py", "exec"), scope)

    def fail() -> None:
        raise OSError(28, "No space left")

    with quiet_checkpoints():
        for write in (scope["write"], fail):
            try:
                write()
            except OSError:
                logging.getLogger("asyncio").exception("Future exception was never retrieved")
    assert len(caplog.records) == 1


def test_nothing_saved_restores_none(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "new").restore_latest(make_state(0)) is None


def test_keeps_the_newest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (5, 10, 15):
        checkpoints.save(step, make_state(step))
    assert checkpoints.steps() == [10, 15]
    assert Checkpoints(tmp_path).steps() == [10, 15]
    assert sorted(os.listdir(tmp_path)) == ["10", "15"]


def test_keep_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="keep: 0"):
        Checkpoints(tmp_path, keep=0)


def test_every_truncated_or_missing_file_is_noticed(three: Path, tmp_path: Path) -> None:
    """Each file of the newest in turn."""
    template = make_state(0)
    for name in files_of(three / "3"):
        for damage in ("truncated", "missing"):
            folder = tmp_path / f"{damage}-{name.replace('/', '-')}"
            shutil.copytree(three, folder)
            victim = folder / "3" / name
            if damage == "truncated":
                os.truncate(victim, victim.stat().st_size // 2)
            else:
                victim.unlink()
            reports: list[str] = []
            checkpoints = Checkpoints(folder, report=reports.append)
            found = checkpoints.restore_latest(template)
            assert found is not None
            assert_same(found[1], make_state(found[0]))
            if (name, damage) == ("files.json", "missing"):  # as after a kill between the rename and this file
                assert found[0] == 3 and not reports
            else:
                assert found[0] == 2, (name, damage)
                assert len(reports) == 1 and "step 3" in reports[0] and "\n" not in reports[0]
                assert name in reports[0] or name == "files.json"
            shutil.rmtree(folder)


def test_after_a_fallback_the_run_writes_that_step_again(three: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(three, folder)
    shutil.rmtree(folder / "3" / "state")
    checkpoints = Checkpoints(folder, keep=2)
    found = checkpoints.restore_latest(make_state(0))
    assert found is not None and found[0] == 2
    checkpoints.save(3, make_state(33))
    assert checkpoints.steps() == [2, 3]
    found = Checkpoints(folder).restore_latest(make_state(0))
    assert found is not None and found[0] == 3
    assert_same(found[1], make_state(33))


def test_unreadable_ones_do_not_count_for_retention(three: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(three, folder)
    shutil.rmtree(folder / "3" / "state")
    checkpoints = Checkpoints(folder, keep=2)
    checkpoints.restore_latest(make_state(0))
    checkpoints.save(4, make_state(4))
    assert checkpoints.steps() == [2, 4]


@pytest.mark.parametrize("change", ["digest", "extra", "step"])
def test_digest_mismatch_is_noticed(three: Path, tmp_path: Path, change: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(three, folder)
    (folder / "3" / "files.json").unlink()
    file = folder / "3" / "manifest" / "metadata"
    manifest = json.loads(file.read_text())
    manifest[change] = {"digest": "0" * 64, "extra": {"step": 4}, "step": 4}[change]
    file.write_text(json.dumps(manifest))
    reports: list[str] = []
    found = Checkpoints(folder, report=reports.append).restore_latest(make_state(0))
    assert found is not None and found[0] == 2
    assert len(reports) == 1 and "digest" in reports[0]


def test_swapped_arrays_are_noticed(three: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(three, folder)
    shutil.rmtree(folder / "3" / "state")
    shutil.copytree(folder / "1" / "state", folder / "3" / "state")  # whole to Orbax, of another step
    (folder / "3" / "files.json").unlink()
    reports: list[str] = []
    found = Checkpoints(folder, report=reports.append).restore_latest(make_state(0))
    assert found is not None and found[0] == 2 and "digest" in reports[0]


def test_none_readable_is_one_line(three: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(three, folder)
    for step in "123":
        shutil.rmtree(folder / step / "state")
    with pytest.raises(UserError, match="none of its 3 checkpoints is readable") as caught:
        Checkpoints(folder).restore_latest(make_state(0))
    assert "\n" not in str(caught.value)


def test_another_state_is_told_by_its_first_leaf(three: Path) -> None:
    template = make_state(0)
    template = dataclasses.replace(template, params={**template.params, "w": jnp.zeros((5, 4))})
    with pytest.raises(UserError, match=r"params\['w'\] is float32\[5, 3\]; this run's is float32\[5, 4\]"):
        Checkpoints(three).restore_latest(template)


def test_leftovers_of_a_killed_save_are_cleared(three: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(three, folder)
    for name in ("4.orbax-checkpoint-tmp", "0.orbax-checkpoint-tmp-discarded"):
        shutil.copytree(three / "1", folder / name)
    checkpoints = Checkpoints(folder)
    assert checkpoints.steps() == [1, 2, 3]
    assert sorted(os.listdir(folder)) == ["1", "2", "3"]
    checkpoints.save(4, make_state(4))
    assert checkpoints.steps() == [3, 4]


def test_shardings_of_the_template_are_respected(tmp_path: Path) -> None:
    """Saved from one device, restored onto two, and back."""
    script = """
    import sys
    import jax, numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec
    from metaobj.common.runs.checkpoint import Checkpoints

    def state(seed):
        return {"w": jax.random.normal(jax.random.key(seed), (4, 3)), "keys": jax.random.split(jax.random.key(seed), 4)}

    sharding = NamedSharding(Mesh(np.array(jax.devices()), ("lifetimes",)), PartitionSpec("lifetimes"))
    one, two = state(1), jax.device_put(state(0), sharding)
    checkpoints = Checkpoints(sys.argv[1])
    checkpoints.save(1, one)
    _, found, _ = Checkpoints(sys.argv[1]).restore_latest(two)
    for name in found:
        assert found[name].sharding.is_equivalent_to(sharding, found[name].ndim), (name, found[name].sharding)
        assert len(found[name].addressable_shards) == 2
    checkpoints.save(2, found)
    _, back, _ = Checkpoints(sys.argv[1]).restore_latest(state(0))
    for name in back:
        assert len(back[name].devices()) == 1
    assert (back["w"] == one["w"]).all()
    assert (jax.random.key_data(back["keys"]) == jax.random.key_data(one["keys"])).all()
    """
    done = run(script, str(tmp_path), XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
