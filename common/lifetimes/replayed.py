"""The lifetime of an agent that learns from rollouts drawn out of a store of its latest ones.

For rules that correct what another policy than the agent's gathered. Agents that a rule is meta-trained by through
their updates have no store: they learn from fresh rollouts, and live by `OnPolicy`.
"""

from dataclasses import dataclass, fields, replace
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from metaobj.common.errors import MOST, check_numbers
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.rollout import Acted
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.lifetimes.on_policy import OnPolicy, OnPolicyLifetime
from metaobj.common.rules.on_policy import UpdateRule
from metaobj.common.types import Metrics, PRNGKey, PyTree


@dataclass(frozen=True)
class ReplayConfig:
    """What is stored and drawn; a trajectory is one environment's part of a rollout."""

    trajectories: int = 0
    """That the store holds, the oldest going first; with 0 agents learn from each rollout as it comes."""
    drawn: int = 64
    """Trajectories that an update learns from, drawn evenly and with replacement. Until there are so many, there is
    none.
    """

    def __post_init__(self) -> None:
        check_numbers(self, "trajectories", at_least=0, at_most=MOST, prefix="replay.")
        check_numbers(self, "drawn", at_least=1, at_most=MOST, prefix="replay.")


@struct.dataclass
class Store:
    """The latest N trajectories of T steps."""

    parts: PyTree  # [N, T, ...] what a batch holds of each
    next: jax.Array  # [] int32, where the next one goes
    filled: jax.Array  # [] int32


@struct.dataclass
class ReplayedLifetime(OnPolicyLifetime):
    """With what it has seen."""

    store: Store


@dataclass(frozen=True)
class Replayed(OnPolicy):
    """See `lifetimes.lifetime.Program`."""

    replay: ReplayConfig = ReplayConfig(1024)

    def start(self, key: PRNGKey, birth: Birth) -> ReplayedLifetime:
        lifetime = super().start(key, birth)
        seen = jax.eval_shape(lambda life: _parts(self.act(life)[1]), lifetime)
        # A rollout is written whole.
        number = -(-self.replay.trajectories // self.num_environments) * self.num_environments

        def room(leaf: jax.ShapeDtypeStruct) -> jax.Array:
            return jnp.zeros((number, leaf.shape[0], *leaf.shape[2:]), leaf.dtype)

        store = Store(jax.tree.map(room, seen), jnp.int32(0), jnp.int32(0))
        return ReplayedLifetime(**{each.name: getattr(lifetime, each.name) for each in fields(lifetime)}, store=store)

    def update(
        self, rule: UpdateRule, weights: PyTree, lifetime: OnPolicyLifetime
    ) -> tuple[OnPolicyLifetime, Metrics, Acted]:
        """A rollout into the store, and one step of the agent on what is drawn from it."""
        lifetime, batch, acted = self.act(lifetime)
        assert isinstance(lifetime, ReplayedLifetime)
        store = self._stored(lifetime.store, _parts(batch))
        key, draw_key = jax.random.split(lifetime.key)
        lifetime = replace(lifetime, key=key, store=store)
        at = jax.random.randint(draw_key, (self.replay.drawn,), 0, store.filled)
        drawn = jax.tree.map(lambda leaf: jnp.swapaxes(leaf[at], 0, 1), store.parts)
        after, about = self.learn(rule, weights, lifetime, batch._replace(**drawn))
        enough = store.filled >= min(self.replay.drawn, self.replay.trajectories)
        learner = jax.tree.map(lambda new, old: jnp.where(enough, new, old), after.learner, lifetime.learner)
        return replace(after, learner=learner), about, acted

    def _stored(self, store: Store, parts: PyTree) -> Store:
        def write(old: jax.Array, new: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_slice_in_dim(old, jnp.swapaxes(new, 0, 1), store.next, 0)

        number = store.parts["values"].shape[0]
        return Store(
            jax.tree.map(write, store.parts, parts),
            (store.next + self.num_environments) % number,
            jnp.minimum(store.filled + self.num_environments, number),
        )


def _parts(batch: Batch) -> dict[str, Any]:
    """What is each trajectory's own, [T, B, ...]."""
    names = ("rollout", "values", "next_values", "advantages", "rewards_to_go", "behaviour")
    return {name: getattr(batch, name) for name in names}
