"""Stochastic policies of either kind of action, for rules that need log-probabilities: a network and a distribution."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import jax
import jax.numpy as jnp

from metaobj.common.agents.actor_critic import Actor
from metaobj.common.agents.agent import AgentConfig, entropy, log_probability
from metaobj.common.agents.network import NetworkAgent
from metaobj.common.types import PRNGKey, PyTree


class StochasticPolicy(Protocol):
    """pi(a|s), with the value function beside it. A frozen dataclass; parameters are {"policy", "value"} and more."""

    def init(self, key: PRNGKey, observation: jax.Array) -> PyTree:
        """Parameters; `observation` [1, ...] tells shapes."""

    def draw(self, key: PRNGKey, steps: int, observation: jax.Array) -> PyTree:
        """The noise of T steps of B environments, [T, B, ...]."""

    def act(self, params: PyTree, observation: jax.Array, noise: PyTree) -> jax.Array:
        """Actions [B, ...] from one step's noise."""

    def best(self, params: PyTree, observation: jax.Array) -> jax.Array:
        """The action in the middle of the distribution, or the likeliest: [B, ...]."""

    def log_probability(self, params: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        """Log pi(a|s) [...]."""

    def entropy(self, params: PyTree, observation: jax.Array) -> jax.Array:
        """Of pi(.|s), [...]."""

    def value(self, params: PyTree, observation: jax.Array) -> jax.Array:
        """V(s) [...]."""


@dataclass(frozen=True)
class NormalPolicy:
    """Normal actions around tanh of a network, with a standard deviation per dimension that does not depend on the
    state. Observations [..., D], actions [..., A].
    """

    hidden: tuple[int, ...]
    layer_norm: bool
    action_size: int
    first_spread: float
    """Standard deviation of a new policy's actions."""

    @cached_property
    def _actor(self) -> Actor:
        return Actor(self.hidden, self.layer_norm, self.action_size)

    @cached_property
    def _critic(self) -> Actor:
        """The same layers with one output."""
        return Actor(self.hidden, self.layer_norm, 1)

    def init(self, key: PRNGKey, observation: jax.Array) -> PyTree:
        policy_key, value_key = jax.random.split(key)
        return {
            "policy": self._actor.init(policy_key, observation),
            "log_spread": jnp.full(self.action_size, jnp.log(self.first_spread)),
            "value": self._critic.init(value_key, observation),
        }

    def draw(self, key: PRNGKey, steps: int, observation: jax.Array) -> jax.Array:
        return jax.random.normal(key, (steps, observation.shape[0], self.action_size))

    def act(self, params: PyTree, observation: jax.Array, noise: jax.Array) -> jax.Array:
        return self.best(params, observation) + jnp.exp(params["log_spread"]) * noise

    def best(self, params: PyTree, observation: jax.Array) -> jax.Array:
        return jnp.tanh(jnp.asarray(self._actor.apply(params["policy"], observation)))

    def log_probability(self, params: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        spread = jnp.exp(params["log_spread"])
        return jnp.sum(jax.scipy.stats.norm.logpdf(action, self.best(params, observation), spread), -1)

    def entropy(self, params: PyTree, observation: jax.Array) -> jax.Array:
        one = jnp.sum(params["log_spread"] + 0.5 * jnp.log(2 * jnp.pi * jnp.e))
        return jnp.broadcast_to(one, observation.shape[:-1])

    def value(self, params: PyTree, observation: jax.Array) -> jax.Array:
        return jnp.asarray(self._critic.apply(params["value"], observation))[..., 0]


@dataclass(frozen=True)
class CategoricalPolicy:
    """Discrete actions by a network's logits, with a network of the same kind for the values."""

    observation_shape: tuple[int, ...]
    num_actions: int
    config: AgentConfig

    @cached_property
    def _actor(self) -> NetworkAgent:
        return NetworkAgent(self.observation_shape, (("policy", self.num_actions),), self.config)

    @cached_property
    def _critic(self) -> NetworkAgent:
        return NetworkAgent(self.observation_shape, (("value", 1),), self.config)

    def init(self, key: PRNGKey, observation: jax.Array) -> PyTree:
        policy_key, value_key = jax.random.split(key)
        return {"policy": self._actor.init(policy_key).params, "value": self._critic.init(value_key).params}

    def draw(self, key: PRNGKey, steps: int, observation: jax.Array) -> jax.Array:
        return jax.random.gumbel(key, (steps, observation.shape[0], self.num_actions))

    def act(self, params: PyTree, observation: jax.Array, noise: jax.Array) -> jax.Array:
        return jnp.argmax(self._logits(params, observation) + noise, axis=-1).astype(jnp.int32)

    def best(self, params: PyTree, observation: jax.Array) -> jax.Array:
        return jnp.argmax(self._logits(params, observation), axis=-1).astype(jnp.int32)

    def log_probability(self, params: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        return log_probability(self._logits(params, observation), action)

    def entropy(self, params: PyTree, observation: jax.Array) -> jax.Array:
        return entropy(self._logits(params, observation))

    def value(self, params: PyTree, observation: jax.Array) -> jax.Array:
        return self._critic.apply(params["value"], observation)["value"][..., 0]

    def _logits(self, params: PyTree, observation: jax.Array) -> jax.Array:
        return self._actor.apply(params["policy"], observation)["policy"]
