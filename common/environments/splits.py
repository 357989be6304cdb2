"""Parts of a distribution that have nothing in common: training draws from one, the other is held out."""

from typing import Literal, TypeAlias

Split: TypeAlias = Literal["any", "training", "held_out"]
ANY, TRAINING, HELD_OUT = 0, 1, 2
"""As data, in the specs of distributions."""
SPLITS: dict[Split, int] = {"any": ANY, "training": TRAINING, "held_out": HELD_OUT}
