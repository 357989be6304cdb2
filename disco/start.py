"""A start for Disco's weights: a policy improvement that people wrote, distilled into the network.

The teacher is Muesli's (`disco/muesli.py`). The network is given all that it reads, and regressed on it over what
agents might say, drawn at random, so that none need live for it. Of y and z nothing is said, which is left to
meta-training.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from rich.console import Console

from metaobj.common.errors import UserError
from metaobj.common.keys import stream
from metaobj.common.runs.progress import Progress
from metaobj.common.types import PRNGKey, PyTree
from metaobj.disco.config import DiscoTraining
from metaobj.disco.drawn import draw
from metaobj.disco.muesli import departure
from metaobj.disco.network import init_network, say

_ACTIONS = (2, 4, 9)
"""A of the agents that are drawn; weights are shared over actions, and few numbers of them are as many programs."""
_LEARNING_RATE, _CLIP = 3e-3, 1.0
_SIZE_WEIGHT = 0.01
"""Of the squared mean of logits, of which policies know nothing. A meta-loss that keeps targets small would have to
bring it to 0 first, which is the same in all lifetimes and drowns what they have to say.
"""
_TOLD_OF = 50
"""Updates' worth of draws that it is told of how near the network is."""


class _Learner(NamedTuple):
    """What goes from update to update."""

    eta: PyTree
    moments: PyTree
    key: PRNGKey


def distil(config: DiscoTraining, console: Console, devices: int = 1) -> PyTree:
    """Weights eta that say what the teacher says, as nearly as their network can; how near they are is told.

    Args:
        config: of the run that starts from them; `start_updates` tells how long.
        console: where progress is shown.
        devices: of the run; one of them does all of this.

    Raises:
        UserError: what was learnt is not finite.
    """
    updates, chunk = config.start_updates, config.log_every
    optimiser = optax.chain(
        optax.clip_by_global_norm(_CLIP), optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, updates))
    )

    def error(eta: PyTree, key: PRNGKey) -> tuple[jax.Array, jax.Array]:
        keys = jax.random.split(key, len(_ACTIONS))
        drawn = [draw(k, n, config.rollout_steps, config.network.sizes) for k, n in zip(keys, _ACTIONS, strict=True)]
        said = [say(eta, life, seen).policy for seen, life in drawn]
        found = jnp.mean(jnp.array([departure(seen, policy) for (seen, _), policy in zip(drawn, said, strict=True)]))
        size = jnp.mean(jnp.array([jnp.mean(policy) ** 2 for policy in said]))
        return found + _SIZE_WEIGHT * size, found

    def update(learner: _Learner, _: None) -> tuple[_Learner, jax.Array]:
        key, lesson = jax.random.split(learner.key)
        gradient, found = jax.grad(error, has_aux=True)(learner.eta, lesson)
        steps, moments = optimiser.update(gradient, learner.moments)
        return _Learner(optax.apply_updates(learner.eta, steps), moments, key), found

    @jax.jit
    def begin(key: PRNGKey) -> _Learner:
        first, key = jax.random.split(key)
        eta = init_network(first, config.network.sizes)
        eta |= {name: jax.tree.map(jnp.zeros_like, eta[name]) for name in ("y_hat", "z_hat")}
        return _Learner(eta, optimiser.init(eta), key)

    @jax.jit
    def learn(learner: _Learner) -> tuple[_Learner, jax.Array]:
        learner, errors = jax.lax.scan(update, learner, None, chunk)
        return learner, jnp.mean(errors)  # each on rollouts that were never learnt from

    with Progress(console, updates, 0, {"policy_error": "policy's error {:.4f}"}) as progress:
        progress.note("learning the start from Muesli: compiling")
        # Most of what is computed here is random numbers, of which this kind is the cheapest.
        learner = begin(stream(jax.random.key(config.seed, impl="rbg"), "start"))
        for step in range(chunk, updates + 1, chunk):
            learner, errors = learn(learner)
            progress.update(step, {"policy_error": float(errors)})
    # By now the learning rate is 0: what follows is of the weights as they are.
    told_of = []
    for _ in range(math.ceil(_TOLD_OF / chunk)):
        learner, errors = learn(learner)
        told_of.append(float(errors))
    found = sum(told_of) / len(told_of)
    if not math.isfinite(found):
        raise UserError("the teacher was not learnt: its error is not finite")
    told = f"on what agents might say the policy's targets differ by {found:.4f} nats"
    console.print(f"started from Muesli: {told}", highlight=False, soft_wrap=True)
    return jax.device_get(learner.eta)
