"""A start for LPG's weights: a rule that a person wrote, distilled into the network."""

from rich.console import Console

from metaobj.common.lifetimes.distributions import make_distribution
from metaobj.common.types import PyTree
from metaobj.lpg.actor_critic import ActorCritic
from metaobj.lpg.config import DISTRIBUTIONS, LPGTraining
from metaobj.lpg.teaching import learn


def distil(config: LPGTraining, console: Console, devices: int | None = None) -> PyTree:
    """Weights eta that say what `ActorCritic` says, as nearly as their network can; how near they are is told.

    Args:
        config: of the run that starts from them; `start_updates` tells how long.
        console: where progress is shown.
        devices: over how many devices agents are spread; all that fit by default.

    Raises:
        UserError: what was learnt is not finite.
    """
    entries = make_distribution(config.distribution, config.scale, DISTRIBUTIONS, config.life)
    teacher = ActorCritic(config.network.prediction_size, config.value.lambda_)
    learnt = learn(teacher, config, entries, console, devices, "learning the start from actor-critic")
    console.print(f"started from actor-critic: {learnt.told}", highlight=False, soft_wrap=True)
    return learnt.eta
