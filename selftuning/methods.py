"""Ways for one agent to learn and to tune how it learns, ready to be compared with others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from metaobj.common.agents.agent import AgentConfig, Summarised
from metaobj.common.agents.conditioned import conditioned
from metaobj.common.agents.make import make_agent
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.environments.protocol import Environment
from metaobj.common.evaluation.baselines import A2C_RATES, BASELINE_DISCOUNT
from metaobj.common.evaluation.method import Method
from metaobj.common.lifetimes.distributions import TABULAR_RATES, Entry
from metaobj.common.lifetimes.on_policy import on_policy
from metaobj.common.meta.objectives import Bootstrapped, Last, Mixed
from metaobj.common.meta.online import META_LEARNING_RATE, Online
from metaobj.common.rules.bounded import Bounded
from metaobj.selftuning.frodo import Frodo
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.rule import Numbers, SelfTuning

META_RATES = (1e-3, 1e-2)
CRITIC_RATE = 15.0
"""Of value functions that are networks, as a multiple of the policy's: as A2C's. They have a torso of their own, and
RMSProp takes out of its steps what weighs their loss: a tuned value weight has a passing effect there, and no lasting
one.
"""
USUAL: Mapping[str, Any] = {"gradient_clip": 0.1}
"""Fields of `Online`."""
EMBEDDING = 16
"""Of what networks are told, where they are (Xu et al. 2018)."""
_OUTER = Outer()


def _usual_agent(agent: AgentConfig) -> AgentConfig:
    if agent.torso == "tabular":
        return agent
    return replace(agent, optimiser="rmsprop", apart=("value",), apart_rate=CRITIC_RATE)


@dataclass(frozen=True)
class OnlineMethod:
    """A self-tuning agent: its rule, and how the rule is tuned."""

    name: str
    rule: SelfTuning | Frodo
    how: Mapping[str, Any] = field(default_factory=dict)
    """How it is tuned: fields of `Online`, those of `USUAL` where it says nothing."""
    discount: float = BASELINE_DISCOUNT
    """Of what agents are judged by."""
    value: ValueConfig = ValueConfig(learning_rate=3e-2)
    """Of the value function at the outer discount, where the rule reads it."""
    agent: Callable[[AgentConfig], AgentConfig] = _usual_agent
    """Its network and optimiser, by those of the entry."""
    embedding: int = 0
    """Where it is not 0 networks are told the rule's numbers, in an embedding of this size: see `ConditionedAgent`."""

    def outer(self) -> Self:
        """The same, but advantages of the loss that agents are judged by are formed with the lifetime's value function,
        which learns at the outer discount (see `Outer.critic`).
        """
        rule = replace(self.rule, outer=replace(self.rule.outer, critic="outer"))
        return replace(self, name=f"{self.name}-outer", rule=rule)

    def conditioned(self) -> Self:
        """The same, but networks are told the rule's numbers."""
        return replace(self, name=f"{self.name}-conditioned", embedding=EMBEDDING)

    def programs(self, rollout_steps: int) -> Callable[[Entry, Environment], Online]:
        """How its agents live."""
        inner = on_policy(
            self.rule,
            rollout_steps=rollout_steps,
            discount=self.discount,
            value=self.value,
            agents=conditioned(self.rule, self.embedding) if self.embedding else make_agent,
        )

        def make(entry: Entry, environment: Environment) -> Online:
            entry = replace(entry, agent=self.agent(entry.agent))
            return Online(inner(entry, environment), self.rule, **{**USUAL, **self.how})

        return make

    def method(self, rollout_steps: int) -> Method:
        """With its grid."""

        def grid(agent: AgentConfig) -> Mapping[str, Sequence[float]]:
            rates = TABULAR_RATES if agent.torso == "tabular" else A2C_RATES
            return {"learning_rate": rates, META_LEARNING_RATE: META_RATES}

        return Method(self.name, self.rule, (), self.programs(rollout_steps), grid, rollout_steps)


def _nearly(most: float) -> Bounded:
    """From 0 to what it is in the outer loss, and 0.99 of that at first (Zahavy et al. 2020)."""
    return Bounded(0.99 * most, 0.0, most)


_STAC_OUTER = replace(_OUTER, lambda_=1.0, value_weight=0.25, entropy_weight=0.01, kl_weight=1.0)
_STAC = SelfTuning(
    Numbers(
        discount=Bounded(0.99 * BASELINE_DISCOUNT),
        lambda_=_nearly(1.0),
        policy_weight=_nearly(1.0),
        value_weight=_nearly(0.25),
        entropy_weight=_nearly(0.01),
        leak=_nearly(1.0),
    ),
    _STAC_OUTER,
)
_LATE: Mapping[str, Any] = {"meta_objective": Last("same"), "lag": 1}
_MG = SelfTuning(Numbers(), _OUTER)

_BASE = (
    OnlineMethod("MG", _MG),
    OnlineMethod("Mixed", _MG, {"meta_objective": Mixed(0.8), "inner_updates": 5}),
    OnlineMethod("STAC", _STAC, _LATE),
    OnlineMethod("STACX", replace(_STAC, auxiliary=2), _LATE),
    OnlineMethod(
        "BMG",
        replace(_MG, inner=replace(_MG.inner, entropy_weight=Bounded(0.01, 0.0, 0.2)), distance="policy and value"),
        {"meta_objective": Bootstrapped(look_ahead=2, by="rule", goes_on="target"), "inner_updates": 4},
    ),
    OnlineMethod("FRODO", Frodo(residual=True)),
)
"""MG tunes discount and lambda; Mixed judges each of five updates; STAC, whose rollouts are one update old, tunes the
whole loss, STACX those of two auxiliary heads besides; BMG tunes the entropy too, towards where two further updates
lead; FRODO learns its returns themselves, TD(0)'s at first.
"""


def _variants(method: OnlineMethod) -> list[OnlineMethod]:
    """With each of the options that it can have."""
    variants = [method, method.outer()]
    if isinstance(method.rule, Summarised):
        variants += [one.conditioned() for one in variants]
    return variants


ONLINE: dict[str, OnlineMethod] = {method.name: method for base in _BASE for method in _variants(base)}
"""Each method as it is (agents are judged by their own values), `-outer`, `-conditioned` and both."""


def methods(rollout_steps: int) -> list[Method]:
    """All of them."""
    return [method.method(rollout_steps) for method in ONLINE.values()]
