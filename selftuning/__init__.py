"""Agents that tune their own actor-critic update as they learn."""
