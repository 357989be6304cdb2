"""A learned loss for agents of one's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp

from metaobj.common.errors import UserError
from metaobj.common.experience.batches import Experience
from metaobj.common.experience.windows import valid_steps
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.own_agents import check_rollout, check_values, one_line
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import PyTree, Rollout
from metaobj.metagenrl.config import MetaGenRLTraining
from metaobj.metagenrl.objective import MetaGenRL


@dataclass(frozen=True, eq=False, repr=False)
class LoadedMetaGenRL:
    """A frozen loss: pure functions of what an agent's policy and critic said of a batch of windows."""

    objective: MetaGenRL
    eta: PyTree
    discount: float
    """gamma, of the temporal differences that the loss may read."""
    metadata: Mapping[str, Any]
    """What its file says of it."""

    def __repr__(self) -> str:
        return one_line("MetaGenRL", self.eta, self.metadata)

    @classmethod
    def of(cls, loaded: Loaded[MetaGenRLTraining, MetaGenRL]) -> Self:
        """What a file holds."""
        return cls(loaded.objective, loaded.eta, loaded.config.discount, loaded.metadata)

    def loss(self, actions: jax.Array, rollout: Rollout, values: jax.Array, next_values: jax.Array) -> jax.Array:
        """The scalar that the policy descends; differentiate it with respect to `actions`.

        Args:
            actions: pi(s_t) of the present policy [T, W, A], in [-1, 1].
            rollout: W windows of T steps as they were taken, actions in [-1, 1]. What follows the first end of an
                episode in a window does not count.
            values: V(s_t) = Q(s_t, pi(s_t)) under the agent's critic [T, W], in units of the rewards.
            next_values: V of the true successors [T, W].

        Returns:
            A scalar.

        Raises:
            UserError: a part of the rollout, actions or values are of another shape or type.
        """
        check_rollout(rollout, discrete=False)
        if jnp.shape(actions) != jnp.shape(rollout.action):
            given, taken = list(jnp.shape(actions)), list(jnp.shape(rollout.action))
            raise UserError(f"actions: {given} given; must be {taken}, as the rollout's are")
        check_values({"values": values, "next_values": next_values}, rollout)
        rollout = jax.tree.map(jnp.asarray, rollout)
        experience = Experience(
            action=rollout.action,
            reward=rollout.reward,
            valid=valid_steps(rollout),
            values=values,
            next_values=jnp.where(rollout.terminated, 0.0, next_values),
            discount=jnp.asarray(self.discount, values.dtype),
        )
        return self.objective.loss(self.eta, actions, jax.lax.stop_gradient(experience), jnp.zeros_like(values))

    def gradient(
        self,
        apply: Callable[[PyTree, jax.Array], jax.Array],
        params: PyTree,
        rollout: Rollout,
        values: jax.Array,
        next_values: jax.Array,
    ) -> PyTree:
        """The gradient that a policy descends, of the structure of `params`; for any optimiser, under jit and vmap.

        Args:
            apply: (params, observations [T, W, ...]) to actions [T, W, A] in [-1, 1].
            params: the policy's parameters.
            rollout: see `loss`.
            values: see `loss`.
            next_values: see `loss`.

        Raises:
            UserError: see `loss`.
        """
        return jax.grad(lambda p: self.loss(apply(p, rollout.observation), rollout, values, next_values))(params)


def load(path_or_name: str | Path) -> LoadedMetaGenRL:
    """The learned loss in a file, a run folder or under `pretrained:NAME`.

    Raises:
        UserError: there is none, it is damaged, or of another kind or version.
    """
    return LoadedMetaGenRL.of(load_objective(path_or_name, "metagenrl"))
