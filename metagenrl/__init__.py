"""MetaGenRL, a learned loss for continuous actions (Kirsch et al. 2020): `load` gives one for agents of one's own."""

from metaobj.common.types import Rollout
from metaobj.metagenrl.interface import LoadedMetaGenRL, load

__all__ = ["LoadedMetaGenRL", "Rollout", "load"]
