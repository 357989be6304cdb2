"""Agents: parameters, their outputs ("heads") at observations, and one differentiable learning step."""

from metaobj.common.agents.agent import Agent, AgentConfig, Heads, Learner
from metaobj.common.agents.make import make_agent

__all__ = ["Agent", "AgentConfig", "Heads", "Learner", "make_agent"]
