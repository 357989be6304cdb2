"""MetaGenRL in NumPy's or PyTorch's words."""

from importlib import resources

from metaobj.common.objectives.exported import Exported, Library, fill
from metaobj.common.objectives.plugin import Loaded
from metaobj.metagenrl.config import MetaGenRLTraining
from metaobj.metagenrl.objective import BOUND, MetaGenRL


def export(loaded: Loaded[MetaGenRLTraining, MetaGenRL], library: Library) -> Exported:
    """What `LoadedMetaGenRL` computes: the loss; in NumPy with its gradient."""
    config = loaded.objective.config
    flags = ("use_values", "recurrent", "td_error", "product", "centred")
    values = {"layers": config.layers, "bound": BOUND, "discount": loaded.config.discount}
    words = [name for name in flags if getattr(config, name)]
    code = fill(resources.files("metaobj.metagenrl") / "exported.template", library, words, values)
    inputs = "(\n    actions, taken, reward, terminated, truncated, values, next_values\n)"
    step = {
        "torch": f"objective.loss{inputs}.backward()  # down to the policy that gave the actions",
        "numpy": f"loss, to_actions = objective.loss_and_gradient{inputs}",
    }
    use = f"""\
# at the states of W windows of T steps: actions [T, W, A] that the policy would take now, and those taken
{step[library]}
"""
    return Exported(code, use)
