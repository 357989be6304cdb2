"""How an agent is made from its configuration."""

from collections.abc import Callable
from typing import TypeAlias

from metaobj.common.agents.agent import Agent, AgentConfig
from metaobj.common.agents.network import NetworkAgent
from metaobj.common.agents.tabular import TabularAgent
from metaobj.common.environments.protocol import Box, Discrete, Space
from metaobj.common.errors import UserError

AgentMaker: TypeAlias = Callable[[AgentConfig, Space, Space, Callable[[int], dict[str, int]]], Agent]
"""(configuration, observation space, action space, a rule's heads by the number of actions) to an agent; UserError
where there is none.
"""


def make_agent(
    config: AgentConfig, observation_space: Space, action_space: Space, heads: Callable[[int], dict[str, int]]
) -> Agent:
    """An agent for these spaces with the heads that a rule declares for a number of actions."""
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
