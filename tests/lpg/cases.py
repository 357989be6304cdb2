"""Agents of LPG in mid-life whose meta-gradients are looked at, and finite differences."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.on_policy import on_policy
from metaobj.common.lifetimes.population import begin, make_families, sampler_grids
from metaobj.common.lifetimes.sampler import SamplerConfig, make_sampler
from metaobj.common.meta.objectives import Last, MetaObjective, meta_loss
from metaobj.lpg.meta_loss import MetaLossConfig
from metaobj.lpg.objective import LPG, LPGConfig
from tests.quick import first

T, B, K, L, M, GAMMA = 4, 3, 3, 6, 4, 0.9
WEIGHTS = MetaLossConfig(policy_entropy=0.3, prediction_entropy=0.2, policy_target=0.1, prediction_target=0.4)
OBJECTIVE = LPG(LPGConfig(units=5, prediction_size=M, embedding_units=3), WEIGHTS)
AGENTS = {
    "tabular": Entry("tests.worlds:RING", L, B, 100, (3.0,)),
    # A large eps_root keeps Adam's curvature at small gradients within reach of finite differences.
    "network": Entry(
        "tests.worlds:OBSERVED_RING", L, B, 100, (0.1,), AgentConfig("dense", (4,), (), "adam", adam_eps_root=1e-3)
    ),
}


LAST = Last()


class Case:
    """Agents of one kind in mid-life, an eta, and the true meta-gradient of the first lifetime."""

    def __init__(self, name: str, objective: LPG = OBJECTIVE, meta_objective: MetaObjective = LAST):
        entry = AGENTS[name]
        self.meta_objective = meta_objective
        self.objective = objective
        (self.family,) = make_families(
            [entry],
            on_policy(
                objective,
                rollout_steps=T,
                discount=GAMMA,
                value=ValueConfig(learning_rate=0.1, scale_rewards=objective.config.value_inputs),
            ),
        )
        self.program = self.family.program
        sampler = make_sampler(sampler_grids([entry], {"kl_weight": (0.7,)}), SamplerConfig())
        keys = jax.random.split(jax.random.key(3), 4)
        population = jax.jit(partial(begin, self.family, sampler))(sampler.init(), jax.random.split(keys[0], L))
        params = perturbed(keys[1], population.learner.params, 1.0 if name == "tabular" else 0.5)
        self.population = population.replace(learner=population.learner.replace(params=params))
        self.lifetime = first(self.population)
        self.eta = perturbed(keys[3], jax.jit(objective.init)(keys[3]), 0.7)
        self.differentiate = self.differentiator(self.program)
        self.value, self.gradient = self.differentiate(self.eta, self.lifetime)
        self.rollouts, self.actions = self.replay(self.eta)

    def differentiator(self, program):
        """Compiled (eta, lifetime) -> (meta-loss, meta-gradient)."""

        def loss(eta, lifetime):
            return meta_loss(self.meta_objective, program, self.objective, K, eta, lifetime, jnp.int32(0))[0]

        return jax.jit(jax.value_and_grad(loss))

    @partial(jax.jit, static_argnums=0)
    def replay(self, eta):
        """The batches that the K updates and the meta-loss see, [K + 1, ...], and the actions in them."""

        def one(lifetime, _):
            return self.program.update(self.objective, eta, lifetime)[0], self.program.act(lifetime)[1]

        lifetime, batches = jax.lax.scan(one, self.lifetime, None, length=K)
        last = self.program.act(lifetime)[1]
        batches = jax.tree.map(lambda leaf, end: jnp.concatenate([leaf, end[None]]), batches, last)
        return batches, batches.rollout.action


@partial(jax.jit, static_argnums=2)
def perturbed(key, tree, size):
    flat, unravel = ravel_pytree(jax.tree.map(lambda x: x if jnp.issubdtype(x.dtype, jnp.floating) else None, tree))
    noisy = unravel(flat + size * jax.random.normal(key, flat.shape))
    return jax.tree.map(lambda new, old: old if new is None else new, noisy, tree, is_leaf=lambda x: x is None)


def relative(ours, theirs):
    ours, theirs = ravel_pytree(ours)[0], ravel_pytree(theirs)[0]
    assert bool(jnp.all(jnp.isfinite(theirs)))
    assert ours.dtype == theirs.dtype == jnp.float64
    assert float(jnp.linalg.norm(theirs)) > 1e-6
    return float(jnp.linalg.norm(ours - theirs) / jnp.linalg.norm(theirs))


def fourth_order(at, h=2e-5):
    """The slope at 0 of a function of a step, by central differences of fourth order."""
    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)


@jax.jit
def stepped(tree, direction, step):
    return jax.tree.map(lambda w, d: w + step * d, tree, direction)


def finite_difference(case, direction):
    """Along a direction, while no sampled action changes."""

    def at(step):
        eta = stepped(case.eta, direction, step)
        np.testing.assert_array_equal(case.replay(eta)[1], case.actions)
        return float(case.differentiate(eta, case.lifetime)[0])

    return fourth_order(at)


def check_direction(case, direction):
    norm = float(jnp.linalg.norm(ravel_pytree(direction)[0]))
    direction = jax.tree.map(lambda d: d / norm, direction)
    ours = float(ravel_pytree(case.gradient)[0] @ ravel_pytree(direction)[0])
    assert np.isfinite(ours)
    np.testing.assert_allclose(finite_difference(case, direction), ours, rtol=1e-6, atol=1e-10)
    return ours
