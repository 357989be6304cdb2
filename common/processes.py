"""Several processes that run one program, on one host or many: how they find each other, and what they agree on.

Each runs the same code on the same configuration and holds a part of the population. The first alone writes.
"""

import errno
import importlib.util
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import jax
import numpy as np
from jax.experimental import multihost_utils

from metaobj.common.errors import UserError
from metaobj.common.types import PyTree

HEARTBEAT = 30
"""Seconds without a sign of life after which a process counts as lost."""
PARTING = 10
"""Seconds that a process which ends waits for the others to end as well."""
_BLOCK = 1024
"""Texts are exchanged in so many bytes and multiples of them, so that few programs are compiled."""


@dataclass(frozen=True)
class Cluster:
    """The processes of a run, as the command line or a launcher tells them to one of them."""

    coordinator: str | None = None
    """HOST:PORT of the first process."""
    process: int | None = None
    """This one's number, from 0."""
    processes: int | None = None
    """How many there are."""
    wait: int = 300
    """Seconds that they wait for each other at the start."""
    known: bool = False
    """Whether JAX finds by itself, from its launcher, what is not told."""


def find_cluster(given: Cluster, environment: Mapping[str, str]) -> Cluster | None:
    """The processes that this one belongs to; None where it is alone.

    Args:
        given: what the command line tells.
        environment: of the process, in which launchers tell the rest: Slurm, Open MPI, Kubernetes (an indexed Job, with
            the package `kubernetes`), JAX_COORDINATOR_ADDRESS.

    Raises:
        UserError: something is missing or out of its bounds.
    """
    for name, least in (("process", 0), ("processes", 1), ("wait", 1)):
        value = getattr(given, name)
        if value is not None and value < least:
            raise UserError(f"{name}: {value} given; must be at least {least}")
    alone = given.processes == 1
    told = Cluster() if alone else _launched(environment)
    coordinator = given.coordinator or environment.get("JAX_COORDINATOR_ADDRESS")
    process = given.process if given.process is not None else told.process
    processes = given.processes if given.processes is not None else told.processes
    if process is not None and processes is not None and process >= processes:
        raise UserError(f"process: {process} given; must be below processes, {processes}")
    if alone or (coordinator, process, processes) == (None, None, None):
        return None
    for name, value in (("coordinator", coordinator), ("process", process), ("processes", processes)):
        if value is None and not told.known:
            raise UserError(f"{name}: missing; --coordinator HOST:PORT, --process and --processes go together")
    if coordinator is not None:
        host, _, port = coordinator.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise UserError(f"coordinator: {coordinator} given; must be HOST:PORT of process 0, such as 10.0.0.1:8476")
    return Cluster(coordinator, process, processes, given.wait, told.known)


def _launched(environment: Mapping[str, str]) -> Cluster:
    """What a launcher of several processes tells."""
    if {"SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_LOCALID"} <= set(environment):  # not in a batch script itself
        process, processes, known = "SLURM_PROCID", "SLURM_NTASKS", True
    else:  # from its version 5 on, Open MPI does not tell where the first process is
        process, processes = "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"
        known = "OMPI_MCA_orte_hnp_uri" in environment
    if environment.get(process, "").isdecimal() and environment.get(processes, "1") != "1":
        return Cluster(process=int(environment[process]), processes=int(environment[processes]), known=known)
    index = environment.get("JOB_COMPLETION_INDEX", "")
    if index.isdecimal() and "KUBERNETES_SERVICE_HOST" in environment and importlib.util.find_spec("kubernetes"):
        return Cluster(process=int(index), known=True)  # the number of processes is asked for
    return Cluster()


def join(cluster: Cluster) -> None:
    """Become one of the cluster's processes. Must come before JAX is used.

    Raises:
        UserError: the others cannot be reached, or do not have as many devices each, or this is the first one and its
            port is taken.
    """
    if cluster.process == 0 and cluster.coordinator is not None:
        _check_free(cluster.coordinator)
    # It would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            cluster.coordinator,
            cluster.processes,
            cluster.process,
            cluster_detection_method=None if cluster.known else "deactivate",
            initialization_timeout=cluster.wait,
            heartbeat_timeout_seconds=HEARTBEAT,
            shutdown_timeout_seconds=PARTING,
        )
    except (RuntimeError, ValueError) as error:
        where = cluster.coordinator or "the launcher's host"
        raise UserError(f"coordinator: {where} cannot be joined: {str(error).splitlines()[0]}") from error
    held = [sum(device.process_index == at for device in jax.devices()) for at in range(jax.process_count())]
    if len(set(held)) > 1:
        raise UserError(f"processes: they have {held} devices; each must have as many (JAX_NUM_CPU_DEVICES on CPUs)")
    # The first that all do together connects them, for which CPUs are given half a minute: it is done while all are
    # here, and not when each has prepared what it will run, which takes some much longer where hosts are busy.
    largest(0)


def _check_free(coordinator: str) -> None:
    """On a port that others listen on JAX's service may end this process by a signal, without a word."""
    port = int(coordinator.rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    try:
        socket.create_server(
            ("", port), family=socket.AF_INET6 if both else socket.AF_INET, dualstack_ipv6=both
        ).close()
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            reason = "taken" if error.errno == errno.EADDRINUSE else "not for this user"
            raise UserError(f"coordinator: {coordinator} given; port {port} is {reason} on this host") from error


def leave() -> None:
    """Part from the others, who do so too; does nothing where there are none."""
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


def several() -> bool:
    """Whether there are other processes."""
    return jax.process_count() > 1


def process() -> int:
    """This one's number."""
    return jax.process_index()


def is_first() -> bool:
    """Whether this process is the one that writes."""
    return process() == 0


def everyones(text: str) -> list[str]:
    """What each process says; all must speak."""
    if not several():
        return [text]
    said = text.encode()
    sizes = multihost_utils.process_allgather(np.int32(len(said)))
    room = np.zeros(-(-max(int(sizes.max()), 1) // _BLOCK) * _BLOCK, np.uint8)
    room[: len(said)] = np.frombuffer(said, np.uint8)
    heard = multihost_utils.process_allgather(room)
    return [bytes(row[:size]).decode() for row, size in zip(heard, sizes, strict=True)]


def firsts(text: str) -> str:
    """What the first process says; all must speak."""
    return everyones(text if is_first() else "")[0]


def firsts_arrays(arrays: PyTree) -> PyTree:
    """What the first process has; all must give as many, of the same shapes and types."""
    return multihost_utils.broadcast_one_to_all(arrays) if several() else arrays


def largest(number: int) -> int:
    """The largest of the processes' numbers; all must tell theirs."""
    return int(multihost_utils.process_allgather(np.int32(number)).max()) if several() else number


@contextmanager
def agreed() -> Iterator[None]:
    """What is done in it succeeds in every process or in none: a `UserError` of one is raised by all.

    All must enter it, and nothing in it may wait for another process.
    """
    own: UserError | None = None
    try:
        yield
    except UserError as error:
        own = error
    told = everyones(str(own) if own is not None else "")
    if own is not None:
        raise own
    if (first := next(filter(None, told), None)) is not None:
        raise UserError(first)
