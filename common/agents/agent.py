"""What an agent is to the rest of the project.

An agent owns a policy over a discrete action space and whatever further *heads* the update rule declares. Its learning
step is handed two pure functions by the rule, `targets` and `loss`, and is differentiable with respect to the
parameters it starts from and to `weights` (the rule's own parameters): that is what meta-gradients go through.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import jax

from metaobj.common.types import PRNGKey, PyTree

Heads: TypeAlias = dict[str, jax.Array]
"""Head name to its outputs [..., size]; "policy" holds action logits."""
Hyperparameters: TypeAlias = dict[str, jax.Array]
"""An agent's hyperparameters by name; "learning_rate" is always there."""


@dataclass(frozen=True)
class AgentConfig:
    """An agent's network and optimiser; the learning rate is a hyperparameter and lives elsewhere."""

    torso: Literal["tabular", "dense", "conv", "actor-critic"] = "tabular"
    hidden: tuple[int, ...] = (32,)
    """Widths of the dense layers after the torso (dense and conv)."""
    channels: tuple[int, ...] = (16,)
    """Channels of the 3x3 convolutions (conv)."""
    optimiser: Literal["sgd", "adam"] = "sgd"
    adam_eps_root: float = 1e-8
    """Added under Adam's square root, so that the meta-gradient through it stays finite at a zero gradient."""


class Agent(Protocol):
    """A frozen dataclass: what fixes shapes and program. See `tabular.py` and `network.py`."""

    def init(self, key: PRNGKey) -> tuple[PyTree, PyTree]:
        """(parameters, optimiser state)."""

    def apply(self, params: PyTree, observation: jax.Array) -> Heads:
        """Heads at observations of any leading shape."""

    def learn(
        self,
        params: PyTree,
        optimiser_state: PyTree,
        learning_rate: jax.Array,
        observation: jax.Array,
        next_observation: jax.Array,
        weights: PyTree,
        data: PyTree,
        targets: Callable[..., PyTree],
        loss: Callable[..., jax.Array],
        remat: bool = False,
    ) -> tuple[PyTree, PyTree, Any]:
        """One step down `loss`: (parameters, optimiser state, what `targets` returned beside the targets).

        `targets(weights, heads, next_heads, data) -> (targets, aux)` and `loss(heads, targets, data) -> scalar`.
        `data` is constant for every gradient; what should be differentiated belongs in `weights`.
        """
