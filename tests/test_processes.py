"""How processes find each other, what they agree on, and how the one above a process tells of its end."""

import re
import shlex
import signal
import socket
import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from pathlib import Path
from string import Template

import pytest

from metaobj.common.command.arguments import with_configuration
from metaobj.common.command.cli import main
from metaobj.common.command.configured import starting_configuration
from metaobj.common.command.options import RunArguments
from metaobj.common.command.supervised import LOST, is_loss, supervise
from metaobj.common.errors import UserError
from metaobj.common.objectives.plugin import get_plugin
from metaobj.common.processes import Cluster, agreed, everyones, find_cluster, firsts, firsts_arrays, join, largest
from tests.cluster import ROOT, together

HERE = "10.0.0.1:8476"
SLURM = {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "n[1-2]", "SLURM_LOCALID": "0"} | {
    "SLURM_PROCID": "1",
    "SLURM_NTASKS": "2",
}
MPI = {"OMPI_COMM_WORLD_RANK": "3", "OMPI_COMM_WORLD_SIZE": "4"}
MPI_4 = {**MPI, "OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://10.96.0.1:34911"}
KUBERNETES = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "2"}


@pytest.mark.parametrize(
    ("given", "environment", "found"),
    [
        (Cluster(), {}, None),
        (Cluster(processes=1), SLURM, None),
        (Cluster(), {**SLURM, "SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, None),
        (Cluster(), {name: value for name, value in SLURM.items() if name != "SLURM_STEP_NODELIST"}, None),
        (Cluster(), KUBERNETES, None),  # without the package that asks it
        (Cluster(HERE, 1, 2, 9), {}, Cluster(HERE, 1, 2, 9)),
        (Cluster(process=1, processes=2), {"JAX_COORDINATOR_ADDRESS": HERE}, Cluster(HERE, 1, 2)),
        (Cluster(), SLURM, Cluster(None, 1, 2, known=True)),
        (Cluster(), MPI_4, Cluster(None, 3, 4, known=True)),
        (Cluster(HERE), MPI, Cluster(HERE, 3, 4)),
    ],
)
def test_a_process_finds_its_cluster(given: Cluster, environment: dict[str, str], found: Cluster | None) -> None:
    assert find_cluster(given, environment) == found


def test_kubernetes_is_asked_where_it_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: ModuleSpec(name, None))
    assert find_cluster(Cluster(), KUBERNETES) == Cluster(None, 2, None, known=True)


WRONG = [
    ("--process 2 --processes 2 --coordinator a:1", "process: 2 given; must be below processes, 2"),
    ("--process -1 --processes 2 --coordinator a:1", "process: -1 given; must be at least 0"),
    ("--process 0 --processes 0 --coordinator a:1", "processes: 0 given; must be at least 1"),
    ("--process 0 --processes 2 --coordinator a:1 --wait 0", "wait: 0 given; must be at least 1"),
    ("--coordinator a:1", "process: missing; --coordinator HOST:PORT, --process and --processes go together"),
    ("--coordinator a:1 --process 0", "processes: missing; --coordinator HOST:PORT"),
    ("--process 0 --processes 2", "coordinator: missing; --coordinator HOST:PORT"),
    ("--process 0 --processes 2 --coordinator a", "coordinator: a given; must be HOST:PORT of process 0"),
    ("--process 0 --processes 2 --coordinator a:70000", "coordinator: a:70000 given; must be HOST:PORT"),
    ("--process one --processes 2 --coordinator a:1", "--process: one given; must be a whole number"),
]


@pytest.mark.parametrize(("flags", "line"), WRONG)
def test_wrong_flags_are_told_in_one_line(flags: str, line: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["train", "lpg", *flags.split()])
    err = capfd.readouterr().err
    assert left.value.code == 2
    assert err.startswith(f"metaobj: {line}") and err.count("\n") == 1


def test_one_process_agrees_with_itself() -> None:
    assert (everyones("a"), firsts("a"), firsts_arrays({"a": 1.0}), largest(3)) == (["a"], "a", {"a": 1.0}, 3)
    with pytest.raises(UserError, match="mine"), agreed():
        raise UserError("mine")


PAGE = r"""
E1126 23:02:25.690080    9235 coordination_service_agent.cc:289] Polled an error from coordination service
F1126 23:02:48.512639 9382 client.h:80] Terminating process because the JAX distributed service detected fatal errors.
The following tasks are unhealthy (stopped sending heartbeats):
3
The tasks have crashed.
*** Check failure stack trace: ***
    @     0x7f4c2d440634  absl::lts_20260107::log_internal::LogMessage::SendToLog()
"""
UNMET = r"""
F1126 22:58:43.687612 8368 client.h:80] Terminating process because the JAX distributed service detected fatal errors.
RPC: /xla.coordination.CoordinationService/RegisterTask
"""


@pytest.mark.parametrize(
    ("program", "status", "said"),
    [
        (
            f"echo before >&2; cat >&2 <<'E'{PAGE}E\nkill -ABRT $$",
            LOST,
            "before\nmetaobj: process 3 of the run is gone (",
        ),
        (f"cat >&2 <<'E'{UNMET}E\nkill -ABRT $$", LOST, f"metaobj: coordinator: {HERE}: not all 2 processes met there"),
        ("kill -KILL $$", 137, "metaobj: process 1 was ended by SIGKILL"),
        ("echo spoken >&2; exit 5", 5, "spoken\nmetaobj: process 1 ended with status 5"),
    ],
)
def test_an_end_is_told_in_one_line(
    program: str,
    status: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Of a program in the place of the one below, which the runtime ends or which ends in another way."""
    below = tmp_path / "python"
    below.write_text(f"#!/bin/sh\n{program}\n")
    below.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(below))
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    assert supervise(["train"], Cluster(HERE, 1, 2)) == status
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    err = capfd.readouterr().err
    assert err.startswith(said) and err.count("\n") == said.count("\n") + 1


def test_which_errors_tell_that_another_one_is_gone() -> None:
    gone = "UNKNOWN: Gloo AllGather failed: [pair.cc:547] Connection closed by peer [127.0.0.1]:43659"
    assert (
        is_loss(ValueError(gone)) and not is_loss(ValueError("shapes do not match")) and not is_loss(KeyError("gloo"))
    )


def documented(**variables: str) -> list[list[str]]:
    """The commands in docs/cluster.md, as a shell with these variables gives them to the program."""
    text = (ROOT / "docs" / "cluster.md").read_text().replace("\\\n", " ")
    blocks = "\n".join(re.findall(r"^```.*\n((?:.*\n)*?)```", text, re.MULTILINE))
    return [shlex.split(Template(line).substitute(variables)) for line in re.findall("metaobj (train .*)", blocks)]


def test_the_documented_commands_are_those_of_the_program() -> None:
    """Here they are read; `test_hosts.py` runs them."""
    variables = {"RUN": "/shared/runs/paper", "RESUME": "--resume", "JOB_COMPLETION_INDEX": "1"}
    found = []
    for command, kind, *rest in documented(**variables):
        plugin = get_plugin(kind)
        run, config = with_configuration(
            RunArguments(), starting_configuration(plugin, rest), rest, f"{command} {kind}"
        )
        assert config == plugin.presets["lpg-paper"] and str(run.run_dir) == "/shared/runs/paper"
        given = Cluster(run.coordinator, run.process, run.processes, run.wait)
        found.append((find_cluster(given, {} if run.coordinator else SLURM), run.resume))
    first, second = (Cluster(HERE, number, 2) for number in (0, 1))
    pod = Cluster("paper-0.paper:8476", 1, 2)
    assert found == [(first, False), (second, False), (Cluster(None, 1, 2, known=True), True), (pod, True)]


def test_the_manifest_names_its_own_pods() -> None:
    yaml = import_module("yaml")
    text = (ROOT / "docs" / "cluster.md").read_text()
    service, job = yaml.safe_load_all(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)[0])
    name, wanted = job["metadata"]["name"], job["spec"]
    pod = wanted["template"]["spec"]
    assert service["metadata"]["name"] == pod["subdomain"] and service["spec"]["selector"] == {"job-name": name}
    script = pod["containers"][0]["args"][0]
    assert f"--coordinator {name}-0.{pod['subdomain']}:" in script
    assert f"--processes {wanted['completions']}\n" in script and wanted["completions"] == wanted["parallelism"]
    (mount,), (volume,) = pod["containers"][0]["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"] and f"RUN={mount['mountPath']}/" in script


MEETING = """
import sys
from pathlib import Path
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from metaobj.common.errors import UserError
from metaobj.common.processes import (
    Cluster, agreed, everyones, firsts, firsts_arrays, is_first, join, largest, leave, process
)
from metaobj.common.runs.checkpoint import Checkpoints
from metaobj.common.runs.run_folder import RunFolder, check_same_everywhere

folder, _, address, _, number, _, processes = sys.argv[1:]
join(Cluster(address, int(number), int(processes)))
mine = process()
assert everyones("x" * mine) == ["", "x"] and firsts("one" if is_first() else "two") == "one"
assert largest(7 - mine) == 7
heard = firsts_arrays({"weights": np.float32([0.1, -3e-30]) * (1 + mine), "count": np.int32(mine)})
assert heard["weights"].tobytes() == np.float32([0.1, -3e-30]).tobytes() and int(heard["count"]) == 0

def refused(act):
    try:
        act()
    except UserError as error:
        return str(error)

def fail(which):
    with agreed():
        if mine == which:
            raise UserError(f"from {which}")

assert [refused(lambda: fail(which)) for which in (0, 1, 2)] == ["from 0", "from 1", None]
check_same_everywhere({"a": {"b": 1}})
assert refused(lambda: check_same_everywhere({"a": {"b": mine}})) == (
    "a.b: process 1 was given 1, process 0 0; all must be given the same"
)

with RunFolder.open(folder, {"a": 1}) as run:
    assert run.run_id == firsts(run.run_id)
    # Five rows that count, of six; and what every process has.
    parted = NamedSharding(Mesh(np.array(jax.devices()), ("rows",)), PartitionSpec("rows"))
    whole = NamedSharding(parted.mesh, PartitionSpec())
    make = lambda first: {
        "rows": jax.jit(lambda: first + jnp.arange(12.0).reshape(6, 2), out_shardings=parted)(),
        "keys": jax.jit(lambda: jax.random.split(jax.random.key(first), 6), out_shardings=parted)(),
        "whole": jax.jit(lambda: jnp.full(3, first), out_shardings=whole)(),
    }
    rows = {"rows": 5, "keys": 5, "whole": 0}
    checkpoints = Checkpoints(run.checkpoints, 2, rows=rows)
    for step in (1, 2, 3):
        checkpoints.save(step, make(step), {"step": step})
    assert checkpoints.steps() == [2, 3]
    step, found, extra = checkpoints.restore_latest(make(9))
    assert step == 3 and extra == {"step": 3}
    wanted = jnp.arange(12.0).reshape(6, 2) + jnp.array([3, 3, 3, 3, 3, 9.0])[:, None]
    for shard in found["rows"].addressable_shards:
        np.testing.assert_array_equal(shard.data, wanted[shard.index])
    assert int(found["whole"][0]) == 3
    with agreed():
        pass
    files = sorted((run.checkpoints / "3").rglob("*"))
    damaged = next(path for path in files if path.is_file() and path.stat().st_size)
    with agreed():
        if not is_first():
            damaged.write_bytes(b"")
    assert checkpoints.restore_latest(make(9))[0] == 2
    checkpoints.close()
leave()
"""


@pytest.mark.slow
def test_two_processes_agree_and_save_together(tmp_path: Path) -> None:
    for done in together(["-W", "error", "-c", MEETING, str(tmp_path / "run")], 2):
        assert done.status == 0, done.err


LATE = """
import sys, time
from metaobj.common.processes import Cluster, join, largest, leave, process

_, _, address, _, number, _, processes = sys.argv
join(Cluster(address, int(number), int(processes)))
time.sleep(35 * process())
assert largest(process()) == 1
leave()
"""


@pytest.mark.slow
def test_one_may_come_later_than_the_other() -> None:
    """By more than the half minute in which CPUs would have to be connected."""
    for done in together(["-c", LATE], 2):
        assert done.status == 0, done.err


@pytest.mark.parametrize("host", ["0.0.0.0", "127.0.0.1"])
def test_a_port_that_others_listen_on_is_told_by_the_first(host):
    with socket.create_server((host, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=rf"coordinator: here:{port} given; port {port} is taken on this host"):
            join(Cluster(f"here:{port}", 0, 2, 1))
