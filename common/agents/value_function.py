"""The value function that each lifetime learns for itself; no gradient of the meta-objective goes through it."""

from dataclasses import dataclass
from typing import Protocol

import jax
import jax.numpy as jnp
import optax

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.network import NetworkAgent
from metaobj.common.environments.protocol import Discrete, Space
from metaobj.common.errors import check_numbers
from metaobj.common.types import PRNGKey, PyTree


@dataclass(frozen=True)
class ValueConfig:
    """How a lifetime's value function learns."""

    tabular_step_size: float = 0.5
    """For tables: the share of the way that a visited state's value goes towards the mean of its targets."""
    learning_rate: float = 1e-3
    """For networks: the learning rate of the value function's Adam, where the agents' hyperparameters tell none."""
    lambda_: float = 0.95
    """lambda of the returns that value functions learn and advantages are estimated by: 0 one step, 1 Monte Carlo."""
    scale_rewards: bool = False
    """Tell the update rule rewards, values and advantages in units of a running size of the lifetime's returns, so that
    what they are paid in does not matter to it. The value function learns returns as they are paid: in units of about 1
    a network's learning rate that suits A2C would be far too large.
    """

    def __post_init__(self) -> None:
        check_numbers(self, "tabular_step_size", above=0, at_most=1, prefix="value.")
        check_numbers(self, "learning_rate", above=0, prefix="value.")
        check_numbers(self, "lambda_", at_least=0, at_most=1, prefix="value.")


class ValueFunction(Protocol):
    """V(s), and one step towards targets."""

    def init(self, key: PRNGKey) -> PyTree: ...

    def apply(self, params: PyTree, observation: jax.Array) -> jax.Array: ...

    def update(
        self, params: PyTree, observation: jax.Array, targets: jax.Array, learning_rate: float | jax.Array
    ) -> PyTree:
        """One step; a table does not read the learning rate."""


@dataclass(frozen=True)
class TabularValue:
    """One value per state. A step averages over a state's visits, so it is stable however often a state is met."""

    num_states: int
    config: ValueConfig

    def init(self, key: PRNGKey) -> PyTree:
        return jnp.zeros(self.num_states)

    def apply(self, params: PyTree, observation: jax.Array) -> jax.Array:
        return params[observation]

    def update(
        self, params: PyTree, observation: jax.Array, targets: jax.Array, learning_rate: float | jax.Array
    ) -> PyTree:
        errors = jnp.stack([targets - params[observation], jnp.ones_like(targets)], -1)  # [T, B, 2]
        sums = jnp.zeros((self.num_states, 2), errors.dtype).at[observation].add(errors)
        return params + self.config.tabular_step_size * sums[:, 0] / jnp.maximum(sums[:, 1], 1.0)


@dataclass(frozen=True)
class NetworkValue:
    """The agent's kind of network with one output, learnt by Adam on the mean squared error."""

    agent: NetworkAgent
    config: ValueConfig

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Without the learning rate, which may be data."""
        return optax.scale_by_adam()

    def init(self, key: PRNGKey) -> PyTree:
        params = self.agent.init(key).params
        return params, self.optimiser.init(params)

    def apply(self, params: PyTree, observation: jax.Array) -> jax.Array:
        return self.agent.apply(params[0], observation)["value"][..., 0]

    def update(
        self, params: PyTree, observation: jax.Array, targets: jax.Array, learning_rate: float | jax.Array
    ) -> PyTree:
        weights, optimiser_state = params

        def loss(weights: PyTree) -> jax.Array:
            return 0.5 * jnp.mean((self.agent.apply(weights, observation)["value"][..., 0] - targets) ** 2)

        updates, optimiser_state = self.optimiser.update(jax.grad(loss)(weights), optimiser_state, weights)
        return jax.tree.map(lambda w, u: w - learning_rate * u, weights, updates), optimiser_state


def make_value_function(config: ValueConfig, agent: AgentConfig, observation_space: Space) -> ValueFunction:
    """The value function beside an agent: a table where states are numbered, else a network with the agent's torso."""
    if isinstance(observation_space, Discrete):
        return TabularValue(observation_space.n, config)
    torso = AgentConfig(agent.torso, agent.hidden, agent.channels, "adam")
    return NetworkValue(NetworkAgent(observation_space.shape, (("value", 1),), torso), config)
