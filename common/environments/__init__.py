"""Environments: two pure functions and data. See `protocol` for what they have in common."""

from metaobj.common.environments.adapters.gymnax import GYMNAX_NAMES, GymnaxEnvironment
from metaobj.common.environments.delayed_chain import (
    CHAIN_NAMES,
    ChainParams,
    ChainSpec,
    DelayedChain,
    chain_spec,
    make_chain,
)
from metaobj.common.environments.grid.params import GridParams, GridSpec
from metaobj.common.environments.grid.specs import GRID_NAMES, grid_spec, make_grid, small_layouts
from metaobj.common.environments.grid.world import GridState, GridWorld
from metaobj.common.environments.protocol import Box, Discrete, Environment, Space, reference_returns
from metaobj.common.environments.splits import Split

__all__ = [
    "CHAIN_NAMES",
    "GRID_NAMES",
    "GYMNAX_NAMES",
    "Box",
    "ChainParams",
    "ChainSpec",
    "DelayedChain",
    "Discrete",
    "Environment",
    "GridParams",
    "GridSpec",
    "GridState",
    "GridWorld",
    "GymnaxEnvironment",
    "Space",
    "Split",
    "chain_spec",
    "grid_spec",
    "make_chain",
    "make_grid",
    "reference_returns",
    "small_layouts",
]
