"""LPG, the learned policy gradient (Oh et al. 2020): `load` gives an objective for agents of one's own."""

from metaobj.common.types import Rollout
from metaobj.lpg.interface import LoadedLPG, load

__all__ = ["LoadedLPG", "Rollout", "load"]
