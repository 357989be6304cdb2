"""How runs end: by themselves, by signals, and where nothing is finite."""

import os
import signal
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.command.cli import main
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.train import Outcome, meta_train
from metaobj.common.runs import loop
from metaobj.common.runs.checkpoint import Checkpoints
from metaobj.common.runs.metrics import MetricsLog
from metaobj.common.runs.progress import Progress
from metaobj.lpg.objective import LPG
from metaobj.lpg.plugin import plugin
from tests.runs.cases import TINY, At, checkpoints, rows, same, told


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_by_a_signal_and_resumed(number: signal.Signals, straight: Path, tmp_path: Path) -> None:
    before = signal.getsignal(number)
    outcome, _ = told(tmp_path, sinks=lambda run, step: [At(2, lambda: signal.raise_signal(number))])
    assert outcome == Outcome(False, 2, tmp_path / "objective.safetensors", number)
    assert signal.getsignal(number) is before
    assert checkpoints(tmp_path) == [0, 1, 2] and len(rows(tmp_path)) == 2
    assert load_objective(tmp_path).metadata["meta_updates"] == 2
    outcome, text = told(tmp_path, resume=True)
    assert outcome.finished and "resumed from step 2" in text
    assert same(tmp_path, straight)


@pytest.mark.slow
def test_a_signal_between_checkpoints_saves(straight: Path, tmp_path: Path) -> None:
    rare = replace(TINY, checkpoint_every=5)
    told(tmp_path, rare, sinks=lambda run, step: [At(3, lambda: signal.raise_signal(signal.SIGTERM))])
    assert checkpoints(tmp_path) == [0, 3]
    told(tmp_path, rare, resume=True)
    assert [row["step"] for row in rows(tmp_path)] == [1, 2, 3, 4, 5]
    weights = [load_objective(folder).eta for folder in (tmp_path, straight)]
    jax.tree.map(np.testing.assert_array_equal, *weights)


@pytest.mark.slow
def test_metrics_are_on_disk_before_the_checkpoint_that_goes_on_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[tuple[str, int]] = []
    sync, save = MetricsLog.sync, Checkpoints.save

    def synced(self: MetricsLog) -> None:
        sync(self)
        events.append(("synced", len(rows(tmp_path))))

    def saved(self: Checkpoints, step: int, *rest: Any) -> None:
        events.append(("saved", step))
        save(self, step, *rest)

    monkeypatch.setattr(MetricsLog, "sync", synced)
    monkeypatch.setattr(Checkpoints, "save", saved)
    told(tmp_path, replace(TINY, checkpoint_every=5))
    assert events == [("saved", 0), ("synced", 5), ("saved", 5)]


@pytest.mark.slow
def test_a_second_signal_stops_at_once(tmp_path: Path) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    found = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started this with it ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            told(tmp_path, sinks=lambda run, step: [At(2, twice)])
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, found)
    assert checkpoints(tmp_path) == [0, 1]


@pytest.mark.slow
def test_the_command_tells_how_to_go_on(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "a run"
    update = Progress.update

    def stop(self: Progress, step: int, row: Mapping[str, Any]) -> None:
        update(self, step, row)
        if step == 3:
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Progress, "update", stop)
    flags = "--distribution tiny --meta-updates 5 --inner-updates 1 --rollout-steps 2 --log-every 1"
    flags += " --checkpoint-every 1 --network.units 4 --network.prediction-size 2 --network.embedding-units 2"
    flags += f" --meta-loss.policy-entropy {TINY.meta_loss.policy_entropy}"
    with pytest.raises(SystemExit) as left:
        main(["train", "lpg", "--run-dir", str(folder), *flags.split()])
    out, err = capfd.readouterr()
    assert left.value.code == 128 + signal.SIGTERM
    assert f"metaobj train lpg --run-dir '{folder}' --resume" in out
    assert "stopping" in err
    monkeypatch.undo()
    with pytest.raises(SystemExit) as left:
        main(["train", "lpg", "--run-dir", str(folder), "--resume"])
    assert left.value.code == 0 and "resumed from step 3" in capfd.readouterr().out
    assert same(folder, straight)


class Broken(LPG):
    """Gives targets that are NaN from the second meta-update on: weights have moved then."""

    def targets(self, weights: Any, *rest: Any) -> Any:
        (pi_hat, y_hat), about = super().targets(weights, *rest)
        moved = jnp.any(weights["policy"]["bias"] != 0)
        return (jnp.where(moved, jnp.nan, 1.0) * pi_hat, y_hat), about


@pytest.mark.slow
def test_a_run_in_which_nothing_is_finite_says_so_and_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numbers are unknown, not 0; its objective stays what it was; and it does not claim to be done."""
    broken = replace(plugin, build=lambda config: Broken(config.network, config.meta_loss))
    monkeypatch.setattr(loop, "PATIENCE", 3)
    stop = At(1, lambda: signal.raise_signal(signal.SIGTERM))
    meta_train(broken, TINY, tmp_path, sinks=lambda run, step: [stop])
    learned = load_objective(tmp_path).eta
    with pytest.raises(loop.MetaTrainingError, match="from meta-update 2 to 4; what was learned by step 1 is saved"):
        meta_train(broken, TINY, tmp_path, resume=True)
    told = rows(tmp_path)
    assert [row["not_finite"] for row in told] == [0, 2, 2, 2]
    counts = {"step", "ended", "not_finite", "environment_steps", "sampler", "episode_return/tests.worlds:RING"}
    for row in told[1:]:
        assert {name for name, value in row.items() if value is not None} <= counts, row
        assert row["reward"] is None and row["reward/tests.worlds:RING"] is None
    assert load_objective(tmp_path).metadata["meta_updates"] == 4
    jax.tree.map(np.testing.assert_array_equal, load_objective(tmp_path).eta, learned)


@pytest.mark.slow
def test_outside_the_main_thread(straight: Path, tmp_path: Path) -> None:
    found: list[Outcome] = []
    thread = threading.Thread(target=lambda: found.append(told(tmp_path)[0]))
    thread.start()
    thread.join()
    assert found and found[0].finished and same(tmp_path, straight)


@pytest.mark.slow
def test_pictures(tmp_path: Path) -> None:
    told(tmp_path)
    assert {"sampler.png", "training.png"} <= set(os.listdir(tmp_path))


@pytest.mark.slow
def test_pictures_that_cannot_be_written_do_not_fail_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metaobj.common.pictures.training.training_curve", full)
    outcome, text = told(tmp_path)
    assert outcome.finished and "No space left" in text
