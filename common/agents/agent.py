"""What an agent is to the rest of the project, and how one is made from its configuration.

An agent owns a policy over a discrete action space and whatever further *heads* the update rule declares. Its learning
step is handed two pure functions by the rule, `targets` and `loss`, and is differentiable with respect to the
parameters it starts from and to `weights` (the rule's own parameters): that is what meta-gradients go through.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import jax

from metaobj.common.environments.protocol import Box, Discrete, Space
from metaobj.common.errors import UserError
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


def make_agent(
    config: AgentConfig, observation_space: Space, action_space: Space, heads: Callable[[int], dict[str, int]]
) -> Agent:
    """An agent for these spaces with the heads that a rule declares for a number of actions."""
    from metaobj.common.agents.network import NetworkAgent
    from metaobj.common.agents.tabular import TabularAgent

    if not isinstance(action_space, Discrete):
        raise UserError(f"action_space: {action_space} is continuous; this objective needs discrete actions")
    if config.torso == "actor-critic":
        raise UserError("agent.torso: actor-critic given; this objective's agents are tabular, dense or conv")
    sizes = tuple(heads(action_space.n).items())
    if config.torso == "tabular":
        if not isinstance(observation_space, Discrete):
            raise UserError(f"agent.torso: tabular needs a Discrete observation space, not {observation_space}")
        if config.optimiser != "sgd":
            raise UserError(f"agent.optimiser: a tabular agent takes sgd only, not {config.optimiser}")
        return TabularAgent(observation_space.n, sizes)
    if not isinstance(observation_space, Box):
        raise UserError(f"agent.torso: {config.torso} needs a Box observation space, not {observation_space}")
    if config.torso == "conv" and len(observation_space.shape) != 3:
        raise UserError(
            f"agent.torso: conv needs [height, width, channels] observations, not {observation_space.shape}"
        )
    return NetworkAgent(observation_space.shape, sizes, config)
