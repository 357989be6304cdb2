"""The command: wrong input of every kind gives one line and leaves nothing behind."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax.numpy as jnp
import pytest

from metaobj.common.command.cli import main
from metaobj.common.evaluation.suites import SUITES, Suite
from metaobj.common.lifetimes.distributions import DISTRIBUTIONS, Entry
from metaobj.common.objectives import file as objective_file
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.train import Outcome
from metaobj.common.runs.run_folder import RunFolder
from tests.quick import quick_programs

TINY = (
    "--distribution tiny-cli --meta-updates 1 --log-every 1 --checkpoint-every 1 --inner-updates 1 --rollout-steps 2 "
    "--network.units 4 --network.prediction-size 2 --network.embedding-units 2 --kl-weights 0.5"
)

NOT_ONE = SimpleNamespace()  # lacks everything that an environment has


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture(scope="module", autouse=True)
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One setting and one lifetime: a distribution and a suite for which a second is enough."""
    DISTRIBUTIONS["tiny-cli"] = (Entry("chain/short", 1, 1, 1, (40.0,)),)
    entry = Entry("chain/short", num_environments=1, updates=25, split="held_out")
    SUITES["tiny-cli"] = Suite("tiny-cli", 1, (entry,))
    with quick_programs(tmp_path_factory.mktemp("programs")):
        yield
    del DISTRIBUTIONS["tiny-cli"], SUITES["tiny-cli"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, tiny: None) -> Path:
    """The folder of a run that is done."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("metaobj.common.objectives.train.draw", lambda trainer, run, charts: None)
        assert run("train", "lpg", "--run-dir", str(folder), *TINY.split()) == 0
    return folder


@pytest.fixture
def place(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with everything that can be in the way."""
    shutil.copytree(finished, tmp_path / "run")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious")
    (tmp_path / "file").write_text("precious")
    (tmp_path / "there.npz").write_text("precious")
    arrays, metadata = objective_file.load(finished)
    eta = objective_file.unflatten(arrays)
    whole = (finished / "objective.safetensors").read_bytes()
    (tmp_path / "truncated.safetensors").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flipped.safetensors").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    objective_file.save(tmp_path / "other.safetensors", eta, {**metadata, "kind": "other"})
    objective_file.save(tmp_path / "bare.safetensors", eta, {"kind": "lpg"})
    odd = {**metadata["objective"], "network": {**metadata["objective"]["network"], "colour": 3}}
    objective_file.save(tmp_path / "newer.safetensors", eta, {**metadata, "objective": odd})
    small = {**eta, "policy": {"kernel": jnp.zeros((3, 1)), "bias": jnp.zeros(1)}}
    objective_file.save(tmp_path / "small.safetensors", small, metadata)
    with monkeypatch.context() as patch:
        patch.setattr(objective_file, "FORMAT_VERSION", 99)
        objective_file.save(tmp_path / "version.safetensors", eta, metadata)
    for name, change in CONFIGS.items():
        (tmp_path / name).mkdir()
        record = json.loads((finished / "config.json").read_text())
        change(record)
        (tmp_path / name / "config.json").write_text(json.dumps(record))
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "config.json").write_text('{"format_')
    monkeypatch.setattr("metaobj.common.objectives.train.draw", lambda trainer, run, charts: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


CONFIGS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "foreign": lambda record: record["config"].update(colour=3),
    "mistyped": lambda record: record["config"].update(scale="three"),
    "unlisted": lambda record: record["config"].update(kl_weights=3),
    "future": lambda record: record.update(format_version=99),
}

WRONG: dict[str, str] = {
    # what is typed: what the line says
    "frobnicate": "'frobnicate' is unknown; choose from train, evaluate",
    "--versoin": "is unknown",
    "list everything": "'everything' given; choose from 'all', 'objectives'",
    "list --discrete --continuous": "discrete: given with --continuous; leave one of them out",
    "train dqn": "'dqn' is unknown; choose from disco, lpg",
    "train lpg --preset huge": "preset: 'huge' is unknown; choose from smoke",
    "train lpg --preset=huge": "preset: 'huge' is unknown",
    "train lpg --preset": "--preset: no value given",
    "train lpg --run-dir": "--run-dir: no value given",
    "train lpg --seed": "--seed: no value given",
    "train lpg --wandb": "--wandb: no value given",
    "train lpg extra": "'extra': is not expected",
    "train lpg --seed 1 2": "'2': is not expected after 1",
    "train lpg --nonsense 3": "--nonsense: is unknown; see metaobj train lpg --help",
    "train lpg --lerning-rate 3": "did you mean --learning-rate",
    "train lpg --units 3": "did you mean --network.units?",
    "train lpg --value.lambda 1": "did you mean --value.lambda_",
    "train lpg --seed x": "--seed: 'x' given; must be a whole number",
    "train lpg --seed 1.5": "--seed: '1.5' given; must be a whole number",
    "train lpg --devices x": "--devices: 'x' given; must be a whole number",
    "train lpg --discount x": "--discount: 'x' given; must be a number",
    "train lpg --schedule linear": "--schedule: 'linear' given; choose from 'constant', 'cosine'",
    "train lpg --remat yes": "'yes': is not expected after --remat",
    "train lpg --remat=yes": "--remat: takes no value",
    "train lpg --kl-weights a 1": "--kl-weights: 'a', '1' given; must be numbers",
    "train lpg --kl-weights": "kl_weights: nothing given",
    "train lpg --kl-weights nan": "kl_weights: nan given",
    "train lpg --kl-weights 1 -1": "kl_weights: 1.0 -1.0 given",
    "train lpg --distribution huge": "distribution: 'huge' is unknown; choose from small-layouts",
    "train lpg --distribution small_layouts": "did you mean small-layouts",
    "train lpg --distribution small-mix+": "distribution: '' is unknown",
    "train lpg --distribution nomodule:x": "cannot be imported",
    "train lpg --distribution tests.test_cli:NOT_ONE": "has no reset, step",
    "train lpg --distribution Pendulum-v1": "Pendulum-v1: action_space: Box",
    "train lpg --scale 0": "scale: 0 given; must be at least 1",
    "train lpg --scale=-3": "scale: -3 given",
    "train lpg --meta-updates 0": "meta_updates: 0 given",
    "train lpg --meta-updates 30000000000": "meta_updates: 30000000000 given",
    "train lpg --network.units 1000000000": "network.units: 1000000000 given; that needs at least 4.47e+10 GiB of mem",
    "train lpg --network.units 999999999999": "network.units: 999999999999 given; must be at least 1 and at most",
    "train lpg --sampler.window 1000000000": "sampler.window: 1000000000 given; that needs at least",
    "train lpg --scale 1000000000": "lifetimes: 32000000000 given; must be at least 1 and at most 2147483647",
    "train metagenrl --preset smoke --agent.hidden 1000000000": "agent.hidden: 1000000000 given; that needs at least",
    "train metagenrl --network.layers 1000": "network.layers: 1000 given; must be at least 1 and at most 64",
    "evaluate run --suite tiny-cli --seeds 2000000000": "seeds: 2000000000 given; so many agents of LPG on chain",
    "evaluate run --suite tiny-cli --seeds 99999999999": "seeds: 99999999999 given; must be at least 1",
    "train lpg --inner-updates 0": "inner_updates: 0 given",
    "train lpg --rollout-steps 0": "rollout_steps: 0 given",
    "train lpg --chunk 0": "chunk: 0 given",
    "train lpg --log-every 0": "log_every: 0 given",
    "train lpg --log-every 7": "must divide meta_updates (400) and checkpoint_every (100), as --log-every 5 does",
    "train lpg --checkpoint-every 5 --log-every 10": "and checkpoint_every (5), as --log-every 5 does",
    "train lpg --meta-updates 0 --log-every 5": "meta_updates: 0 given",
    "train lpg --lr 3": "--lr: is unknown; did you mean --learning-rate or --value.learning-rate?",
    "train lpg --qq 3": "--qq: is unknown; see",
    "train lpg --keep-checkpoints 0": "keep_checkpoints: 0 given",
    "train lpg --discount 1.5": "discount: 1.5 given; must be at least 0 and at most 1",
    "train lpg --learning-rate nan": "learning_rate: nan given; must be a finite number and greater than 0",
    "train lpg --learning-rate inf": "learning_rate: inf given",
    "train lpg --learning-rate 0": "learning_rate: 0.0 given; must be greater than 0",
    "train lpg --lifetime-gradient-clip -1": "lifetime_gradient_clip: -1.0 given",
    "train lpg --matmul-precision float16": "--matmul-precision: 'float16' given; choose from 'default', 'highest'",
    "train lpg --matmul-precision bfloat16": "matmul_precision: bfloat16 given; a CPU takes float32 alone",
    "train lpg --family-adam --lifetime-adam": "lifetime_adam: true given; must be false where family_adam is true",
    "train lpg --seed -1": "seed: -1 given",
    "train lpg --seed 99999999999999999999": "seed: 99999999999999999999 given",
    "train lpg --network.units 0": "network.units: 0 given",
    "train lpg --network.prediction-size 0": "network.prediction_size: 0 given",
    "train lpg --meta-loss.policy-entropy nan": "meta_loss.policy_entropy: nan given",
    "train lpg --sampler.window 0": "sampler.window: 0 given",
    "train lpg --sampler.temperature 0": "sampler.temperature: 0.0 given",
    "train lpg --value.lambda_ 2": "value.lambda_: 2.0 given",
    "train lpg --value.learning-rate nan": "value.learning_rate: nan given",
    "train lpg --devices 0": "devices: 0 given; there are",
    "train lpg --devices 999": "devices: 999 given; there are",
    "train lpg --run-dir run": "already holds a run; pass --resume",
    "train lpg --run-dir thesis": "is not empty and holds no run",
    "train lpg --run-dir file": "is a file; give a folder",
    f"train lpg --run-dir file/run {TINY}": "cannot be made",
    f"train lpg --run-dir /proc/metaobj {TINY}": "cannot be made",
    "train lpg --run-dir a[1]": "its path holds [ ]",
    "train lpg --run-dir empty --resume": "holds no run to resume",
    "train lpg --run-dir run --resume --seed 3": "cannot resume with another seed: the run has 0, given 3",
    "train lpg --run-dir run --resume --network.units 8": "cannot resume with another network.units: the run has 4",
    "train lpg --run-dir run --resume --preset smoke": "cannot resume with another distribution",
    "train lpg --run-dir foreign --resume": "of another kind of objective or version: colour does not fit",
    "train lpg --run-dir mistyped --resume": "scale: 'three' found; must be int",
    "train lpg --run-dir unlisted --resume": "kl_weights: 3 found; must be a list",
    "train lpg --run-dir future --resume": "its format version is 99",
    "train lpg --run-dir torn --resume": "is not the configuration of a run",
    "evaluate": "OBJECTIVE: missing",
    "evaluate run more": "'more': is not expected",
    "evaluate nowhere": "nowhere: no such file",
    "evaluate thesis": "thesis/objective.safetensors: no such file",
    "evaluate file": "file: is not a safetensors file, or is damaged",
    "evaluate truncated.safetensors": "is damaged",
    "evaluate flipped.safetensors": "does not match its digest",
    "evaluate other.safetensors": "other.safetensors: objective: 'other' is unknown; choose from disco, lpg",
    "evaluate bare.safetensors": "its metadata lacks configuration, entries",
    "evaluate newer.safetensors": "this version of lpg cannot be built from it",
    "evaluate small.safetensors": "the shape of its array policy/kernel is [3, 1]; must be [4, 1]",
    "evaluate version.safetensors": "its format version is 99",
    "evaluate pretrained:nothing": "no such pretrained objective",
    "evaluate run --suite huge": "suite: 'huge' is unknown; choose from held-out-layouts",
    "evaluate run --suite Pendulum-v1": "Pendulum-v1: action_space: Box",
    "evaluate run --suite control@0": "suite: 'control@0' given; what there is now is control@1",
    "evaluate run --suite tiny-cli+tiny-cli": "holds an environment twice",
    "evaluate run --seeds 0": "seeds: 0 given",
    "evaluate run --seeds x": "--seeds: 'x' given",
    "evaluate run --tuning-seeds 0": "tuning_seeds: 0 given",
    "evaluate run --seed -1": "seed: -1 given",
    "evaluate run --out file": "is a file; give a folder",
    "evaluate run --no-baselines --against A2C": "against: A2C given with --no-baselines; leave one of them out",
    "evaluate run --against SARSA": "SARSA: no such file; give an objective file, a run folder, or pretrained:NAME",
    "evaluate run --against DDPG": "DDPG: is for continuous actions; LPG's agents have discrete ones; choose from A2C,",
    "compare pretrained:metagenrl-demo MG --suite small-control": "agents have continuous ones; choose from DDPG",
    "evaluate run --suite control@7": "suite: 'control@7' given; what there is now is control@1",
    "evaluate run --steps 1": "steps: 1 given; one update on",
    "evaluate run --tuning nothing": "--tuning: 'nothing' given; choose from",
    "compare": "METHOD: missing",
    "compare A2C PPO": "suite: missing; baselines alone have no suite of their own",
    "compare run@7": "run@7: the run has kept no objective of that step; there are 1",
    "compare run pretrained:metagenrl-demo --suite tiny-cli": "chain/short: action_space: Discrete(n=2) given; this",
    "compare run A2C --baseline TD3 --suite tiny-cli": "baseline: 'TD3' given; choose from LPG, A2C",
    "matrix lpg --families small-layouts": "families: small-layouts given; must be two or more, all different",
    "matrix lpg --families small-layouts moon": "distribution: 'moon' is unknown",
    "export": "OBJECTIVE: missing",
    "export run": "--to: missing",
    "export run --to tensorflow": "--to: 'tensorflow' given; choose from 'numpy', 'torch'",
    "export run --to jax": "--to: 'jax' given; choose from 'numpy', 'torch'",
    "export nowhere --to numpy": "nowhere: no such file",
    "export pretrained:disco103 --to numpy": "is of kind disco; what can be exported is of kind lpg, lpo, metagenrl",
    "export run --to numpy --out rule.txt": "out: rule.txt given; must be the name of a Python module",
    "export run --to numpy --out my-rule.py": "out: my-rule.py given; must be the name of a Python module",
    "export run --to numpy --out file/rule.py": "is a file; give a folder",
    "export run --to numpy --out there.py": "out: there.py given; there.npz is there already",
    "watch": "METHOD: missing",
    "watch A2C": "--environment: missing",
    "watch A2C --environment CartPole-v1 --ages x": "--ages: 'x' given; must be numbers",
    "watch A2C --environment CartPole-v1 --ages 1 0": "ages: 1.0 0.0 given; must be one or more numbers from 0 to 1",
    "watch A2C --environment CartPole-v1 --out file": "is a file; give a folder",
    "inspect": "OBJECTIVE: missing",
    "inspect nowhere": "no such file",
    "inspect run --out file": "is a file; give a folder",
    "demo dqn": "'dqn' is unknown",
    "demo": "KIND: missing",
    "demo lpg --run-dir run": "already holds a run",
}


def contents(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


def refused(line: str, says: str, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = contents(place)
    capfd.readouterr()
    assert run(*line.split()) == 2
    err = capfd.readouterr().err
    assert err.startswith("metaobj: ") and err.endswith("\n") and err.count("\n") == 1, err
    assert says in err
    assert contents(place) == before


@pytest.mark.parametrize("line", WRONG)
def test_wrong_input(line: str, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused(line, WRONG[line], place, capfd)


def test_a_run_folder_in_use(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = json.loads((place / "run" / "config.json").read_text())["config"]
    with RunFolder.open(place / "run", config, resume=True):
        refused("train lpg --run-dir run --resume", "in use by another process", place, capfd)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
@pytest.mark.parametrize("line", ["train lpg --run-dir locked/run", "evaluate run --out locked/out"])
def test_an_unwritable_folder(line: str, place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (place / "locked").mkdir(mode=0o500)
    refused(line, "cannot be", place, capfd)


@pytest.mark.parametrize(("flag", "package"), [("--tensorboard", "tensorboardX"), ("--wandb project", "wandb")])
def test_a_missing_extra(
    flag: str, package: str, place: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *rest: None if name == package else find(name, *rest))
    refused(f"train lpg {flag}", f"the package {package} is not installed; install it with: ", place, capfd)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating")])
def test_more_than_fits_in_memory(
    error: Exception, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What could not be told beforehand."""

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("metaobj.common.meta.trainer.MetaTrainer.init", full)
    before = contents(place)
    assert run("train", "lpg", *TINY.split()) == 1
    assert capfd.readouterr().err.startswith("metaobj: out of memory; a smaller chunk")
    assert contents(place) == before


@pytest.mark.parametrize(("resume", "purged"), [(False, None), (True, 0)])
def test_sinks_know_whether_the_run_goes_on(
    resume: bool, purged: int | None, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 0 of a resumed run is not the start of a new one: points of a killed attempt are hidden."""
    told: list[Any] = []

    def trained(*_: Any, sinks: Callable[..., Any], **__: Any) -> Outcome:
        sinks(SimpleNamespace(path=place / "run", resumed=resume, config={}, run_id="1f"), 0)
        return Outcome(True, 0, place)

    monkeypatch.setattr("metaobj.common.objectives.train.meta_train", trained)
    monkeypatch.setattr("metaobj.common.command.cli._check_extra", lambda *_: None)
    metrics = "metaobj.common.runs.metrics"
    monkeypatch.setattr(f"{metrics}.TensorBoard", lambda folder, resumed_at: told.append((folder, resumed_at)))
    monkeypatch.setattr(f"{metrics}.WeightsAndBiases", lambda *arguments: told.append(arguments))
    assert run("train", "lpg", *TINY.split(), "--tensorboard", "--wandb", "project") == 0
    folder = place / "run"
    assert told == [(folder / "tensorboard", purged), (folder, "project", {}, "1f", "run")]


@pytest.mark.parametrize(
    ("given", "log_every", "checkpoint_every"),
    [
        ("--meta-updates 2", 2, 2),
        ("--meta-updates 7", 7, 7),
        ("--meta-updates 250", 10, 100),
        ("--meta-updates 255", 5, 100),
        ("--checkpoint-every 6", 2, 6),
        ("--meta_updates=30 --checkpoint-every 15", 5, 15),
        ("--meta-updates 20 --log-every 5 --checkpoint-every 10", 5, 10),
        ("--seed 3", 10, 100),
    ],
)
def test_the_interval_of_the_log_suits_what_is_given(
    given: str,
    log_every: int,
    checkpoint_every: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seen: list[Any] = []

    def trained(plugin: Any, config: Any, *_: Any, **__: Any) -> Outcome:
        seen.append(config)
        return Outcome(True, 0, Path("x"))

    monkeypatch.setattr("metaobj.common.objectives.train.meta_train", trained)
    assert run("train", "lpg", "--preset", "lpg-demo", *given.split()) == 0
    assert (seen[0].log_every, seen[0].checkpoint_every) == (log_every, checkpoint_every)
    assert (f"--log-every {log_every}" in capsys.readouterr().out) == (log_every != 10 and "--log-every" not in given)


def test_the_last_of_two_values_counts(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused("train lpg --preset smoke --preset huge", "preset: 'huge'", place, capfd)
    assert run("train", "lpg", "--run-dir", "thesis", "--run_dir", "run", "--resume") == 0


def test_a_finished_run_is_left_as_it_is(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (place / "run" / "objective.safetensors").read_bytes()
    assert run("train", "lpg", "--run-dir", "run", "--resume") == 0
    assert "done: run/objective.safetensors" in capfd.readouterr().out
    assert (place / "run" / "objective.safetensors").read_bytes() == before


@pytest.mark.slow
def test_evaluate(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = "evaluate run --suite tiny-cli --seeds 2 --tuning-seeds 2 --no-baselines --figures svg"
    assert run(*line.split()) == 0
    told = capfd.readouterr().out
    assert "learning_rate 40" in told and "; pictures as SVG too" in told
    assert (place / "run" / "evaluation-tiny-cli" / "learning_curves.svg").exists()
    record = json.loads((place / "run" / "evaluation-tiny-cli" / "evaluation.json").read_text())
    assert record["inputs"]["suite"] == "tiny-cli@1" and record["inputs"]["protocol"]["seeds"] == 2


@pytest.mark.slow
def test_inspect(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", "run/objective.safetensors", "--out", "pictures", "--figures", "pdf") == 0
    assert {path.stem for path in Path("pictures").glob("*.png")} == {
        path.stem for path in Path("pictures").glob("*.pdf")
    }
    *files, verdict = capfd.readouterr().out.splitlines()
    assert len(files) == 6 and all(Path(file).is_file() for file in files)
    assert "bootstrap" in verdict and "of optimal on chains of 4 to 32 steps" in verdict
    assert load_objective("run").plugin.kind == "lpg"
