"""Disco for agents of one's own."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import jax

from metaobj.common.agents.agent import Heads
from metaobj.common.experience.batches import Batch
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.own_agents import check_heads, check_rollout, one_line
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import PyTree, Rollout
from metaobj.disco.agent import BY_ACTION, before_and_after, of_taken, time_steps
from metaobj.disco.config import DiscoTraining
from metaobj.disco.objective import Disco, Memory


@dataclass(frozen=True, eq=False, repr=False)
class LoadedDisco:
    """A frozen objective: pure functions of what an agent computed on a rollout."""

    objective: Disco
    eta: PyTree
    metadata: Mapping[str, Any]
    """What its file says of it."""

    def __repr__(self) -> str:
        return one_line("Disco", self.eta, self.metadata)

    @classmethod
    def of(cls, loaded: Loaded[DiscoTraining, Disco]) -> Self:
        """What a file holds."""
        return cls(loaded.objective, loaded.eta, loaded.metadata)

    def heads(self, num_actions: int) -> dict[str, int]:
        """The sizes of outputs that an agent must have, all logits; those in `BY_ACTION` once for each action."""
        return self.objective.heads(num_actions)

    def first_memory(self) -> Memory:
        """What is remembered of a new agent."""
        return self.objective.first_memory()

    def gradient(
        self,
        apply: Callable[[PyTree, jax.Array], Heads],
        params: PyTree,
        target: PyTree,
        rollout: Rollout,
        behaviour: jax.Array,
        memory: Memory,
    ) -> tuple[PyTree, Memory]:
        """The gradient that an agent descends, and what is remembered then; under jit and vmap.

        Its step is Adam's, each entry of which is clipped to [-1, 1] before the learning rate (`optimiser`); then the
        target's parameters go a tenth of the way to what the agent's were before that step.

        Args:
            apply: (params, observations [T + 1, B, ...]) to the heads that `heads` asks for: [T + 1, B, size], or
                [T + 1, B, A, size] of those by action.
            params: the agent's parameters.
            target: those of its target network, which begin as a copy.
            rollout: T steps of B environments.
            behaviour: log mu [T, B, A] of the policy that acted.
            memory: from the update before.

        Raises:
            UserError: a head is missing or of another size, or a part of the rollout is of another shape or type.
        """
        check_rollout(rollout, discrete=True)
        batch = Batch.of(rollout, behaviour=behaviour, memory=memory)
        online, of_target = (apply(each, time_steps(rollout)) for each in (params, target))
        A, (T, B) = behaviour.shape[-1], rollout.reward.shape
        sizes = self.heads(A)
        check_heads(online, {n: (A, sizes[n]) if n in BY_ACTION else (sizes[n],) for n in sizes}, (T + 1, B))
        targets, _ = self.objective.targets(self.eta, *before_and_after(online, of_target), batch)
        constant = jax.lax.stop_gradient(targets)

        def loss(params: PyTree) -> jax.Array:
            return self.objective.loss(of_taken(apply(params, rollout.observation), rollout.action), constant, batch)

        return jax.grad(loss)(params), constant.memory


def load(path_or_name: str | Path) -> LoadedDisco:
    """The Disco in a file, a run folder or under `pretrained:NAME`.

    Raises:
        UserError: there is none, it is damaged, or of another kind or version.
    """
    return LoadedDisco.of(load_objective(path_or_name, "disco"))
