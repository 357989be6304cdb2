"""LPG and LPG+V in NumPy's or PyTorch's words."""

from importlib import resources

from metaobj.common.objectives.exported import Exported, Library, fill
from metaobj.common.objectives.plugin import Loaded
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.objective import LPG


def export(loaded: Loaded[LPGTraining, LPG], library: Library) -> Exported:
    """What `LoadedLPG` computes: targets, and the agent's loss with its gradient."""
    config, value = loaded.objective.config, loaded.config.value
    words = [name for name in ("bootstrap", "value_inputs", "lifetime_inputs") if getattr(config, name)]
    if config.value_inputs or config.lifetime_inputs:
        words.append("math")
    values = {
        "prediction_size": config.prediction_size,
        "discount": loaded.config.discount,
        "lambda_": value.lambda_,
    }
    code = fill(resources.files("metaobj.lpg") / "exported.template", library, words, values)
    inputs = ["policy", "prediction", "next_prediction", "action", "reward", "terminated", "truncated"]
    inputs += ["values", "next_values"] if config.value_inputs else []
    step = {
        "torch": "objective.loss(policy, prediction, action, targets, kl_weight=0.5).backward()",
        "numpy": "to_policy, to_prediction = objective.gradient(policy, prediction, action, targets, kl_weight=0.5)",
    }
    use = f"""\
# the agent puts out policy [T, B, A] and prediction [T, B, {config.prediction_size}], logits at each s_t of a rollout
targets = objective.targets(
    {", ".join(inputs)}
)
{step[library]}
"""
    notes = []
    if value.scale_rewards:
        told = "rewards and values" if config.value_inputs else "rewards"
        notes.append(f"It knows {told} in units of the size that returns come to: divide them by that size.")
    return Exported(code, use, tuple(notes))
