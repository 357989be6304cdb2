"""Which parts of Disco's meta-loss move its weights, and how surely.

    python -m experiments.disco_parts FILE [--preset disco-cpu] [--inner-updates K] [--rounds ROUNDS] [--out FILE.csv]

Lifetimes of the preset live by the objective in the file, whose weights stay as they are. Of each part of the
meta-loss, weighed as the preset has it, the meta-gradients of all lifetimes over some meta-updates are averaged, each
coordinate in units of its root mean square in that lifetime, which is what an Adam for each lifetime makes of them. A
part whose average over every other meta-update points where that over the rest does is no noise.
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.flatten_util import ravel_pytree

from experiments.rows import Row, add
from experiments.script import run_script
from metaobj.common.agents.agent import Heads
from metaobj.common.devices import use_all_cores
from metaobj.common.errors import UserError
from metaobj.common.experience.batches import Batch
from metaobj.common.lifetimes.lifetime import Lifetime
from metaobj.common.meta.objectives import meta_loss
from metaobj.common.objectives.train import initial_weights, make_trainer
from metaobj.common.types import Metrics, PyTree
from metaobj.disco.config import PRESETS
from metaobj.disco.objective import Disco, DiscoMetaLoss
from metaobj.disco.plugin import plugin

COLUMNS = ("objective", "inner_updates", "part", "weight", "size", "agreement")
GAIN = "advantages"


@dataclass(frozen=True)
class Arguments:
    """Parts of Disco's meta-loss."""

    file: tyro.conf.Positional[Path]
    """An objective of the preset's sizes."""
    preset: Literal["disco-cpu", "disco-demo"] = "disco-cpu"
    inner_updates: int = 2
    """K."""
    age: int = 60
    """Meta-updates that lifetimes have lived before."""
    rounds: int = 16
    """Meta-updates that are looked at, at least 2."""
    out: Path = Path("disco_parts.csv")


@dataclass(frozen=True, eq=False)
class Weighed(Disco):
    """Judged by a weighed sum of the parts of its meta-loss."""

    weights: Any = ()
    """[parts]"""

    def meta_loss(
        self, heads: Heads, next_heads: Heads, batch: Batch, updates: Metrics, target: Heads | None = None
    ) -> tuple[jax.Array, Metrics]:
        weights = list(_weights(self.meta_loss_config).values())
        configs = [DiscoMetaLoss(*alone) for alone in np.diag(weights)]
        silent = DiscoMetaLoss(*np.zeros_like(weights))
        gain, metrics = Disco(self.config, silent).meta_loss(heads, next_heads, batch, updates, target)
        others = [Disco(self.config, c).meta_loss(heads, next_heads, batch, updates, target)[0] - gain for c in configs]
        return jnp.stack([gain, *others]) @ self.weights, metrics


def _weights(config: DiscoMetaLoss) -> dict[str, float]:
    return {field.name: getattr(config, field.name) for field in fields(config)}


def main() -> None:
    """Add to the table."""
    arguments = tyro.cli(Arguments)
    if arguments.rounds < 2:
        raise UserError(f"rounds: {arguments.rounds} given; must be at least 2")
    use_all_cores()
    lengths: dict[str, Any] = dict.fromkeys(("meta_updates", "log_every", "checkpoint_every"), arguments.age)
    config = replace(PRESETS[arguments.preset], start="none", inner_updates=arguments.inner_updates, **lengths)
    trainer = make_trainer(plugin, replace(config, learning_rate=1e-12), 1)  # the weights stay as they are
    state = trainer.init()
    state = replace(state, eta=jax.device_put(initial_weights("disco", str(arguments.file), state.eta)))
    state, _ = trainer.run_chunk(state)
    parts = {GAIN: 1.0, **_weights(config.meta_loss)}

    def loss(eta: PyTree, family: Any, lifetime: Lifetime, weights: jax.Array) -> tuple[jax.Array, Any]:
        rule = Weighed(config.network, config.meta_loss, weights)
        return meta_loss(config.meta_objective, family.program, rule, config.inner_updates, eta, lifetime, jnp.int32(0))

    @jax.jit
    def gradients(eta: PyTree, populations: tuple[Lifetime, ...]) -> tuple[jax.Array, tuple[Lifetime, ...]]:
        """[lifetimes, parts, numbers of eta], and the lifetimes a meta-update later."""

        def one(family: Any, lifetime: Lifetime) -> tuple[jax.Array, Lifetime]:
            def of(weights: jax.Array) -> tuple[jax.Array, Lifetime]:
                gradient, (after, _) = jax.grad(loss, has_aux=True)(eta, family, lifetime, weights)
                return ravel_pytree(gradient)[0], after

            found, after = jax.lax.map(of, jnp.eye(len(parts)))
            return found, jax.tree.map(lambda leaf: leaf[0], after)

        lived = [
            jax.lax.map(lambda lifetime, family=family: one(family, lifetime), population)
            for family, population in zip(trainer.families, populations, strict=True)
        ]
        return jnp.concatenate([found for found, _ in lived]), tuple(after for _, after in lived)

    populations, found = state.populations, []
    for _ in range(arguments.rounds):
        gradient, populations = gradients(state.eta, populations)
        found.append(np.asarray(gradient))
    all_of_them = np.stack(found)  # [rounds, lifetimes, parts, numbers of eta]
    unit = np.sqrt(np.mean(all_of_them.sum(2) ** 2, 0))[:, None] + 1e-12
    normalised = all_of_them / unit
    for at, (name, weight) in enumerate(parts.items()):
        mine = normalised[:, :, at]
        half, rest = mine[::2].mean((0, 1)), mine[1::2].mean((0, 1))
        norms = np.linalg.norm(half) * np.linalg.norm(rest)
        row: Row = {
            "objective": str(arguments.file),
            "inner_updates": arguments.inner_updates,
            "part": name,
            "weight": weight,
            "size": round(float(np.linalg.norm(mine.mean((0, 1)))), 3),
            "agreement": round(float(half @ rest / norms), 2) if norms else 0.0,
        }
        print(*row.values())
        add(arguments.out, COLUMNS, row)


if __name__ == "__main__":
    run_script(main)
