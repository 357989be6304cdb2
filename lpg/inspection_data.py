"""What the inspection of a learned LPG measures: agents of several ages, true values, answers to single pulses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from metaobj.common.devices import quick_jit
from metaobj.common.environments.protocol import Discrete
from metaobj.common.evaluation.grown import born, grown
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.lifetimes.on_policy import OnPolicy, OnPolicyLifetime
from metaobj.common.lifetimes.population import Family, make_families
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import PRNGKey, PyTree, Rollout
from metaobj.lpg.config import LPGTraining
from metaobj.lpg.objective import LPG
from metaobj.lpg.programs import programs

ENVIRONMENT = "grid/small_layouts"
DISCOUNTS = (0.0, 0.5, 0.9, 0.95, 0.99)
"""Of the values that predictions are compared with."""
_USUAL = {"learning_rate": 40.0, "kl_weight": 0.5}


@dataclass(frozen=True)
class Size:
    """How much is simulated."""

    agents: int = 16
    """L, one world each."""
    ages: tuple[float, ...] = (0.04, 0.3, 1.0)
    """Shares of a lifetime after which the agents are looked at, ascending; the second is the "half-trained" one."""
    updates: int | None = None
    """A lifetime's length; None takes the one of the training distribution."""
    rollouts: int = 20
    """How many rollouts of each agent its true values are taken from; the first is the one that is drawn."""
    chain_agents: int = 16
    """In chains longer than a rollout: agents in each kind of them, by each cut of the rule."""
    chain_updates: int = 250
    """A lifetime's length there."""


@dataclass(frozen=True, eq=False)
class Setup:
    """Where agents are trained for the inspection, and how."""

    family: Family[OnPolicy]
    hyperparameters: Mapping[str, float]
    updates: int


class Snapshot(NamedTuple):
    """L agents of one age: the rollout that their next update would use, and how they see each state.

    On the host, once `look_at_ages` returns it.
    """

    batch: Batch  # [L, T, B, ...]
    phi: jax.Array  # [L, T, B] phi(y(s_t))
    pi_hat: jax.Array  # [L, T, B]
    y_hat: jax.Array  # [L, T, B, m] probabilities
    pi: jax.Array  # [L, T, B] probability of the action taken
    steps: Rollout  # [L, P, B] that rollout and those after it
    state_logits: jax.Array  # [L, S, m] y of every state
    state_phi: jax.Array  # [L, S]


class Values(NamedTuple):
    """The true values of one age's agents."""

    visited: np.ndarray  # [L, S] bool, states with enough visits to say
    by_discount: np.ndarray  # [discounts, L, S]
    returns_to_go: np.ndarray  # [L, T, B] at the rule's discount


class Pulses(NamedTuple):
    """Change of pi_hat on a rollout in which nothing happens."""

    reward: np.ndarray  # [T, T] of step t when step k pays +1
    prediction: np.ndarray  # [T, T + 1] of step t when state j is predicted rich rather than poor


def make_setup(loaded: Loaded[LPGTraining, LPG], size: Size) -> Setup:
    """Held-out worlds of `ENVIRONMENT`, with the hyperparameters that meta-training settled on where it knew it."""
    config, entries = loaded.config, {entry.environment: entry for entry in loaded.entries}
    known = entries.get(ENVIRONMENT, Entry(ENVIRONMENT))
    entry = Entry(ENVIRONMENT, num_environments=known.num_environments, updates=known.updates, split="held_out")
    (family,) = make_families([entry], programs(config, loaded.objective))
    return Setup(family, loaded.settled((ENVIRONMENT,), _USUAL), size.updates or entry.updates)


def look_at_ages(objective: LPG, eta: PyTree, setup: Setup, size: Size, key: PRNGKey) -> list[tuple[int, Snapshot]]:
    """Train fresh agents and look at them on the way: (updates so far, what was seen), one pair per age."""
    program = setup.family.program
    hyperparameters = {name: jnp.float32(value) for name, value in setup.hyperparameters.items()}
    length = jnp.int32(setup.updates)
    agents = born(setup.family, jax.random.split(key, size.agents), hyperparameters, length)
    seen, done = [], 0
    for share in size.ages:
        until = max(1, round(share * setup.updates))
        agents = grown(objective, program, eta, agents, jnp.int32(until - done))
        done = until
        looked = _look(objective, program, size.rollouts, eta, agents)
        seen.append((done, jax.tree.map(np.asarray, looked)))
    return seen


@quick_jit(static_argnums=(0, 1, 2))
def _look(objective: LPG, program: OnPolicy, rollouts: int, eta: PyTree, agents: OnPolicyLifetime) -> Snapshot:
    space = program.environment.observation_space
    assert isinstance(space, Discrete)

    def one(lifetime: OnPolicyLifetime) -> Snapshot:
        def apply(observation: jax.Array) -> dict[str, jax.Array]:
            return program.agent.apply(lifetime.learner.params, observation)

        # The agent stands still meanwhile; only its value function, which nobody reads later, learns on.
        _, batches = jax.lax.scan(lambda agent, _: program.gather(agent)[:2], lifetime, None, length=rollouts)
        batch = jax.tree.map(lambda leaf: leaf[0], batches)
        steps = batch.rollout  # [T, B, ...]
        heads = apply(steps.observation)
        (pi_hat, log_y_hat), _ = objective.targets(eta, heads, apply(steps.next_observation), batch)
        pi = jnp.take_along_axis(jax.nn.softmax(heads["policy"]), steps.action[..., None], -1)[..., 0]
        states = apply(jnp.arange(space.n))["prediction"]  # [S, m]
        return Snapshot(
            batch=batch,
            phi=objective.embed(eta, heads["prediction"]),
            pi_hat=pi_hat,
            y_hat=jnp.exp(log_y_hat),
            pi=pi,
            steps=jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), batches.rollout),
            state_logits=states,
            state_phi=objective.embed(eta, states),
        )

    return jax.vmap(one)(agents)


def true_values(snapshot: Snapshot, discount: float, min_visits: int = 4) -> Values:
    """Values of each agent's present policy, from the Markov chain that its steps show, solved exactly.

    A time limit does not end the chain. Returns to go are the rollout's rewards, with the chain's value after its end.
    """
    transitions, rewards, visits = _count(snapshot.steps, snapshot.state_phi.shape[1])
    # At a discount of 1 a chain that never ends would have no value.
    own = min(discount, 0.999)
    values = np.zeros((len(DISCOUNTS) + 1, *visits.shape))
    for agent, met in enumerate(visits > 0):  # states never met have the value 0; without them the systems are small
        chain, reward = transitions[agent][np.ix_(met, met)], rewards[agent][met]
        for at, gamma in enumerate((*DISCOUNTS, own)):
            values[at, agent, met] = np.linalg.solve(np.eye(len(reward)) - gamma * chain, reward)
    steps = snapshot.batch.rollout
    agents = np.arange(len(visits))[:, None, None]
    next_values = values[-1][agents, steps.next_observation].astype(np.float32)  # [L, T, B]
    returns = jax.vmap(lambda steps, values: lambda_returns(steps, values, own, 1.0))(steps, next_values)
    enough = np.minimum(min_visits, visits.max(axis=1, keepdims=True))
    return Values(visits >= enough, values[:-1], np.asarray(returns))


def _count(steps: Rollout, states: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transition matrices [L, S, S] (rows add up to the chance of going on), mean rewards [L, S], visits [L, S]."""
    agents = len(steps.reward)
    agent = np.broadcast_to(np.arange(agents)[:, None, None], steps.reward.shape)
    visits, rewards = np.zeros((agents, states)), np.zeros((agents, states))
    transitions = np.zeros((agents, states, states))
    np.add.at(visits, (agent, steps.observation), 1.0)
    np.add.at(rewards, (agent, steps.observation), steps.reward)
    np.add.at(transitions, (agent, steps.observation, steps.next_observation), 1.0 - steps.terminated)
    each = np.maximum(visits, 1.0)
    return transitions / each[..., None], rewards / each, visits


def typical_predictions(snapshot: Snapshot, visited: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Median logits [m] of y: over all visited states, over the fifth of lowest value, over that of highest.

    Args:
        visited: [L, S].
        values: [L, S].
    """
    log_y, values = np.asarray(jax.nn.log_softmax(snapshot.state_logits))[visited], values[visited]
    low, high = np.quantile(values, (0.2, 0.8))
    return tuple(np.median(log_y[chosen], 0) for chosen in (values == values, values <= low, values >= high))


def pulses(
    objective: LPG, eta: PyTree, steps: int, pi: float, predictions: Sequence[np.ndarray], scalars: Sequence[float]
) -> Pulses:
    """How pi_hat answers to one reward, and to one state's prediction, where nothing else happens.

    Args:
        steps: T.
        pi: probability of each action taken.
        predictions: logits [m] of y everywhere, and of the state that is predicted poor, then rich.
        scalars: the discount, n / N and log N, as a batch holds them.
    """
    usual, poor, rich = (jnp.asarray(logits) for logits in predictions)
    inputs = tuple(jnp.float32(scalar) for scalar in scalars)
    reward, prediction = _pulses(objective, steps, eta, jnp.float32(pi), usual, poor, rich, inputs)
    return Pulses(np.asarray(reward), np.asarray(prediction))


@quick_jit(static_argnums=(0, 1))
def _pulses(
    objective: LPG,
    T: int,
    eta: PyTree,
    pi: jax.Array,
    usual: jax.Array,
    poor: jax.Array,
    rich: jax.Array,
    scalars: tuple[jax.Array, ...],
) -> tuple[jax.Array, jax.Array]:
    rewards = jnp.concatenate([jnp.eye(T), jnp.zeros((T, 1 + 2 * (T + 1)))], 1)  # [T, B]: T pulses, none, the rest
    B = rewards.shape[1]
    here = jnp.eye(T + 1, dtype=bool)[..., None]  # [T + 1 states, T + 1 columns, 1]
    quiet = jnp.broadcast_to(usual, (T + 1, T + 1, usual.shape[0]))
    y = jnp.concatenate([quiet, jnp.where(here, poor, quiet), jnp.where(here, rich, quiet)], 1)  # [T + 1, B, m]
    pi = jnp.clip(pi, 1e-6, 1 - 1e-6)
    policy = jnp.broadcast_to(jnp.log(jnp.stack([pi, 1 - pi])), (T, B, 2))
    never, nowhere = jnp.zeros((T, B), bool), jnp.zeros((T, B), jnp.int32)
    discount, progress, log_length = scalars
    batch = Batch.of(
        Rollout(nowhere, nowhere, rewards, never, never, nowhere),
        advantages=rewards,
        rewards_to_go=rewards,
        discount=discount,
        progress=progress,
        log_length=log_length,
    )
    heads, next_heads = {"policy": policy, "prediction": y[:-1]}, {"policy": policy, "prediction": y[1:]}
    (pi_hat, _), _ = objective.targets(eta, heads, next_heads, batch)  # [T, B]
    poor_end = 2 * (T + 1)
    return pi_hat[:, :T] - pi_hat[:, T : T + 1], pi_hat[:, poor_end:] - pi_hat[:, T + 1 : poor_end]
