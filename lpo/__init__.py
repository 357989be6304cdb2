"""LPO, learned policy optimisation (Lu et al. 2022): `load` gives a drift for agents of one's own."""

from metaobj.lpo.interface import LoadedLPO, load

__all__ = ["LoadedLPO", "load"]
