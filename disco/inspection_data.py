"""What the inspection of a learned Disco measures: how its targets move in agents of several ages, and what agents earn
in long chains while it is kept from seeing what they predict.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.agents.agent import AgentConfig, Heads, log_probability
from metaobj.common.devices import quick_jit
from metaobj.common.environments.delayed_chain import DelayedChain
from metaobj.common.environments.one_hot import OneHot
from metaobj.common.evaluation.credit import Bootstrapping, all_cuts, chains, draw_chains, live_in_chains
from metaobj.common.evaluation.grown import born, grown
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.on_policy import OnPolicy, OnPolicyLifetime
from metaobj.common.lifetimes.population import make_families
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import PRNGKey, PyTree
from metaobj.disco.agent import BY_ACTION, ModelConfig, TargetedLearner, before_and_after, time_steps
from metaobj.disco.config import DiscoTraining
from metaobj.disco.cut import CHANNELS, Cut
from metaobj.disco.network import Said
from metaobj.disco.objective import Disco
from metaobj.disco.programs import trials
from metaobj.disco.scalars import expected, squash, two_hot

ENVIRONMENT = "grid/moving_any_small"
_USUAL = {"learning_rate": 1e-2}
_SMALL = ModelConfig(32, 32)
_AGENT = AgentConfig("dense", hidden=(32,))


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    agents: int = 8
    """L, a world each."""
    environments: int = 4
    """B, of each."""
    ages: tuple[int, ...] = (0, 30, 300)
    """Updates after which they are looked at, ascending."""
    chain_agents: int = 4
    """In chains longer than a rollout: agents by each cut of the rule."""
    chain_updates: int = 600
    """A lifetime's length there."""
    chain_steps: int = 8
    """T there; chains are longer, by as much at most."""


class Moved(NamedTuple):
    """How targets move by the number of steps from there to what is changed, 0 to T - 1; NaN where no two steps of one
    episode are so far apart. Of the policy, by how much log pi_hat of the action taken grows; of y and z, the
    probability that goes elsewhere.
    """

    policy: jax.Array | np.ndarray  # [T]
    y: jax.Array | np.ndarray  # [T]
    z: jax.Array | np.ndarray  # [T]


class Pulses(NamedTuple):
    """The same before means are taken, on axes of their own."""

    moved: Moved
    counts: jax.Array  # bool, what is of one episode


@dataclass(frozen=True)
class Movements:
    """In agents of one age."""

    updates: int
    reward: Moved
    """By a reward of 1."""
    outlook: dict[str, Moved]
    """By what is predicted of the state after the rollout, see `_outlooks`; distances are to the last step."""


def small(config: DiscoTraining, steps: int) -> DiscoTraining:
    """Of small agents with rollouts of so many steps."""
    return replace(config, rollout_steps=steps, model=_SMALL)


def movements(loaded: Loaded[DiscoTraining, Disco], size: Size, key: PRNGKey) -> list[Movements]:
    """Of each age."""
    config = small(loaded.config, loaded.config.rollout_steps)
    entry = Entry(ENVIRONMENT, num_environments=size.environments, agent=_AGENT)
    (family,) = make_families([entry], trials(config, loaded.objective))
    setting = {name: jnp.float32(x) for name, x in loaded.settled((ENVIRONMENT,), _USUAL).items()}
    agents = born(family, jax.random.split(key, size.agents), setting, jnp.int32(size.ages[-1]))
    found, done = [], 0
    for age in size.ages:
        agents = grown(loaded.objective, family.program, loaded.eta, agents, jnp.int32(age - done))
        done = age
        reward, outlook = _look(loaded.objective, family.program, loaded.eta, agents)
        found.append(
            Movements(age, by_distance(reward), {name: from_the_end(moved) for name, moved in outlook.items()})
        )
    return found


def bootstrapping(loaded: Loaded[DiscoTraining, Disco], size: Size, key: PRNGKey) -> Bootstrapping:
    """Train fresh agents by the rule as it is, with each of its channels cut and with all, in the same plain chains."""
    T = size.chain_steps
    chain = DelayedChain(2 * T)
    entry = Entry("chain/long", num_environments=8, agent=_AGENT)
    program = trials(small(loaded.config, T), loaded.objective)(entry, OneHot(chain))
    family = chains(program, chain, (T + 1, 2 * T), "any", ("plain",))
    worlds_key, lives_key = jax.random.split(key)
    worlds = draw_chains(family, worlds_key, size.chain_agents)
    setting = loaded.settled(("chain/long",), _USUAL)
    settings = {
        variant: {**setting, **{knob: float(name not in variant.cut) for name, knob in CHANNELS.items()}}
        for variant in all_cuts(list(CHANNELS))
        if len(variant.cut) in (0, 1, len(CHANNELS))
    }
    return live_in_chains(Cut(loaded.objective), loaded.eta, family, worlds, size.chain_updates, settings, lives_key)


@quick_jit(static_argnums=(0, 1))
def _look(rule: Disco, program: OnPolicy, eta: PyTree, agents: OnPolicyLifetime) -> tuple[Pulses, dict[str, Pulses]]:
    """What moves where in one rollout of each agent: by a reward at each step k [L, k, T, B], and by what is predicted
    of the state after the rollout [L, T, B].
    """

    def one(lifetime: OnPolicyLifetime) -> tuple[Pulses, dict[str, Pulses]]:
        learner = lifetime.learner
        assert isinstance(learner, TargetedLearner)
        _, batch, _ = program.act(lifetime)
        batch = batch._replace(memory=learner.memory)
        seen = time_steps(batch.rollout)
        both = tuple(program.agent.apply(params, seen) for params in (learner.params, learner.target))
        action, reward = batch.rollout.action, batch.rollout.reward
        steps = jnp.arange(reward.shape[0])

        def say(both: tuple[Heads, ...], reward: jax.Array = reward) -> Said:
            given = batch._replace(rollout=batch.rollout._replace(reward=reward))
            return rule.targets(eta, *before_and_after(*both), given)[0].said

        def moved(before: Said, after: Said) -> Moved:
            policy = (log_probability(said.policy, action) for said in (after, before))
            elsewhere = (
                jnp.sum(jnp.abs(jax.nn.softmax(a) - jax.nn.softmax(b)), -1) / 2
                for a, b in ((after.y, before.y), (after.z, before.z))
            )
            return Moved(next(policy) - next(policy), *elsewhere)

        def paid(k: jax.Array) -> Said:
            return say(both, reward + ((steps == k)[:, None] & _half(reward.shape[1])))

        over = batch.rollout.terminated | batch.rollout.truncated
        episode = jnp.concatenate([jnp.zeros_like(over[:1]), jnp.cumsum(over, 0)])  # [T + 1, B]
        plain = say(both)
        reach = jax.lax.map(lambda k: moved(plain, paid(k)), steps)
        same = (episode[:-1][:, None] == episode[:-1]) & (steps[:, None] >= steps)[..., None]  # [k, T, B]
        last = episode[-1] == episode[:-1]  # [T, B]
        outlooks = {
            name: moved(say(worse), say(better))
            for name, (worse, better) in _outlooks(both, plain, paid(steps[-1])).items()
        }
        return Pulses(reach, same), {name: Pulses(found, last) for name, found in outlooks.items()}

    return jax.vmap(one)(agents)


def _outlooks(
    both: tuple[Heads, ...], plain: Said, paid: Said
) -> dict[str, tuple[tuple[Heads, ...], tuple[Heads, ...]]]:
    """What is predicted of the last time step, (as it is, better in every second environment), by the head that says
    so: action values that are 1 higher; or the y, or each action's z, that a step is to have whose action was paid 1,
    in place of that which it is to have as it was.
    """

    def with_last(name: str, last: Callable[[jax.Array], jax.Array]) -> tuple[Heads, ...]:
        return tuple({**heads, name: heads[name].at[-1].set(last(heads[name][-1]))} for heads in both)

    def higher(q: jax.Array) -> jax.Array:
        raised = jnp.log(two_hot(squash(expected(q) + 1.0)) + 1e-9)
        return jnp.where(_half(q.shape[0])[:, None, None], raised, q)

    found = {"q": (both, with_last("q", higher))}
    for name in ("y", "z"):
        now, then = (getattr(said, name)[-1] for said in (plain, paid))  # [B, n]; every second one was paid
        if name in BY_ACTION:
            now, then = now[:, None], then[:, None]
        found[name] = (with_last(name, partial(_as_wide, now)), with_last(name, partial(_as_wide, then)))
    return found


def _as_wide(x: jax.Array, old: jax.Array) -> jax.Array:
    return jnp.broadcast_to(x, old.shape)


def _half(environments: int) -> jax.Array:
    """Every second one, [B]. The others tell what moves everywhere: advantages are read in units of their size."""
    return jnp.arange(environments) % 2 == 0


def _means(moved: np.ndarray, counts: np.ndarray) -> float:
    """Of the environments in which something was changed less the others, over what counts; both [..., B]."""
    means = [moved[..., half::2][counts[..., half::2]] for half in (0, 1)]
    return float(means[0].mean() - means[1].mean()) if all(len(part) for part in means) else np.nan


def by_distance(pulses: Pulses) -> Moved:
    """Of moves by steps [L, k, T, B]."""
    T = pulses.counts.shape[2]

    def distant(x: np.ndarray, distance: int) -> np.ndarray:
        at = np.arange(T - distance)
        return x[:, at + distance, at]

    return Moved(
        *(
            np.array([_means(distant(np.asarray(x), d), distant(np.asarray(pulses.counts), d)) for d in range(T)])
            for x in pulses.moved
        )
    )


def from_the_end(pulses: Pulses) -> Moved:
    """Of moves by what comes after the last step [L, T, B]."""
    T = pulses.counts.shape[1]
    counts = np.asarray(pulses.counts)
    return Moved(*(np.array([_means(np.asarray(x)[:, t], counts[:, t]) for t in range(T)[::-1]]) for x in pulses.moved))
