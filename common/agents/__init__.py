"""Agents: parameters, their outputs ("heads") at observations, and one differentiable learning step."""

from metaobj.common.agents.agent import Agent, AgentConfig, Heads, Hyperparameters
from metaobj.common.agents.make import make_agent

__all__ = ["Agent", "AgentConfig", "Heads", "Hyperparameters", "make_agent"]
