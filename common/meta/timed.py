"""A meta-update as it runs on this machine: compiled, timed, and what memory it takes."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax

from metaobj.common.memory import check_fits, least_memory, size_of
from metaobj.common.meta.trainer import MetaTrainer


class MetaUpdate:
    """A compiled chunk of meta-updates that keeps its state; calling it takes `log_every` of them.

    Attributes:
        trace_seconds: of making the program's jaxpr.
        compile_seconds: of tracing and compiling.
        jaxpr: what was traced.

    Raises:
        UserError: memory cannot hold what is kept of a chunk's steps.
    """

    def __init__(self, trainer: MetaTrainer) -> None:
        self.trainer = trainer
        self.state = trainer.init()
        begun = time.perf_counter()
        traced = trainer.run_chunk.trace(self.state)
        self.trace_seconds = time.perf_counter() - begun
        self.jaxpr = traced.jaxpr.jaxpr
        check_fits(least_memory(self.jaxpr), trainer.config)
        self.compiled = traced.lower().compile()
        self.compile_seconds = time.perf_counter() - begun

    def __call__(self) -> Any:
        self.state, metrics = self.compiled(self.state)
        return self.state.step, metrics

    @property
    def state_megabytes(self) -> float:
        """Of the training state, on all devices together."""
        return size_of(self.state) / 1e6

    @property
    def temporary_megabytes(self) -> float:
        """What the compiled program allocates beside its arguments and results, on all devices together."""
        analysis = self.compiled.memory_analysis()
        assert analysis is not None
        return analysis.temp_size_in_bytes * self.trainer.mesh.size / 1e6


def timed(function: Callable[[], Any]) -> tuple[float, float]:
    """(wall seconds, CPU seconds of all threads) of a call, its result awaited."""
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(function())
    return time.perf_counter() - wall, time.process_time() - cpu


def median(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The medians of wall and CPU seconds."""
    walls, cpus = zip(*pairs, strict=True)
    return sorted(walls)[len(walls) // 2], sorted(cpus)[len(cpus) // 2]


def warm_up(run: Callable[[], Any]) -> None:
    """The first calls find memory that the system has not handed out yet, and take twice as long."""
    for _ in range(3):
        jax.block_until_ready(run())
