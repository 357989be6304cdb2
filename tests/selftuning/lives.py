"""Small lives for tests of self-tuning agents."""

from dataclasses import replace

import jax
import jax.numpy as jnp

from metaobj.common.agents.make import make_agent
from metaobj.common.agents.tabular import TabularAgent
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.lifetime import Birth
from metaobj.common.lifetimes.on_policy import on_policy
from metaobj.common.lifetimes.population import make_families
from metaobj.common.meta.online import META_LEARNING_RATE

T, B, RATE, META_RATE = 5, 3, 2.0, 0.05


def family_of(rule, agent=None, agents=make_agent):
    """Agents by a rule in a ring: tables or, given their configuration, networks; `agents` makes them."""
    entry = Entry("tests.worlds:RING", num_environments=B)
    if agent is not None:
        entry = Entry("tests.worlds:OBSERVED_RING", num_environments=B, agent=agent)
    maker = on_policy(rule, rollout_steps=T, discount=0.9, value=ValueConfig(lambda_=0.8), agents=agents)
    return make_families([entry], maker)[0]


def born(family, key=0):
    """A lifetime whose agent, where it is a table, is no longer as it was born."""
    hyperparameters = {"learning_rate": jnp.asarray(RATE), META_LEARNING_RATE: jnp.asarray(META_RATE)}
    params = family.draw_params(jax.random.key(1))
    lifetime = family.program.start(jax.random.key(key), Birth(params, hyperparameters, 50))
    if not isinstance(family.program.agent, TabularAgent):
        return lifetime
    noise = {
        name: jax.random.normal(jax.random.key(i), leaf.shape)
        for i, (name, leaf) in enumerate(sorted(lifetime.learner.params.items()))
    }
    return replace(lifetime, learner=replace(lifetime.learner, params=noise))
