"""One meta-update, and compiled chunks of them."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from metaobj.common.devices import (
    AXIS,
    everywhere,
    launches_are_dear,
    make_mesh,
    quick_to_compile,
    shared_out,
    spread,
)
from metaobj.common.errors import UserError
from metaobj.common.keys import Purpose, stream
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Lifetime, Program, ProgramMaker
from metaobj.common.lifetimes.population import Family, begin, make_families, renew, sampler_grids
from metaobj.common.lifetimes.sampler import Sampler, SamplerState, make_sampler
from metaobj.common.meta.adams import first_adams
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.meta.evolution import es_gradient, perturbations
from metaobj.common.meta.gradient import meta_gradient
from metaobj.common.meta.together import exchange, own, summary_of
from metaobj.common.rules.on_policy import Objective
from metaobj.common.types import Metrics, PRNGKey, PyTree

_MATMUL_PRECISIONS = {"highest": "highest", "bfloat16": "BF16_BF16_F32"}
"""JAX's names of what the configuration may ask for; without one the products are left to JAX."""


@struct.dataclass
class TrainingState:
    """Everything that goes on from meta-update to meta-update."""

    step: jax.Array  # [] int32, meta-updates so far
    eta: PyTree
    optimiser: PyTree
    sampler: SamplerState
    populations: tuple[Lifetime, ...]  # one per family, [L, ...]
    met: tuple[PyTree, ...] = ()  # one per family, [L, ...] by leaf of eta: perturbations, where lifetimes are paired
    adams: tuple[PyTree, ...] = ()  # one per family, [L, ...] or one for each pair, where lifetimes have their own


@dataclass(frozen=True, eq=False)
class MetaTrainer:
    """An objective, what it is trained on and how: makes states and moves them on."""

    objective: Objective
    entries: Sequence[Entry]
    families: Sequence[Family[Any]]  # of `MetaProgram`s where updates are differentiated
    sampler: Sampler
    config: MetaTrainingConfig
    mesh: Mesh

    @classmethod
    def of(
        cls,
        objective: Objective,
        entries: Sequence[Entry],
        programs: ProgramMaker[Program[Any, Any]],
        hyperparameters: Mapping[str, Sequence[float]],
        config: MetaTrainingConfig,
        devices: int | None = None,
    ) -> Self:
        """The trainer of an objective on entries.

        Args:
            objective: what is trained.
            entries: what it is trained on.
            programs: how agents live there.
            hyperparameters: the grids that the sampler chooses from, beside the learning rates'.
            config: how it is trained.
            devices: over how many devices lifetimes are spread; all that are of use by default.

        Raises:
            UserError: agents cannot live so.
        """
        families = make_families(entries, programs, _pool(config), config.rollout_steps)
        sampler = make_sampler(sampler_grids(entries, hyperparameters), config.sampler, config.worlds)
        check_estimator(config, entries, families)
        check_precision(config, jax.default_backend())
        together = 2 if config.paired else 1
        mesh = make_mesh([family.lifetimes.size // together for family in families], devices)
        return cls(objective, entries, families, sampler, config, mesh)

    def seeded(self, seed: int) -> Self:
        """The same with another seed, which is in the first state alone: both share what is traced. Worlds that are
        drawn once from the seed need a trainer of their own.
        """
        assert not self.config.worlds
        other = replace(self, config=replace(self.config, seed=seed))
        other.__dict__["run_chunk"] = self.run_chunk  # where a cached property keeps its value
        return other

    @property
    def steps_per_update(self) -> int:
        """Environment steps of the whole population in one meta-update."""
        if self.config.paired:
            return sum(f.program.steps_per_update * self.config.inner_updates * f.lifetimes.size for f in self.families)
        gathers = self.config.meta_objective.gathers(self.config.inner_updates)
        return sum(f.program.steps_per_meta_update(gathers) * f.lifetimes.size for f in self.families)

    @property
    def first_steps(self) -> int:
        """Environment steps of the whole population before the first meta-update."""
        return sum(f.program.first_steps * f.lifetimes.size for f in self.families)

    @property
    def lifetimes(self) -> int:
        """How many there are."""
        return sum(f.lifetimes.size for f in self.families)

    @property
    def places(self) -> list[int]:
        """For each family how many lifetimes the devices hold: its own first, and some that only make up what they
        could not share equally. Those live, and count for nothing.
        """
        together = self._together
        limit = max(self.config.chunk // together, 1)
        return [together * shared_out(f.lifetimes.size // together, self.mesh.size, limit) for f in self.families]

    @property
    def _together(self) -> int:
        """How many lifetimes share a meta-gradient."""
        return 2 if self.config.paired else 1

    def rows(self, state: TrainingState) -> TrainingState:
        """For each array of a state, how many of its rows count; 0 where all of it does."""
        rows = jax.tree.map(lambda leaf: 0, state)

        def counted(parts: tuple[PyTree, ...], together: int = 1) -> tuple[PyTree, ...]:
            numbers = [f.lifetimes.size // together for f in self.families[: len(parts)]]
            return tuple(jax.tree.map(lambda leaf, n=n: n, part) for part, n in zip(parts, numbers, strict=True))

        return rows.replace(
            populations=counted(state.populations), met=counted(state.met), adams=counted(state.adams, self._together)
        )

    @cached_property
    def optimiser(self) -> optax.GradientTransformation:
        """Of eta."""
        rate: optax.ScalarOrSchedule = self.config.learning_rate
        if self.config.schedule == "cosine":
            rate = optax.cosine_decay_schedule(self.config.learning_rate, self.config.meta_updates)
        return optax.scale_by_learning_rate(rate) if self.config.lifetime_adam else optax.adam(rate)

    @property
    def _parts(self) -> list[list[int]]:
        """The families that each Adam learns from."""
        every = range(len(self.families))
        return [[at] for at in every] if self.config.family_adam else [list(every)]

    # The state of a single Adam stands alone, as in checkpoints of runs before there could be several.

    def _first_optimiser(self, eta: PyTree) -> PyTree:
        states = tuple(self.optimiser.init(eta) for _ in self._parts)
        return states if self.config.family_adam else states[0]

    def _learn(
        self, gradients: tuple[PyTree, ...], finite: jax.Array, eta: PyTree, optimiser: PyTree
    ) -> tuple[PyTree, PyTree]:
        """A step of each Adam, and their mean by lifetimes: (eta, optimiser).

        Args:
            gradients: for each Adam.
            finite: [parts] how many lifetimes each gradient is of. Where there are none there is nothing to learn from:
                momentum alone must not move eta.
            eta: the objective's weights.
            optimiser: what the Adams remember.
        """
        states = optimiser if self.config.family_adam else (optimiser,)
        total, new = jax.tree.map(jnp.zeros_like, eta), []
        for part, gradient, state, count in zip(self._parts, gradients, states, finite, strict=True):
            share = sum(self.families[at].lifetimes.size for at in part) / self.lifetimes
            updates, after = self.optimiser.update(gradient, state, eta)
            learns = count > 0
            total = jax.tree.map(lambda t, u, s=share, w=learns: t + jnp.where(w, s * u, 0), total, updates)
            new.append(jax.tree.map(lambda n, o, w=learns: jnp.where(w, n, o), after, state))
        return optax.apply_updates(eta, total), tuple(new) if self.config.family_adam else new[0]

    def init(self, purpose: Purpose = "training") -> TrainingState:
        """The state before the first meta-update, placed on the mesh; `purpose` names the stream of its keys."""
        whole, parted = everywhere(self.mesh), spread(self.mesh)
        parts = {
            "step": whole,
            "eta": whole,
            "optimiser": whole,
            "sampler": whole,
            "populations": parted,
            "met": parted,
            "adams": parted,
        }
        placed = TrainingState(**parts)  # type: ignore[arg-type]  # a tree prefix
        make = jax.jit(self.first, out_shardings=placed, compiler_options=quick_to_compile())
        return make(stream(self.config.seed, purpose))

    def first(self, key: PRNGKey) -> TrainingState:
        """That state as a function of a key: XLA would spend seconds on folding what is drawn from a constant one."""
        eta_key, *keys = jax.random.split(key, 1 + len(self.families))
        eta, sampler = self.objective.init(eta_key), self.sampler.init()
        populations = tuple(
            begin(
                family,
                self.sampler,
                sampler,
                jax.random.split(k, places),
                self.config.paired,
            )
            for family, k, places in zip(self.families, keys, self.places, strict=True)
        )
        return _strong(
            TrainingState(
                step=jnp.int32(0),
                eta=eta,
                optimiser=self._first_optimiser(eta),
                sampler=sampler,
                populations=populations,
                met=tuple(perturbations(eta, places) for places in self.places if self.config.paired),
                adams=tuple(
                    first_adams(eta, places // self._together) for places in self.places if self.config.lifetime_adam
                ),
            )
        )

    def step(self, state: TrainingState) -> tuple[TrainingState, Metrics]:
        """One meta-update: (state, metrics)."""
        parts, whole = PartitionSpec(AXIS), PartitionSpec()
        advance = jax.shard_map(
            self._advance,
            mesh=self.mesh,
            in_specs=(whole, whole, whole, parts, parts, parts),
            out_specs=(whole, whole, parts, parts, parts, whole),
            # The gradients are taken per device and summed by hand in `_advance`; with the check on, JAX would sum
            # gradients of the replicated eta by itself.
            check_vma=False,
        )
        (gradients, finite), sampler, populations, met, adams, metrics = advance(
            state.step, state.eta, state.sampler, state.populations, state.met, state.adams
        )
        eta, optimiser = self._learn(gradients, finite, state.eta, state.optimiser)
        shares = finite / jnp.maximum(jnp.sum(finite), 1)
        mean = jax.tree.map(lambda *parts: sum(s * g for s, g in zip(shares, parts, strict=True)), *gradients)
        metrics["meta_gradient_norm"] = jnp.where(jnp.sum(finite) > 0, optax.tree.norm(mean), jnp.nan)
        return TrainingState(
            step=state.step + 1,
            eta=eta,
            optimiser=optimiser,
            sampler=sampler,
            populations=populations,
            met=met,
            adams=adams,
        ), metrics

    def _advance(
        self,
        step: jax.Array,
        eta: PyTree,
        sampler: SamplerState,
        populations: tuple[Lifetime, ...],
        met: tuple[PyTree, ...],
        adams: tuple[PyTree, ...],
    ) -> tuple[
        tuple[tuple[PyTree, ...], jax.Array],
        SamplerState,
        tuple[Lifetime, ...],
        tuple[PyTree, ...],
        tuple[PyTree, ...],
        Metrics,
    ]:
        """On one device: K updates and meta-gradients of its lifetimes, then ends, reports and new beginnings.

        Returns:
            For each of `_parts` the mean meta-gradient over all devices, and of how many lifetimes it is [parts]; the
            sampler, the lifetimes, the perturbations they have met, what their Adams remember, and metrics.
        """
        each = adams or (None,) * len(self.families)
        counts = [own(family.lifetimes.size, p) for family, p in zip(self.families, populations, strict=True)]
        if self.config.paired:
            estimated = [
                es_gradient(self.objective, family, self.config, eta, population, pairs, adam, mask)
                for family, population, pairs, adam, mask in zip(
                    self.families, populations, met, each, counts, strict=True
                )
            ]
            totals, lived, met, each, metrics = zip(*estimated, strict=True)
        else:
            results = [
                meta_gradient(self.objective, family, self.config, eta, population, step, adam, mask)
                for family, population, adam, mask in zip(self.families, populations, each, counts, strict=True)
            ]
            totals, lived, each, metrics = zip(*results, strict=True)
        ended = [population.updates >= population.length for population in lived]
        over = [end | ~m["finite"] for end, m in zip(ended, metrics, strict=True)]
        parts = [jax.tree.map(lambda *leaves: sum(leaves), *(totals[at] for at in part)) for part in self._parts]
        sums, reports, largest = exchange(parts, lived, ended, over, metrics, counts, len(self.entries))

        finite = jnp.stack([sum(sums["finite"][at] for at in part) for part in self._parts])
        gradients = tuple(
            jax.tree.map(lambda leaf, n=count: leaf / jnp.maximum(n, 1), total)
            for total, count in zip(sums["gradients"], finite, strict=True)
        )
        sampler = self.sampler.update_all(sampler, *reports)
        populations = tuple(
            renew(family, self.sampler, sampler, population, which, at_once=launches_are_dear())
            for family, population, which in zip(self.families, lived, over, strict=True)
        )
        met = tuple(
            jax.tree.map(lambda leaf, w=which: jnp.where(w.reshape(-1, *(1,) * (leaf.ndim - 1)), 0.0, leaf), of)
            for of, which in zip(met, over, strict=False)
        )
        summary = summary_of(sums, jnp.sum(finite), largest)
        begun = zip(self.families, sums["begun"], strict=True)
        summary["first_steps"] = sum(family.program.first_steps * number for family, number in begun)
        return (gradients, finite), sampler, populations, met, each if adams else (), summary

    @cached_property
    def run_chunk(self) -> jax.stages.Wrapped:
        """`log_every` meta-updates, compiled; takes the state's memory. Metrics [log_every, ...]."""

        def chunk(state: TrainingState) -> tuple[TrainingState, Metrics]:
            precision = _MATMUL_PRECISIONS.get(self.config.matmul_precision)
            with jax.default_matmul_precision(precision) if precision else contextlib.nullcontext():
                return jax.lax.scan(lambda s, _: self.step(s), state, None, length=self.config.log_every)

        return jax.jit(chunk, donate_argnums=0, compiler_options=quick_to_compile())


def check_precision(config: MetaTrainingConfig, backend: str) -> None:
    """Raises:
    UserError: the backend cannot take matrix products so.
    """
    if backend == "cpu" and config.matmul_precision == "bfloat16":
        raise UserError("matmul_precision: bfloat16 given; a CPU takes float32 alone: must be default or highest")


def check_estimator(config: MetaTrainingConfig, entries: Sequence[Entry], families: Sequence[Family[Any]]) -> None:
    """Raises:
    UserError: lifetimes cannot be paired, or their learning cannot be differentiated.
    """
    if config.paired:
        for entry in entries:
            if entry.lifetimes % 2:
                raise UserError(
                    f"{entry.environment}.lifetimes: {entry.lifetimes} given; must be even for {config.estimator}"
                )
        return
    for family in families:
        if not hasattr(family.program, "begin_trial"):
            kind = type(family.program).__name__
            raise UserError(f"estimator: backprop given; {kind} cannot be differentiated, choose an evolution strategy")


def _pool(config: MetaTrainingConfig) -> PRNGKey | None:
    """Keys of the worlds that there are, where there are so many and no more."""
    return jax.random.split(stream(config.seed, "worlds"), config.worlds) if config.worlds else None


def _strong(tree: PyTree) -> PyTree:
    """The same with types that do not bend to what a number is combined with, as restored arrays are: a resumed run is
    then the same program, found compiled where compilations are cached.
    """

    def strong(leaf: jax.Array) -> jax.Array:
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return leaf
        return jax.lax.convert_element_type(leaf, leaf.dtype)

    return jax.tree.map(strong, tree)
