"""The training loop: stopping, going on, and what a damaged run folder does to it."""

import io
import json
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from metaobj.common.command.cli import main
from metaobj.common.errors import UserError
from metaobj.common.lifetimes.distributions import DISTRIBUTIONS, Entry
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.train import Outcome, meta_train
from metaobj.common.runs import loop
from metaobj.common.runs.checkpoint import Checkpoints
from metaobj.common.runs.metrics import MetricsLog
from metaobj.common.runs.progress import Progress
from metaobj.common.runs.run_folder import RunFolder
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.objective import LPG, LPGConfig
from metaobj.lpg.plugin import plugin
from tests.quick import quick_programs

TINY = LPGTraining(
    distribution="tiny",
    meta_updates=5,
    inner_updates=1,
    rollout_steps=2,
    log_every=1,
    checkpoint_every=1,
    keep_checkpoints=3,
    network=LPGConfig(units=4, prediction_size=2, embedding_units=2),
)
TIMING = ("seconds", "steps_per_second")


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two lifetimes that end and begin anew within a run."""
    DISTRIBUTIONS["tiny"] = (Entry("grid/small_layouts", lifetimes=2, num_environments=2, updates=3),)
    with quick_programs(tmp_path_factory.mktemp("programs")):
        yield
    del DISTRIBUTIONS["tiny"]


class At:
    """A sink that does something when a step is logged, before its checkpoint is written."""

    def __init__(self, step: int, do: Callable[[], None]) -> None:
        self.step, self.do = step, do

    def write(self, step: int, values: Mapping[str, float]) -> None:
        if step == self.step:
            self.do()

    def close(self) -> None:
        pass


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def checkpoints(folder: Path) -> list[int]:
    return sorted(int(entry.name) for entry in (folder / "checkpoints").iterdir())


@pytest.fixture(autouse=True, scope="module")
def one_day() -> Iterator[None]:
    """Runs are compared byte for byte, and midnight may come."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaobj.common.objectives.provenance.time.strftime", lambda form: "2026-01-01")
        yield


@pytest.fixture(autouse=True)
def no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than the runs."""
    if "pictures" not in request.node.name:
        monkeypatch.setattr("metaobj.common.objectives.train.draw", lambda trainer, run, charts: None)


def told(folder: Path, config: LPGTraining = TINY, **options: Any) -> tuple[Outcome, str]:
    console = Console(file=io.StringIO(), width=1000)
    outcome = meta_train(plugin, config, folder, console=console, **options)
    assert isinstance(console.file, io.StringIO)
    return outcome, console.file.getvalue()


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, tiny: None) -> Path:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("straight")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaobj.common.objectives.train.draw", lambda trainer, run, charts: None)
        outcome, _ = told(folder)
    assert outcome == Outcome(True, 5, folder / "objective.safetensors")
    return folder


def same(folder: Path, straight: Path) -> bool:
    assert [row["step"] for row in rows(folder)] == [1, 2, 3, 4, 5]
    assert rows(folder) == rows(straight)
    return (folder / "objective.safetensors").read_bytes() == (straight / "objective.safetensors").read_bytes()


def test_a_run_leaves_its_parts(straight: Path) -> None:
    names = "checkpoints config.json metrics.jsonl objective.safetensors objectives run.lock"
    assert sorted(os.listdir(straight)) == names.split()
    kept = sorted((straight / "objectives").iterdir(), key=lambda path: int(path.stem))
    assert [int(path.stem) for path in kept][-1] == TINY.meta_updates
    assert kept[-1].read_bytes() == (straight / "objective.safetensors").read_bytes()
    assert kept[0].read_bytes() != kept[-1].read_bytes()
    assert checkpoints(straight) == [3, 4, 5]
    loaded = load_objective(straight)
    assert loaded.objective.config.units == 4 and loaded.metadata["meta_updates"] == 5
    assert sum(row["ended"] for row in rows(straight)) > 2


def test_a_run_that_starts_from_another_says_so(straight: Path, tmp_path: Path) -> None:
    """And so does one that starts from that."""
    names = [str(straight)]
    for name in ("second", "third"):
        told(tmp_path / name, replace(TINY, init=names[-1]))
        names.append(str(tmp_path / name))
    digests = [load_objective(name).metadata["digest"] for name in names]
    found = load_objective(names[2]).metadata["provenance"]
    assert found == json.loads((tmp_path / "third" / "config.json").read_text())["provenance"]
    first = {"name": names[0], "digest": digests[0], "meta_updates": 5}
    assert found["init"] == {"name": names[1], "digest": digests[1], "meta_updates": 5, "init": first}


@pytest.mark.slow
def test_another_seed_gives_another_objective(straight: Path, tmp_path: Path) -> None:
    told(tmp_path, replace(TINY, seed=1))
    assert (tmp_path / "objective.safetensors").read_bytes() != (straight / "objective.safetensors").read_bytes()


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


@pytest.mark.parametrize("schedule", ["cosine", pytest.param("constant", marks=pytest.mark.slow)])
def test_a_finished_run_is_made_longer(schedule: Any, straight: Path, tmp_path: Path) -> None:
    """By its last checkpoint; with a learning rate that stays it is the run that was longer from the start."""
    folder = tmp_path / "run"
    short = replace(TINY, schedule=schedule)
    if schedule == "cosine":
        shutil.copytree(straight, folder)
    else:
        told(folder, short)
    outcome, text = told(folder, replace(short, meta_updates=8), resume=True)
    assert outcome == Outcome(True, 8, folder / "objective.safetensors") and "resumed from step 5" in text
    assert [row["step"] for row in rows(folder)] == [1, 2, 3, 4, 5, 6, 7, 8]
    found = load_objective(folder).metadata
    extended = {"at": 5, "from": 5, "to": 8, "date": "2026-01-01"}
    assert found["provenance"]["extended"] == [extended] and found["meta_updates"] == 8
    if schedule == "cosine":
        assert "8 meta-updates instead of 5: the cosine of the learning rate is that of a run of 8 from here on" in text
        assert "at step 5 is at 0.00031; it was at 0" in text
    else:
        assert "8 meta-updates instead of 5\n" in text
        told(tmp_path / "long", replace(short, meta_updates=8))
        jax.tree.map(np.testing.assert_array_equal, load_objective(folder).eta, load_objective(tmp_path / "long").eta)
    with pytest.raises(UserError, match="meta_updates: 6 given; the run has come to 8, give that or more"):
        told(folder, replace(short, meta_updates=6), resume=True)
    assert json.loads((folder / "config.json").read_text())["config"]["meta_updates"] == 8
    assert told(folder, replace(short, meta_updates=8), resume=True)[0].finished
    assert load_objective(folder).metadata["provenance"]["extended"] == [extended]


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


def test_a_run_of_an_older_version_goes_on(straight: Path, tmp_path: Path) -> None:
    """Its configuration lacks a field that has come since; what it does not lack must still agree."""
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    record = json.loads((folder / "config.json").read_text())
    del record["config"]["keep_checkpoints"], record["config"]["network"]["lifetime_inputs"]
    (folder / "config.json").write_text(json.dumps(record))
    assert told(folder, resume=True)[0].finished
    assert json.loads((folder / "config.json").read_text())["config"]["network"]["lifetime_inputs"] is False
    with pytest.raises(UserError, match="cannot resume with another seed"):
        told(folder, replace(TINY, seed=1), resume=True)


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


def truncate(folder: Path) -> None:
    largest = max((f for f in (folder / "checkpoints" / "5").rglob("*") if f.is_file()), key=lambda f: f.stat().st_size)
    os.truncate(largest, largest.stat().st_size // 2)


def delete(folder: Path) -> None:
    shutil.rmtree(folder / "checkpoints" / "5")


@pytest.mark.parametrize(("damage", "says"), [pytest.param(truncate, "step 5", marks=pytest.mark.slow), (delete, "")])
def test_goes_on_from_the_checkpoint_before(
    damage: Callable[[Path], None], says: str, straight: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    damage(folder)
    outcome, text = told(folder, resume=True)
    assert outcome.finished and "resumed from step 4" in text
    assert not says or (says in text and "unreadable" in text)
    assert same(folder, straight) and checkpoints(folder) == [3, 4, 5]


def test_all_checkpoints_gone_is_refused(straight: Path, tmp_path: Path) -> None:
    """To start again would write over what was learned."""
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    shutil.rmtree(folder / "checkpoints")
    kept = {name: (folder / name).read_bytes() for name in ("objective.safetensors", "metrics.jsonl", "config.json")}
    with pytest.raises(UserError, match="checkpoints: holds no checkpoint, and the run had come to step 5; put its"):
        told(folder, resume=True)
    (folder / "metrics.jsonl").unlink()  # the objective alone tells it too
    with pytest.raises(UserError, match="had come to step 5"):
        told(folder, resume=True)
    (folder / "metrics.jsonl").write_bytes(kept["metrics.jsonl"])
    assert kept == {name: (folder / name).read_bytes() for name in kept}


@pytest.mark.slow
def test_a_run_that_falls_back_keeps_what_it_had_learned(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    for step in ("4", "5"):
        shutil.rmtree(folder / "checkpoints" / step)

    def stop() -> None:
        assert load_objective(folder).metadata["meta_updates"] == 5
        signal.raise_signal(signal.SIGTERM)

    outcome, _ = told(folder, resume=True, sinks=lambda run, step: [At(4, stop)])
    assert outcome.step == 4 and checkpoints(folder)[-1] == 4
    assert load_objective(folder).metadata["meta_updates"] == 5, "written by a run that was further"
    assert told(folder, resume=True)[0].finished and same(folder, straight)


def test_a_configuration_that_was_changed_in_its_file_is_refused(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    text = (folder / "config.json").read_text()
    assert '"learning_rate": 0.001,' in text
    text = text.replace('"learning_rate": 0.001,', '"learning_rate": 0.002,', 1)  # the value function has one too
    (folder / "config.json").write_text(text)
    changed = replace(TINY, learning_rate=0.002)
    with pytest.raises(UserError, match="learning_rate is 0.002; the run's checkpoint of step 5 was made with 0.001"):
        told(folder, config=changed, resume=True)


def test_worlds_that_were_changed_in_their_file_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "worlds.toml"
    one = '[[entries]]\nenvironment = "grid/small_layouts"\nlifetimes = 2\nnum_environments = 2\nupdates = 3\n'
    path.write_text(one)
    config = replace(TINY, distribution=str(path))
    told(tmp_path / "run", config, sinks=lambda run, step: [At(2, lambda: signal.raise_signal(signal.SIGTERM))])
    path.write_text(one.replace("updates = 3", "updates = 4"))
    with pytest.raises(UserError, match="worlds.toml: grid/small_layouts is not as it was when the run's check"):
        told(tmp_path / "run", config, resume=True)
    path.write_text(one)
    assert told(tmp_path / "run", config, resume=True)[0].finished


@pytest.mark.slow
def test_odd_names_among_the_checkpoints(straight: Path, tmp_path: Path) -> None:
    """A superscript is a digit to Python; a checkpoint that was renamed is not that of another step."""
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    for name in ("\u00b2", "1e3", "-1", "9" * 20):
        (folder / "checkpoints" / name).mkdir()
    (folder / "checkpoints" / "5").rename(folder / "checkpoints" / "999")
    outcome, text = told(folder, resume=True)
    assert "step 999" in text and "is the checkpoint of step 5" in text
    assert outcome.finished and "resumed from step 4" in text and same(folder, straight)


def test_odd_lines_among_the_metrics(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    lines = ['{"step": 1e400}', '{"step": NaN}', '{"step": "3"}', "[" * 100_000, "[]", "7", '{"step": true}', "\x00"]
    with open(folder / "metrics.jsonl", "a") as file:
        file.write("\n".join(lines) + "\n")
    assert told(folder, resume=True)[0].finished
    assert same(folder, straight)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"format_version": 1, "config": [1]}', "1e400", "\udcff", "", "null"])
def test_odd_configurations(text: str, straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    (folder / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(UserError, match=r"config.json: is not the configuration of a run") as caught:
        told(folder, resume=True)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_start_that_fails_leaves_nothing_in_the_way(straight: Path, tmp_path: Path) -> None:
    """Such as a service that does not take the run."""

    def refuse(run: RunFolder, step: int) -> list[Any]:
        (run.path / "wandb").mkdir()
        raise UserError("--wandb: Weights & Biases did not start")

    with pytest.raises(UserError, match="did not start"):
        told(tmp_path / "run", sinks=refuse)
    assert not (tmp_path / "run").exists()
    assert told(tmp_path / "run")[0].finished and same(tmp_path / "run", straight)


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
    counts = {"step", "ended", "not_finite", "environment_steps", "sampler", "episode_return/grid/small_layouts"}
    for row in told[1:]:
        assert {name for name, value in row.items() if value is not None} <= counts, row
        assert row["reward"] is None and row["reward/grid/small_layouts"] is None
    assert load_objective(tmp_path).metadata["meta_updates"] == 4
    jax.tree.map(np.testing.assert_array_equal, load_objective(tmp_path).eta, learned)


def test_a_kill_before_the_objective_was_written_is_mended(straight: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(straight, folder)
    (folder / "objective.safetensors").unlink()
    outcome, text = told(folder, resume=True)
    assert outcome.finished and "compiling" not in text
    assert same(folder, straight)


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
