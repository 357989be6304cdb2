"""A policy improvement that people wrote, in terms of what Disco's network is given.

It is the clipped maximum a posteriori policy of Muesli (Hessel et al. 2021, "Muesli: combining improvements in policy
optimization", arXiv 2104.06159), pi_CMPO(a|s) proportional to pi(a|s) exp(clip(A(s, a), -c, c)), with A standardised by
the advantages' running moments: of the action that was taken what its Retrace return says, which tells of it long
before its action value does, and of the others the agent's action values relative to the state's. The policy that it
improves on is the agent's own. The paper's is the target network's, beside a policy gradient that moves the agent on;
here targets are all that moves it, and one that lags ten updates behind would hold it back.
"""

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import kl_divergence
from metaobj.disco.network import Seen

LARGEST = 1.0
"""c."""


def muesli(seen: Seen) -> jax.Array:
    """Logits of the improved policy, [T, B, A]."""
    taken = jax.nn.one_hot(seen.steps.action, seen.values.relative.shape[-1])  # [T, B, A]
    advantages = jnp.where(taken > 0, seen.values.advantages[..., None], seen.values.relative[:-1])
    prior = jax.nn.log_softmax(seen.heads["policy"][:-1])
    return prior + jnp.clip(seen.advantages.normalise(advantages), -LARGEST, LARGEST)


def departure(seen: Seen, policy: jax.Array) -> jax.Array:
    """KL from the improved policy to the one with these logits [T, B, A], in nats and over all steps."""
    return jnp.mean(kl_divergence(jax.nn.log_softmax(muesli(seen)), jax.nn.log_softmax(policy)))
