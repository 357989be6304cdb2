"""A population: lifetimes of several families, their ends and new beginnings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.environments.protocol import sample_params
from metaobj.common.environments.registry import make_environment
from metaobj.common.errors import LengthError, UserError
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth, Lifetime, ProgramMaker, ProgramType
from metaobj.common.lifetimes.sampler import Sampler, SamplerState
from metaobj.common.types import Hyperparameters, PRNGKey, PyTree


@dataclass(frozen=True, eq=False)
class Family(Generic[ProgramType]):
    """Lifetimes that share one program."""

    program: ProgramType
    tasks: tuple[int, ...]  # indices of its environments in the distribution
    specs: PyTree  # [tasks, ...] what each environment's params are drawn from
    updates: np.ndarray  # [tasks] lifetime lengths
    lifetimes: np.ndarray  # [L] for each lifetime, the index of its environment within `tasks`
    pool: PRNGKey | None = None  # [N] keys of all worlds that there are; None where each is another one

    def draw_params(self, key: PRNGKey, member: int | jax.Array = 0, world: jax.Array | None = None) -> PyTree:
        """The environment's params for a lifetime in the member-th of its tasks; where it has so many worlds and no
        more, in the one of this index, or in any.
        """
        if self.pool is not None:
            if world is None:
                world = jax.random.randint(key, (), 0, self.pool.shape[0])
            key = jax.random.fold_in(self.pool[world], member)
        spec = jax.tree.map(lambda leaf: jnp.asarray(leaf)[member], self.specs)
        return sample_params(self.program.environment, key, spec)

    def start(
        self,
        params_key: PRNGKey,
        key: PRNGKey,
        hyperparameters: Hyperparameters,
        length: jax.Array | int,
        member: int | jax.Array = 0,
        setting: int | jax.Array = 0,
        reports: bool | jax.Array = True,
        world: jax.Array | None = None,
    ) -> Any:
        """A new agent in a new world of the member-th task, which `params_key` draws; see `Birth` for the rest."""
        task = jnp.asarray(self.tasks, jnp.int32)[member]
        params = self.draw_params(params_key, member, world)
        return self.program.start(key, Birth(params, hyperparameters, length, task, setting, reports, world))


def make_families(
    entries: Sequence[Entry],
    make_program: ProgramMaker[ProgramType],
    pool: PRNGKey | None = None,
    rollout_steps: int | None = None,
) -> list[Family[ProgramType]]:
    """Group the entries of a distribution by program.

    Args:
        entries: what lifetimes there are.
        make_program: how agents live in an entry's environment.
        pool: [N] keys, where each entry has N worlds and no more.
        rollout_steps: T of the entries' updates: a program whose own are longer makes fewer of them in a life. By
            default an entry tells the program's own.

    Raises:
        UserError: an entry is impossible: its environment unknown, its sizes not positive, its agent unsuitable, its
            lives shorter than an update.
    """
    groups: dict[ProgramType, list[int]] = {}
    specs, updates = [], []
    for index, entry in enumerate(entries):
        for name in ("lifetimes", "num_environments", "updates"):
            if getattr(entry, name) < 1:
                raise UserError(f"{entry.environment}.{name}: {getattr(entry, name)} given; must be at least 1")
        environment, spec = make_environment(entry.environment, entry.split)
        try:
            program = make_program(entry, environment)
        except UserError as error:
            raise type(error)(f"{entry.environment}: {error}") from None
        groups.setdefault(program, []).append(index)
        specs.append(spec)
        steps = program.steps_per_update if rollout_steps is None else rollout_steps * entry.num_environments
        length = entry.updates * steps // program.steps_per_update
        if length < 1:
            raise LengthError(
                f"{entry.environment}.updates: {entry.updates} given; lives of {entry.updates * steps} steps are "
                f"shorter than one update of their agents, of {program.steps_per_update}"
            )
        updates.append(length)
    return [
        Family(
            program=program,
            tasks=tuple(members),
            specs=jax.tree.map(lambda *leaves: np.stack(leaves), *(specs[i] for i in members)),
            updates=np.array([updates[i] for i in members], np.int32),
            lifetimes=np.concatenate([np.full(entries[i].lifetimes, at) for at, i in enumerate(members)]),
            pool=pool,
        )
        for program, members in groups.items()
    ]


def begin(
    family: Family[Any],
    sampler: Sampler,
    state: SamplerState,
    keys: PRNGKey,
    paired: bool = False,
) -> Lifetime:
    """New lifetimes, staggered: the first life of the i-th of L is cut to (i + 1) / L of its length, so that ends are
    spread evenly from the start. Cut lives do not report to the sampler.

    Args:
        keys: [P], one each; where there are more than the family's L lifetimes, the others make up for what devices
            cannot share equally, and are there again, with lives and luck of their own.
        paired: the two of each pair, side by side, begin alike. They end alike too, and begin alike again: all that is
            drawn goes by their keys.
    """
    members = jnp.asarray(np.resize(family.lifetimes, keys.shape[0]))
    size = family.lifetimes.size // 2 if paired else family.lifetimes.size
    # A fixed shuffle, so that each environment's lifetimes are spread as well.
    shares = (np.random.default_rng(0).permutation(size) + 1) / size
    if paired:
        shares, keys = np.repeat(shares, 2), jnp.repeat(keys[::2], 2)

    def one(key: PRNGKey, member: jax.Array, share: jax.Array) -> Lifetime:
        full = jnp.asarray(family.updates)[member]
        length = jnp.ceil(share * full).astype(jnp.int32)
        return _renewed(family, sampler, state, key, member, length, length == full)

    return jax.vmap(one)(keys, members, jnp.asarray(np.resize(shares, keys.shape[0])))


def _renewed(
    family: Family[Any],
    sampler: Sampler,
    state: SamplerState,
    key: PRNGKey,
    member: jax.Array,
    length: jax.Array,
    reports: jax.Array,
) -> Lifetime:
    params_key, setting_key, key = jax.random.split(key, 3)
    task = jnp.asarray(family.tasks, jnp.int32)[member]
    setting, hyperparameters = sampler.sample(setting_key, state, task)
    world = sampler.sample_world(params_key, state, task)
    return family.start(params_key, key, hyperparameters, length, member, setting, reports, world)


def renew(
    family: Family[Any],
    sampler: Sampler,
    state: SamplerState,
    population: Lifetime,
    ended: jax.Array,
    at_once: bool = False,
) -> Lifetime:
    """Start the lifetimes in `ended` [L] anew.

    One by one in place, so that the cost follows the number of ends; or `at_once`, one for each of the population, most
    of them for nothing: on an accelerator one new lifetime takes as long as many. Both give the same.
    """
    member_of_task = np.zeros(max(family.tasks) + 1, np.int32)
    member_of_task[list(family.tasks)] = np.arange(len(family.tasks))

    def one(key: PRNGKey, task: jax.Array) -> Lifetime:
        member = jnp.asarray(member_of_task)[task]
        full = jnp.asarray(family.updates)[member]
        return _renewed(family, sampler, state, key, member, full, jnp.bool_(True))

    def all_at_once() -> Lifetime:
        def choose(old: jax.Array, new: jax.Array) -> jax.Array:
            return jnp.where(ended.reshape(-1, *(1,) * (old.ndim - 1)), new, old)

        return jax.tree.map(choose, population, jax.vmap(one)(population.key, population.task))

    if at_once:
        return jax.lax.cond(jnp.any(ended), all_at_once, lambda: population)

    def body(carry: tuple[Lifetime, jax.Array]) -> tuple[Lifetime, jax.Array]:
        population, left = carry
        i = jnp.argmax(left)
        new = one(population.key[i], population.task[i])
        return jax.tree.map(lambda p, n: p.at[i].set(n), population, new), left.at[i].set(False)

    return jax.lax.while_loop(lambda carry: jnp.any(carry[1]), body, (population, ended))[0]


def sampler_grids(entries: Sequence[Entry], shared: Mapping[str, Sequence[float]]) -> list[dict[str, Sequence[float]]]:
    """Each entry's grid of hyperparameters: its own learning rates, and what the rule adds for all."""
    return [{"learning_rate": entry.learning_rates, **shared} for entry in entries]
