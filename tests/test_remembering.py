"""Rules that remember: what they carry from update to update, and gradients through it."""

from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.meta.objectives import Last, meta_loss
from metaobj.common.rules.bounded import Bounded
from metaobj.selftuning.losses import Outer
from metaobj.selftuning.recent import RecentRewards
from metaobj.selftuning.rule import Numbers, SelfTuning
from tests.selftuning.lives import born, family_of

pytestmark = pytest.mark.usefixtures("float64")
STILL = Numbers(value_weight=Bounded(0.0, tuned=False))  # values are constant to gradients, and are not to move
OUTER = Outer(0.8, 1.0, 0.0, 0.03, critic="outer")


@dataclass(frozen=True)
class Growing(SelfTuning):
    """Weighs its loss by what it remembers, which grows with eta and with the policy's own logits."""

    def init(self, key):
        return {**super().init(key), "growth": jnp.asarray(0.3)}

    def in_force(self, eta, memory):
        return {**eta, "policy_weight": jnp.full(1, memory)}

    def first_memory(self):
        return jnp.asarray(0.5)

    def remember(self, weights, heads, next_heads, batch, targets):
        return batch.memory + weights["growth"] * (1.0 + jnp.mean(heads["policy"] ** 2))


NETWORK = pytest.param(AgentConfig("dense", (4,), apart=("value",)), marks=pytest.mark.slow)


@pytest.mark.slow
@pytest.mark.parametrize("agent", [None, NETWORK], ids=["table", "network"])
def test_gradients_go_through_what_is_remembered(agent):
    rule = Growing(replace(STILL, policy_weight=Bounded(1.0, 0.0, 2.0)), OUTER)
    family = family_of(rule, agent)
    lifetime = born(family)

    @jax.jit
    def loss(growth):
        eta = {**rule.init(jax.random.key(0)), "growth": growth}
        value, (after, _) = meta_loss(Last(), family.program, rule, 2, eta, lifetime, jnp.int32(0))
        return value, after.learner.memory

    (_, memory), gradient = jax.value_and_grad(loss, has_aux=True)(jnp.asarray(0.3))
    assert memory >= 0.5 + 2 * 0.3
    (above, _), (below, _) = (loss(jnp.asarray(0.3 + step)) for step in (1e-5, -1e-5))
    np.testing.assert_allclose(gradient, (above - below) / 2e-5, rtol=1e-6)
    assert gradient != 0


def test_recent_rewards_move_the_entropy():
    rule = RecentRewards(replace(STILL, entropy_weight=Bounded(0.05, 0.0, 0.1)), OUTER, rollouts=3, units=4)
    family = family_of(rule)
    eta = rule.init(jax.random.key(0))
    learn, gather = jax.jit(family.program.learn, static_argnums=0), jax.jit(family.program.gather)
    lifetime, rewards, told = born(family), [], []
    tuned = {**eta, "output": jnp.ones(4)}
    for _ in range(5):
        lifetime, batch, shown = gather(lifetime)
        lifetime, about = learn(rule, tuned, lifetime, batch)
        rewards.append(shown["reward"])
        told.append(about["entropy_weight"])
    np.testing.assert_allclose(lifetime.learner.memory, rewards[-3:], rtol=1e-12)
    np.testing.assert_allclose(told[0], 0.05)  # nothing has been earned yet
    assert len(set(map(float, told))) > 3 and all(0 < weight < 0.1 for weight in told)
    untuned = rule.values(rule.in_force(eta, jnp.ones(3)))
    np.testing.assert_allclose(untuned["entropy_weight"], 0.05)  # the network says nothing at first
