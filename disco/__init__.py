"""DiscoRL (Oh et al. 2025): `load` gives an objective for agents of one's own."""

from metaobj.common.types import Rollout
from metaobj.disco.interface import LoadedDisco, load

__all__ = ["LoadedDisco", "Rollout", "load"]
