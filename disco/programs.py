"""How agents of Disco live."""

from collections.abc import Callable
from functools import partial
from typing import Any

from metaobj.common.lifetimes.lifetime import ProgramMaker
from metaobj.common.lifetimes.on_policy import OnPolicy, on_policy
from metaobj.common.lifetimes.replayed import Replayed
from metaobj.common.rules.on_policy import UpdateRule
from metaobj.disco.agent import model_agents
from metaobj.disco.config import DiscoTraining


def programs(config: DiscoTraining, rule: UpdateRule) -> ProgramMaker[Any]:
    """Programs of agents that learn by `rule` as a configuration has it."""
    return trials(config, rule, partial(Replayed, replay=config.replay) if config.replay.trajectories else OnPolicy)


def trials(config: DiscoTraining, rule: UpdateRule, kind: Callable[..., OnPolicy] = OnPolicy) -> ProgramMaker[Any]:
    """Likewise of agents through whose updates the rule is trained, by default: without a store."""
    return on_policy(
        rule,
        rollout_steps=config.rollout_steps,
        discount=config.discount,
        value=config.value,
        remat=config.remat,
        agents=model_agents(config.model),
        kind=kind,
    )
