"""LPO in NumPy's or PyTorch's words."""

from importlib import resources

from metaobj.common.objectives.exported import Exported, Library, fill
from metaobj.common.objectives.plugin import Loaded
from metaobj.lpo.config import LPOTraining
from metaobj.lpo.objective import LPO, MARGIN

_USE = {
    "torch": "objective.loss(log_ratio, advantage).mean().backward()",
    "numpy": "to_log_ratio = objective.slope(log_ratio, advantage) / advantage.size",
}


def export(loaded: Loaded[LPOTraining, LPO], library: Library) -> Exported:
    """What `LoadedLPO` computes: the drift and the loss; in NumPy with its slope."""
    config = loaded.objective.config
    template = resources.files("metaobj.lpo") / "exported.template"
    code = fill(template, library, [config.around], {"margin": MARGIN, "clip": config.clip})
    return Exported(code, f"# in the place of PPO's clipped surrogate, for each minibatch\n{_USE[library]}\n")
