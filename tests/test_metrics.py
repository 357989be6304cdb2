"""The metrics log: readable at any moment, exact after a resume; sinks only where they are installed."""

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.errors import UserError
from metaobj.common.runs.metrics import MetricsLog, TensorBoard, WeightsAndBiases, read_metrics


class Recorder:
    def __init__(self) -> None:
        self.written: list[tuple[int, dict[str, float]]] = []
        self.closed = False

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self.written.append((step, dict(values)))

    def close(self) -> None:
        self.closed = True


def write(path: Path, *steps: int) -> None:
    log = MetricsLog(path)
    for step in steps:
        log.write(step, {"value": step / 2})
    log.close()


def test_one_json_object_a_line(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.write(1, {"loss": jnp.float32(0.5), "count": np.int64(3), "by_task": jnp.array([1.0, jnp.nan]), "name": "grid"})
    log.write(2, {"time": {"wall": 1.5}, "bad": float("nan"), "worse": jnp.inf, "flag": np.bool_(True), "none": None})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()  # on disk before close
    assert json.loads(lines[0]) == {"step": 1, "loss": 0.5, "count": 3, "by_task": [1.0, None], "name": "grid"}
    assert json.loads(lines[1]) == {
        "step": 2, "time": {"wall": 1.5}, "bad": None, "worse": None, "flag": True, "none": None
    }  # fmt: skip
    assert "NaN" not in lines[1] and "Infinity" not in lines[1]
    log.close()


def test_truncates_to_a_step_and_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, 10, 20, 30, 40)
    log = MetricsLog(path)
    log.truncate_to(25)
    assert [line["step"] for line in read_metrics(path)] == [10, 20]
    log.write(30, {"value": 7})
    log.close()
    assert [(line["step"], line["value"]) for line in read_metrics(path)] == [(10, 5.0), (20, 10.0), (30, 7)]


def test_resumed_log_equals_one_never_stopped(tmp_path: Path) -> None:
    write(tmp_path / "whole", 1, 2, 3, 4)
    write(tmp_path / "resumed", 1, 2, 3)
    log = MetricsLog(tmp_path / "resumed")
    log.truncate_to(2)
    log.close()
    write(tmp_path / "resumed", 3, 4)
    assert (tmp_path / "resumed").read_bytes() == (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize("cut", range(1, 24))
def test_a_torn_last_line_is_dropped(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "metrics.jsonl"
    write(path, 10, 20)
    content = path.read_bytes()
    assert len(content.splitlines()[1]) >= 24
    path.write_bytes(content[:-cut])
    assert [line["step"] for line in read_metrics(path)] == [10]
    write(path, 30)
    assert [line["step"] for line in read_metrics(path)] == [10, 30]


def test_lines_that_are_no_metrics_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n\x00\x00\n[]\n{"step": 2}\n')
    assert [line["step"] for line in read_metrics(path)] == [1, 2]
    log = MetricsLog(path)
    log.truncate_to(5)
    log.close()
    assert path.read_bytes() == b'{"step": 1}\n{"step": 2}\n'


def test_a_full_disk_takes_the_part_of_a_line_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    log.write(1, {})
    file = log._file

    class Full:
        def __getattr__(self, name: str) -> Any:
            return getattr(file, name)

        def write(self, data: bytes) -> int:
            if len(data) > 5:
                return file.write(data[:5])  # a short write, then none
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "_file", Full())
    with pytest.raises(UserError, match="cannot write: No space left on device"):
        log.write(2, {})
    assert path.read_bytes() == b'{"step": 1}\n'
    file.close()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot write"):
        MetricsLog(tmp_path / "missing" / "metrics.jsonl")


def test_sinks_get_the_scalars(tmp_path: Path) -> None:
    sink = Recorder()
    log = MetricsLog(tmp_path / "metrics.jsonl", [sink])
    log.write(3, {"loss": jnp.float32(0.5), "time": {"wall": 2}, "name": "grid", "many": np.ones(3), "bad": math.nan})
    log.close()
    (step, values), *rest = sink.written
    assert not rest and step == 3 and sink.closed
    assert math.isnan(values.pop("bad"))
    assert values == {"loss": 0.5, "time/wall": 2.0}


def test_a_missing_package_names_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UserError, match=r"--tensorboard: .*pip install .*\[tensorboard\]'"):
        TensorBoard(tmp_path, None)
    with pytest.raises(UserError, match=r"--wandb: .*pip install .*\[wandb\]'"):
        WeightsAndBiases(tmp_path, "project", {}, "1f", "run")


def test_tensorboard_is_driven_as_it_expects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class SummaryWriter:
        def __init__(self, logdir: str, purge_step: int | None) -> None:
            calls.append((logdir, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            calls.append((name, value, step))

        def close(self) -> None:
            calls.append("closed")

    monkeypatch.setitem(sys.modules, "tensorboardX", SimpleNamespace(SummaryWriter=SummaryWriter))
    sink = TensorBoard(tmp_path, resumed_at=4)
    sink.write(5, {"loss": 0.5, "bad": math.nan})
    sink.close()
    assert calls == [(str(tmp_path), 5), ("loss", 0.5, 5), "closed"]
    TensorBoard(tmp_path, resumed_at=None)
    assert calls[3:] == [(str(tmp_path), None)]


def test_tensorboard_has_each_step_once_after_a_resume_from_the_start(tmp_path: Path) -> None:
    """Of a run that was killed before its second checkpoint; whatever reads the files."""
    pytest.importorskip("tensorboardX")
    (tmp_path / "mine.txt").write_text("stays")
    for resumed_at, steps in ((None, (10, 20)), (0, (10, 20, 30))):
        sink = TensorBoard(tmp_path, resumed_at)
        for step in steps:
            sink.write(step, {"loss": float(step)})
        sink.close()
    (events,) = tmp_path.glob("events.*")
    assert events.read_bytes().count(b"loss") == 3 and (tmp_path / "mine.txt").exists()


def test_wandb_is_driven_as_it_expects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Error(Exception):
        pass

    class Run:
        def log(self, values: dict[str, float], step: int) -> None:
            calls.append((values, step))

        def finish(self) -> None:
            calls.append("finished")

    def init(**options: Any) -> Run:
        if options["project"] == "closed":
            raise Error("no\n API key")
        calls.append(options)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=init, errors=SimpleNamespace(Error=Error)))
    sink = WeightsAndBiases(tmp_path, "project", {"seed": 1}, "1f", "run-1")
    sink.write(5, {"loss": 0.5})
    sink.close()
    assert (
        calls[0]["id"] == "1f"
        and calls[0]["name"] == "run-1"
        and calls[0]["resume"] == "allow"
        and calls[0]["config"] == {"seed": 1}
    )
    assert calls[1:] == [({"loss": 0.5}, 5), "finished"]
    with pytest.raises(UserError, match="--wandb: Weights & Biases did not start: no API key"):
        WeightsAndBiases(tmp_path, "closed", {}, "1f", "run-1")
