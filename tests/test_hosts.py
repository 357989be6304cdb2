"""One run in two processes, by the command: lost processes, signals, wrong input, and as the docs start it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cluster import ROOT, Ended, begin, end, flags, free_port, start, together

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("METAOBJ_TEST_KILLS", "2"))
UPDATES = 8 * KILLS + 8
TINY = (
    f"--distribution chain/short --scale 1 --meta-updates {UPDATES} --log-every 1 --checkpoint-every 4 "
    "--inner-updates 1 --rollout-steps 2 --network.units 4 --network.prediction-size 2 --network.embedding-units 2 "
    "--kl-weights 0.5 --life 0.02"
)
GONE = re.compile(r"metaobj: .* of the run is gone \(.*\); the same command with --resume goes on with those .*\n")
TIMING = ("seconds", "steps_per_second")


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is compiled once here is found again."""
    folder = str(tmp_path_factory.mktemp("programs"))
    return {
        "JAX_COMPILATION_CACHE_DIR": folder,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }


def command(folder: Path, *more: str) -> list[str]:
    return ["-m", "metaobj", "train", "lpg", "--run-dir", str(folder), *TINY.split(), *more]


@pytest.fixture(scope="module")
def straight(tmp_path_factory: pytest.TempPathFactory, programs: dict[str, str]) -> Path:
    """The folder of a run in two processes that nothing happened to."""
    folder = tmp_path_factory.mktemp("straight") / "run"
    first, second = together(command(folder), 2, **programs)
    assert first.status == second.status == 0, (first, second)
    assert f"done: {folder}" in first.out and first.err == second.out == second.err == ""
    assert {"config.json", "metrics.jsonl", "training.png"} <= set(os.listdir(folder))
    return folder


def rows(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def same(folder: Path, straight: Path) -> bool:
    assert [row["step"] for row in rows(folder)] == list(range(1, UPDATES + 1))
    assert rows(folder) == rows(straight)
    return (folder / "objective.safetensors").read_bytes() == (straight / "objective.safetensors").read_bytes()


def lines_in(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.exists() else 0


def until(folder: Path, step: int, processes: Sequence["subprocess.Popen[str]"]) -> None:
    """Wait until a run has come so far."""
    while lines_in(folder / "metrics.jsonl") < step:
        assert all(process.poll() is None for process in processes), [end(process) for process in processes]
        time.sleep(0.005)


def two(folder: Path, programs: dict[str, str], *more: str) -> list["subprocess.Popen[str]"]:
    port = free_port()
    return [start([*command(folder, *more), *flags(number, 2, port)], **programs) for number in (0, 1)]


def told_once(done: Ended, line: str, status: int = 2) -> bool:
    return done.status == status and re.fullmatch(rf"metaobj: {line}\n", done.err) is not None


def beneath(process: "subprocess.Popen[str]") -> list[int]:
    """The processes that one has started."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def test_killed_again_and_again_and_resumed(straight: Path, tmp_path: Path, programs: dict[str, str]) -> None:
    """One and the other by turns, at any moment, with all of it or only what runs below: the other one ends within a
    minute with one line, and both go on. What that comes to is what it would have been.
    """
    chance, folder = Random(0), tmp_path / "run"
    for kill in range(KILLS):
        victim, whole = kill % 2, kill % 4 < 2
        processes = two(folder, programs, *["--resume"] * (kill > 0))
        until(folder, lines_in(folder / "metrics.jsonl") + chance.randrange(1, 4), processes)
        time.sleep(chance.random() * 0.1)
        os.kill(processes[victim].pid if whole else beneath(processes[victim])[0], signal.SIGKILL)
        began = time.monotonic()
        other = end(processes[1 - victim], within=60)
        took, killed = time.monotonic() - began, end(processes[victim])
        assert other.status == 3 and GONE.fullmatch(other.err), (kill, other)
        if whole:
            assert killed.status == -signal.SIGKILL
        else:
            assert told_once(killed, f"process {victim} was ended by SIGKILL", 128 + signal.SIGKILL), killed
        print(f"process {victim} killed at step {len(rows(folder))}; the other ended after {took:.1f} s: {other.err}")
    first, second = (end(process) for process in two(folder, programs, "--resume"))
    assert first.status == second.status == 0, (first, second)
    assert "resumed from step" in first.out and first.err == second.out == second.err == ""
    assert same(folder, straight)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_stops_both(
    number: signal.Signals, straight: Path, tmp_path: Path, programs: dict[str, str]
) -> None:
    folder = tmp_path / "run"
    processes = two(folder, programs)
    until(folder, 5, processes)
    processes[1].send_signal(number)
    first, second = (end(process) for process in processes)
    assert first.status == second.status == 128 + number, (first, second)
    told = re.search(r"stopped at step (\d+) and saved; go on with: metaobj train lpg", first.out)
    assert told is not None and 5 <= int(told[1]) < UPDATES and second.out == first.err == second.err == ""
    assert (folder / "checkpoints" / told[1]).is_dir() and len(rows(folder)) == int(told[1])
    first, second = (end(process) for process in two(folder, programs, "--resume"))
    assert first.status == second.status == 0 and f"resumed from step {told[1]}" in first.out
    assert same(folder, straight)


def test_one_that_is_not_heard_of_any_more(tmp_path: Path, programs: dict[str, str]) -> None:
    """Its connections stand: the other one waits for it in the middle of a sum. Woken again, it is told so as well."""
    folder = tmp_path / "run"
    processes = two(folder, programs)
    until(folder, 5, processes)
    children = beneath(processes[1])
    for asleep in children:
        os.kill(asleep, signal.SIGSTOP)
    ended = end(processes[0], within=60)
    assert ended.status == 3 and GONE.fullmatch(ended.err) and "process 1 of the run" in ended.err, ended
    for asleep in children:
        os.kill(asleep, signal.SIGCONT)
    ended = end(processes[1], within=60)
    assert ended.status == 3 and GONE.fullmatch(ended.err), ended


def test_what_is_left_goes_on_alone(straight: Path, tmp_path: Path, programs: dict[str, str]) -> None:
    """One process goes on where two were, and from there three do."""
    folder = tmp_path / "run"
    processes = two(folder, programs)
    until(folder, 5, processes)
    processes[0].kill()
    other = end(processes[1], within=60)
    assert other.status == 3 and GONE.fullmatch(other.err), other
    end(processes[0])
    alone = start(command(folder, "--resume"), **programs)
    until(folder, 12, [alone])
    alone.send_signal(signal.SIGTERM)
    assert end(alone).status == 128 + signal.SIGTERM
    assert [done.status for done in together(command(folder, "--resume"), 3, **programs)] == [0, 0, 0]
    assert [row["step"] for row in rows(folder)] == list(range(1, UPDATES + 1))
    for one, other in zip(rows(folder), rows(straight), strict=True):
        assert one["ended"] == other["ended"] and one["reward"] == pytest.approx(other["reward"], abs=1e-3)


def test_nobody_answers(tmp_path: Path) -> None:
    port = free_port()
    began = time.monotonic()
    for number in (0, 1):
        where = [*flags(number, 2, port), "--wait", "5"]
        done = end(start([*command(tmp_path / "run"), *where]))
        said = rf"coordinator: 127.0.0.1:{port}: not all 2 processes met there within 5 s"
        assert told_once(done, said, 3), (number, done)
    assert time.monotonic() - began < 240 and not (tmp_path / "run").exists()


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        where = flags(0, 2, taken.getsockname()[1])
        done = end(start([*command(tmp_path / "run"), *where, "--wait", "5"]))
    assert told_once(done, r"coordinator: .* given; port \d+ is taken on this host"), done


def test_other_configurations_are_refused(tmp_path: Path, programs: dict[str, str]) -> None:
    port = free_port()
    started = [
        start([*command(tmp_path / "run", "--learning-rate", rate), *flags(number, 2, port)], **programs)
        for number, rate in enumerate(("0.001", "0.002"))
    ]
    line = "learning_rate: process 1 was given 0.002, process 0 0.001; all must be given the same"
    ended = [end(process) for process in started]
    assert all(told_once(done, line) for done in ended), ended
    assert not (tmp_path / "run").exists()


def test_what_only_the_first_can_tell_ends_both(straight: Path, programs: dict[str, str]) -> None:
    """That there is a run already; that a flag is wrong both find themselves."""
    ended = together(command(straight), 2, **programs)
    assert all(told_once(done, r"run folder .*: already holds a run; pass --resume .*") for done in ended), ended
    ended = together(command(straight, "--colour", "3"), 2, **programs)
    assert all(told_once(done, r"--colour: is unknown; .*") for done in ended), ended


@pytest.fixture
def commands(tmp_path: Path) -> Iterator[Path]:
    """A folder with the commands `metaobj`, `srun` for two tasks, and `scontrol`, which tells what it was asked."""
    folder = tmp_path / "commands"
    folder.mkdir()
    srun = """#!/bin/sh
    export SLURM_NTASKS=2 SLURM_STEP_NODELIST=127.0.0.1
    SLURM_PROCID=0 SLURM_LOCALID=0 "$@" & one=$!
    SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & two=$!
    wait $one; first=$?; wait $two; second=$?
    exit $((first > second ? first : second))
    """
    programs = {
        "metaobj": f'#!/bin/sh\nexec "{sys.executable}" -m metaobj "$@"\n',
        "srun": re.sub("\n +", "\n", srun),
        "scontrol": '#!/bin/sh\necho scontrol "$@"\n',
    }
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    yield folder


def documented(language: str, folder: Path) -> str:
    """The block of docs/cluster.md in this language, for a tiny run in a folder."""
    text = (ROOT / "docs" / "cluster.md").read_text()
    block = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert block is not None
    return block[1].replace("/shared/runs/paper", str(folder)).replace("--preset lpg-paper", TINY)


def shell(script: str, commands: Path, **environment: str) -> "subprocess.Popen[str]":
    return begin(["/bin/sh", "-c", script], PATH=f"{commands}:{os.environ['PATH']}", **environment)


def test_the_slurm_script(commands: Path, straight: Path, tmp_path: Path, programs: dict[str, str]) -> None:
    script = documented("bash", tmp_path / "run")
    done = end(shell(script, commands, SLURM_JOB_ID=str(free_port()), **programs))
    assert done.status == 0 and "done:" in done.out and "scontrol" not in done.out, done
    assert same(tmp_path / "run", straight)
    done = end(shell(script, commands, SLURM_JOB_ID=str(free_port()), **programs))
    assert done.status == 0 and "resumed from step" in done.out, done


def test_the_kubernetes_manifest(commands: Path, straight: Path, tmp_path: Path, programs: dict[str, str]) -> None:
    manifest = documented("yaml", tmp_path / "run").replace("paper-0.paper:8476", f"127.0.0.1:{free_port()}")
    script = re.search(r"args:\n +- \|\n(.*?)\n +resources:", manifest, re.DOTALL)
    assert script is not None
    pods = [shell(script[1], commands, JOB_COMPLETION_INDEX=str(number), **programs) for number in (0, 1)]
    ended = [end(pod) for pod in pods]
    assert [done.status for done in ended] == [0, 0], ended
    assert same(tmp_path / "run", straight)
