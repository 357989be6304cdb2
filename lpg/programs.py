"""How agents of LPG live."""

from collections.abc import Callable

from metaobj.common.environments.protocol import Environment
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.on_policy import OnPolicy, on_policy
from metaobj.common.rules.on_policy import UpdateRule
from metaobj.lpg.config import LPGTraining


def programs(config: LPGTraining, rule: UpdateRule) -> Callable[[Entry, Environment], OnPolicy]:
    """Programs of agents that learn by `rule` as a configuration has it."""
    return on_policy(
        rule,
        rollout_steps=config.rollout_steps,
        discount=config.discount,
        value=config.value,
        remat=config.remat,
    )
