"""Checkpoints while the disk or the process fails."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import jax
import pytest

from metaobj.common.errors import UserError
from metaobj.common.runs.checkpoint import CheckpointError, Checkpoints
from tests.disks import small_disk
from tests.states import assert_same, make_state, run


def test_a_failed_write_leaves_the_earlier_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, make_state(1))
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints._manager, "save", _disk_full)
        with pytest.raises(CheckpointError, match="step 2: disk full"):
            checkpoints.save(2, make_state(2))
    assert os.listdir(tmp_path) == ["1"]
    checkpoints.save(3, make_state(3))  # room again
    assert checkpoints.steps() == [3]


def test_a_disk_that_fills_at_the_last_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, make_state(1))

    def fail(path: Path, content: str) -> None:
        raise UserError("cannot write") from OSError(28, "No space left on device")

    monkeypatch.setattr("metaobj.common.runs.checkpoint.atomic_write", fail)
    with pytest.raises(CheckpointError, match="step 2: disk full"):
        checkpoints.save(2, make_state(2))
    monkeypatch.undo()
    assert os.listdir(tmp_path) == ["1"]
    found = Checkpoints(tmp_path).restore_latest(make_state(0))
    assert found is not None and found[0] == 1


def _disk_full(*arguments: object, **options: object) -> None:
    raise OSError(28, "No space left on device")


def test_an_error_of_the_program_stays_what_it_is(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        Checkpoints(tmp_path).save(1, make_state(1), {"not": object()})


def test_disk_full_on_a_real_file_system(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", "1m") as mount:
        state = {"w": jax.random.normal(jax.random.key(0), (60_000,))}  # 240 kB that do not compress
        checkpoints = Checkpoints(mount, keep=10)
        with pytest.raises(CheckpointError, match="disk full") as caught:
            for step in range(10):
                checkpoints.save(step, state)
        assert "\n" not in str(caught.value)
        whole = checkpoints.steps()
        assert 1 <= len(whole) < 10 and sorted(map(int, os.listdir(mount))) == whole
        found = Checkpoints(mount).restore_latest(state)
        assert found is not None and found[0] == whole[-1]
        assert_same(found[1], state)
        checkpoints.close()


def test_a_file_that_may_not_grow(tmp_path: Path) -> None:
    """A write that the system refuses, where mounting is not allowed."""
    script = """
    import resource, signal, sys
    import jax
    from metaobj.common.runs.checkpoint import CheckpointError, Checkpoints, quiet_checkpoints
    checkpoints = Checkpoints(sys.argv[1])
    checkpoints.save(1, {"w": jax.numpy.ones(10)})
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    try:
        checkpoints.save(2, {"w": jax.random.normal(jax.random.key(0), (100_000,))})
    except CheckpointError as error:
        print(error)
    checkpoints.save(3, {"w": jax.numpy.ones(10)})
    """
    done = run(script, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{tmp_path}: cannot write the checkpoint of step 2: File too large"]
    assert done.stderr == ""
    assert sorted(os.listdir(tmp_path)) == ["1", "3"]


@pytest.mark.slow
def test_killed_while_saving(tmp_path: Path) -> None:
    """However a run is killed, the next one opens the newest whole checkpoint and clears what is left of the other."""
    script = """
    import sys
    import jax
    from metaobj.common.runs.checkpoint import Checkpoints
    state = {"w": jax.numpy.arange(1000), "key": jax.random.key(0)}
    checkpoints = Checkpoints(sys.argv[1], report=lambda line: print("unreadable", line, flush=True))
    found = checkpoints.restore_latest(state)
    step = 0
    if found is not None:
        step, state, _ = found
        assert (state["w"] == jax.numpy.arange(1000) + step).all()
    print("open", *checkpoints.steps(), flush=True)
    while True:
        step += 1
        state = {**state, "w": state["w"] + 1}
        checkpoints.save(step, state)
        print("saved", step, flush=True)
    """
    last = 0
    for attempt in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        opened = process.stdout.readline().split()
        assert opened[0] == "open" and int(opened[-1] if last else 0) == last
        for _ in range(2):
            process.stdout.readline()
        time.sleep(0.007 * attempt)  # somewhere within the next saves
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines()
        process.wait()
        process.stdout.close()
        assert not any("unreadable" in line for line in rest)
        whole = Checkpoints(tmp_path).steps()
        assert whole and whole[-1] >= last + 2
        last = whole[-1]
        assert all(name.isdigit() for name in os.listdir(tmp_path))


def test_a_small_state_saves_fast(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(0, make_state(0))
    durations = []
    for step in range(1, 5):
        start = time.perf_counter()
        checkpoints.save(step, make_state(step))
        durations.append(time.perf_counter() - start)
    assert min(durations) < 0.5
