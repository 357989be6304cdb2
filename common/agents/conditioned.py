"""An agent whose network is told the numbers of the rule that it learns by: a conditioned value function and policy (Xu
et al. 2018, "Meta-Gradient Reinforcement Learning", arXiv 1805.09801).

When a discount is tuned, values that were learnt at the old one are wrong. So V(s) and pi(.|s) become V([s; W x]) and
pi(.|[s; W x]), where x sums up eta: when it moves, values move with it, as far as the network has learnt how they do.
W is learnt with the agent's other weights. As in the paper no gradient goes through x: eta is tuned by what the update
makes of the agent, and not by what the agent would do if told something else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Agent, AgentConfig, Heads, Learner, Summarised, TargetRule
from metaobj.common.agents.make import AgentMaker, make_agent
from metaobj.common.agents.network import HeadedNetwork, NetworkAgent
from metaobj.common.environments.protocol import Space
from metaobj.common.errors import MOST, UserError
from metaobj.common.experience.batches import Batch
from metaobj.common.types import Metrics, PRNGKey, PyTree


@dataclass(frozen=True)
class ConditionedAgent(NetworkAgent):
    """See `agent.Agent`. Beside the network's weights its parameters hold the numbers x that it was told last, which
    the optimiser never moves, since their gradient is 0.
    """

    numbers: int
    """In x."""
    embedding: int
    """Rows of W."""

    @property
    def network(self) -> HeadedNetwork:
        return super().network.clone(embedding=self.embedding)

    def init(self, key: PRNGKey) -> Learner:
        told = jnp.zeros(self.numbers)
        params = {"network": self.network.init(key, jnp.zeros((1, *self.observation_shape)), told), "told": told}
        return Learner(params, self.optimiser.init(params))

    def apply(self, params: PyTree, observation: jax.Array) -> Heads:
        told = jax.lax.stop_gradient(params["told"])
        return self.network.apply(params["network"], observation, told)  # type: ignore[return-value]  # Linen's apply is untyped

    def learn(
        self, learner: Learner, rule: TargetRule, weights: PyTree, batch: Batch, remat: bool = False
    ) -> tuple[Learner, Metrics]:
        """One by a rule that has nothing to tell learns as it was told before."""
        if isinstance(rule, Summarised):
            told = jax.lax.stop_gradient(rule.summary(weights, learner.memory))
            learner = replace(learner, params={**learner.params, "told": told})
        return super().learn(learner, rule, weights, batch, remat)


def conditioned(rule: object, embedding: int) -> AgentMaker:
    """Agents that are told a rule's numbers.

    Args:
        rule: what they learn by.
        embedding: how many numbers the network reads of them, at least 1.

    Raises:
        UserError: there are no such sizes, or the rule has no numbers to tell.
    """
    if not isinstance(embedding, int) or not 1 <= embedding <= MOST:
        raise UserError(f"embedding: {embedding} given; must be at least 1 and at most {MOST}")
    if not isinstance(rule, Summarised):
        raise UserError(f"embedding: {embedding} given; {type(rule).__name__} has no numbers that agents could be told")
    numbers = rule.summary_size
    if not numbers:
        raise UserError(f"embedding: {embedding} given; {type(rule).__name__} tunes none of its numbers")

    def make(
        config: AgentConfig, observation_space: Space, action_space: Space, heads: Callable[[int], dict[str, int]]
    ) -> Agent:
        agent = make_agent(config, observation_space, action_space, heads)
        if not isinstance(agent, NetworkAgent):
            raise UserError(f"embedding: {embedding} given; {config.torso} agents cannot be told numbers, networks can")
        return ConditionedAgent(agent.observation_shape, agent.heads, agent.config, numbers, embedding)

    return make
