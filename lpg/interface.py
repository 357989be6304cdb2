"""A learned LPG for agents of one's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads
from metaobj.common.errors import UserError
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.own_agents import check_heads, check_rollout, check_values, one_line
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import PyTree, Rollout
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.objective import LPG


@dataclass(frozen=True, eq=False, repr=False)
class LoadedLPG:
    """A frozen objective: pure functions of what an agent computed on a rollout."""

    objective: LPG
    eta: PyTree
    discount: float
    """gamma, which the objective reads."""
    lambda_: float
    """Of the advantages that an objective with `value_inputs` reads."""
    metadata: Mapping[str, Any]
    """What its file says of it."""

    def __repr__(self) -> str:
        return one_line("LPG+V" if self.objective.config.value_inputs else "LPG", self.eta, self.metadata)

    @classmethod
    def of(cls, loaded: Loaded[LPGTraining, LPG]) -> Self:
        """What a file holds."""
        return cls(loaded.objective, loaded.eta, loaded.config.discount, loaded.config.value.lambda_, loaded.metadata)

    def heads(self, num_actions: int) -> dict[str, int]:
        """The outputs that an agent must have: {"policy": logits, "prediction": logits}."""
        return self.objective.heads(num_actions)

    def targets(
        self,
        heads: Heads,
        next_heads: Heads,
        rollout: Rollout,
        progress: float | jax.Array = 0.0,
        lifetime_updates: float | jax.Array = 1.0,
        values: tuple[jax.Array, jax.Array] | None = None,
        advantage_size: float | jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """pi_hat [T, B] and log y_hat [T, B, m] for the agent's outputs at observations and next observations; see
        `gradient` for the rest.
        """
        batch = self._batch(rollout, 0.0, progress, lifetime_updates, values, advantage_size)
        self._check(heads, rollout, "heads")
        self._check(next_heads, rollout, "next_heads")
        return self.objective.targets(self.eta, heads, next_heads, batch)[0]

    def gradient(
        self,
        apply: Callable[[PyTree, jax.Array], Heads],
        params: PyTree,
        rollout: Rollout,
        kl_weight: float | jax.Array = 0.5,
        progress: float | jax.Array = 0.0,
        lifetime_updates: float | jax.Array = 1.0,
        values: tuple[jax.Array, jax.Array] | None = None,
        advantage_size: float | jax.Array | None = None,
    ) -> PyTree:
        """The gradient that an agent descends, of the structure of `params`; for any optimiser, under jit and vmap.

        Args:
            apply: (params, observations [T, B, ...]) to the heads that `heads` asks for, [T, B, size] each.
            params: the agent's parameters.
            rollout: T steps of B environments.
            kl_weight: alpha_y, the weight of the prediction's loss.
            progress: share of the agent's updates that are behind it; read only by objectives with `lifetime_inputs`.
            lifetime_updates: how many updates it will make in all; likewise.
            values: V(s_t) and V(s_{t+1}) [T, B] under a value function of the agent's own; objectives with
                `value_inputs` need them, others do not read them.
            advantage_size: a running root mean square of the agent's advantages; that of the rollout's by default.

        Raises:
            UserError: the objective needs values and there are none; a part of the rollout, or what `apply` gives, is
                of another shape or type.
        """
        batch = self._batch(rollout, kl_weight, progress, lifetime_updates, values, advantage_size)
        heads, next_heads = apply(params, rollout.observation), apply(params, rollout.next_observation)
        self._check(heads, rollout, "apply")
        targets, _ = self.objective.targets(self.eta, heads, next_heads, batch)
        constant = jax.lax.stop_gradient(targets)
        return jax.grad(lambda p: self.objective.loss(apply(p, rollout.observation), constant, batch))(params)

    def _check(self, heads: Any, rollout: Rollout, what: str) -> None:
        sizes = self.heads(0)
        check_heads(heads, {name: (sizes[name] or None,) for name in sizes}, jnp.shape(rollout.reward), what)

    def _batch(
        self,
        rollout: Rollout,
        kl_weight: float | jax.Array,
        progress: float | jax.Array,
        lifetime_updates: float | jax.Array,
        values: tuple[jax.Array, jax.Array] | None,
        advantage_size: float | jax.Array | None,
    ) -> Batch:
        check_rollout(rollout, discrete=True)
        rollout = jax.tree.map(jnp.asarray, rollout)
        nothing = jnp.zeros_like(rollout.reward)
        if values is None and self.objective.config.value_inputs:
            raise UserError("values: none given; this objective reads V(s_t) and V(s_{t+1}) of each step")
        here, following = values or (nothing, nothing)
        check_values({"V(s_t)": here, "V(s_{t+1})": following}, rollout)
        advantages = nothing
        if values is not None:
            advantages = lambda_returns(rollout, following, self.discount, self.lambda_) - here
        size = jnp.sqrt(jnp.mean(advantages**2)) if advantage_size is None else jnp.asarray(advantage_size)
        return Batch.of(
            rollout,
            values=here,
            next_values=jnp.where(rollout.terminated, 0.0, following),
            advantages=advantages,
            advantage_size=size,
            hyperparameters={"kl_weight": jnp.asarray(kl_weight)},
            discount=jnp.asarray(self.discount),
            progress=jnp.asarray(progress),
            log_length=jnp.log(jnp.asarray(lifetime_updates)),
        )


def load(path_or_name: str | Path) -> LoadedLPG:
    """The LPG in a file, a run folder or under `pretrained:NAME`.

    Raises:
        UserError: there is none, it is damaged, or of another kind or version.
    """
    return LoadedLPG.of(load_objective(path_or_name, "lpg"))
