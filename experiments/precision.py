"""What less precise matrix products cost: objectives meta-trained with them, judged by fresh agents with full ones.

    python -m experiments.precision [--seeds SEED ...] [--only NAME ...]

A CPU multiplies in float32 alone. So every product of a meta-update, also those of its gradients, is of operands that
are rounded first, to as many bits as TF32 and bfloat16 have; sums are float32, as on accelerators. Agents are judged in
held-out layouts, at the best of a few learning rates there.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import tyro
from jax.extend.core.primitives import dot_general_p
from jax.extend.mlir.dialects import stablehlo
from jax.interpreters import mlir

from experiments.rows import Row, add, check_only, read
from experiments.script import run_script
from experiments.study import Task, Trained, columns, in_tasks, meta_trained
from metaobj.common.devices import use_all_cores
from metaobj.common.evaluation.suites import make_suite
from metaobj.common.objectives.benchmark import find_preset
from metaobj.common.objectives.contestants import learned
from metaobj.common.objectives.train import make_trainer

BITS = {"float32": 23, "TF32": 10, "bfloat16": 7, "3 bits": 3, "1 bit": 1}
"""Of a mantissa; all have eight bits of exponent. The last two are no machine's: they show when it begins to matter."""
TASK = "held-out-layouts"
COLUMNS = columns([TASK])


@dataclass(frozen=True)
class Arguments:
    """Meta-training with rounded matrix products."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Of meta-training."""
    only: tuple[str, ...] = ()
    """Some of the precisions."""
    preset: str = "lpg-demo"
    """Of LPG."""
    meta_updates: int = 400
    agents: int = 32
    """Fresh agents that judge an objective."""
    tuning_agents: int = 8
    """Those that a learning rate is chosen by."""
    out: Path = field(default=Path("experiments/results/precision/precision.csv"))
    """The table; what stands there already is not run again."""


@contextlib.contextmanager
def rounded_products(bits: int) -> Iterator[None]:
    """Whatever is compiled for a CPU meanwhile takes matrix products of float32 numbers that are rounded to so many
    bits of mantissa. It is done where programs are lowered, so that products of gradients are among them, by whatever
    function of JAX they are, and nothing else is rounded.
    """
    entry = mlir._platform_specific_lowerings["cpu"][dot_general_p]

    def lower(context: mlir.LoweringRuleContext, lhs: Any, rhs: Any, **given: Any) -> Any:
        sides = [
            stablehlo.reduce_precision(side, mlir.i32_attr(8), mlir.i32_attr(bits))
            if aval.dtype == jnp.float32  # type: ignore[attr-defined]  # arrays are all there is
            else side
            for side, aval in zip((lhs, rhs), context.avals_in, strict=True)
        ]
        return entry.rule(context, *sides, **given)

    mlir.register_lowering(dot_general_p, lower, platform="cpu")
    jax.clear_caches()  # what is compiled already
    try:
        yield
    finally:
        mlir._platform_specific_lowerings["cpu"][dot_general_p] = entry
        jax.clear_caches()


def main() -> None:
    """Run what the table does not hold yet."""
    arguments = tyro.cli(Arguments)
    use_all_cores()
    check_only(arguments.only, [*BITS])
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    plugin, preset = find_preset(f"lpg/{arguments.preset}")
    config = replace(plugin.presets[preset], meta_updates=arguments.meta_updates)
    for name in arguments.only or BITS:
        trainer = make_trainer(plugin, config)
        for seed in arguments.seeds:
            if any((row["variant"], row["seed"]) == (name, seed) for row in read(arguments.out)):
                continue
            with rounded_products(BITS[name]):
                ((share, loaded, metrics),) = meta_trained(plugin, Trained(config), trainer, seed)
            tasks = {TASK: Task(make_suite(TASK)[0])}
            row: Row = {"variant": name, "seed": seed, "share": share, **metrics}
            row["environment_steps"] = loaded.metadata["environment_steps"]
            row |= in_tasks(learned(loaded), tasks, arguments.agents, arguments.tuning_agents)
            add(arguments.out, COLUMNS, row)
            print(row, flush=True)


if __name__ == "__main__":
    run_script(main)
