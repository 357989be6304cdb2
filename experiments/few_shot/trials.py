"""RL^2 (Duan et al. 2016; Wang et al. 2016): an agent whose memory lasts for a trial of several episodes in one world,
and that learns, over many worlds, to make use of it.
"""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from experiments.few_shot.grid import GridNavi
from metaobj.common.agents.agent import entropy, log_probability
from metaobj.common.devices import quick_jit
from metaobj.common.environments.protocol import sample_params
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.rules.handwritten import clipped_surrogate
from metaobj.common.types import PRNGKey, PyTree, Rollout


class Network(nn.Module):
    """Policy and value from a memory; or from each step's inputs alone."""

    units: int
    actions: int
    remembers: bool

    @nn.compact
    def __call__(self, memory: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """From the memory [N, H] and T further steps' inputs [T, N, D]: the memory after them; logits [T, N, A] and
        values [T, N] at each.
        """
        if self.remembers:
            x = self._remember(memory, nn.Dense(3 * self.units)(inputs))
            memory = x[-1]
        else:
            x = nn.tanh(nn.Dense(self.units)(nn.tanh(nn.Dense(self.units)(inputs))))
        small = nn.initializers.orthogonal(0.01)
        return memory, nn.Dense(self.actions, kernel_init=small)(x), nn.Dense(1)(x)[..., 0]

    def _remember(self, memory: jax.Array, read: jax.Array) -> jax.Array:
        """A GRU (Cho et al. 2014) after each step, [T, N, H]; what it reads, [T, N, 3H], is made for all steps at once,
        since many small products cost more than a large one.
        """
        recurrent = self.param("recurrent", nn.initializers.orthogonal(), (self.units, 3 * self.units))

        def step(memory: jax.Array, read: jax.Array) -> tuple[jax.Array, jax.Array]:
            (r, z, n), (r_h, z_h, n_h) = (jnp.split(part, 3, -1) for part in (read, memory @ recurrent))
            z = nn.sigmoid(z + z_h)
            memory = z * memory + (1 - z) * nn.tanh(n + nn.sigmoid(r + r_h) * n_h)
            return memory, memory

        return jax.lax.scan(step, memory, read)[1]


class Trials(NamedTuple):
    """N trials from their start to their end, T steps over all episodes."""

    inputs: jax.Array  # [T, N, D]
    action: jax.Array  # [T, N]
    log_probability: jax.Array  # [T, N] of the actions as they were drawn
    reward: jax.Array  # [T, N]
    value: jax.Array  # [T, N]


@dataclass(frozen=True)
class TrialAgent:
    """An agent that learns by PPO, to which a trial is one long episode."""

    grid: GridNavi = GridNavi()
    episodes: int = 4
    """Of a trial; the agent is put back to the start after each, the goal stays."""
    remembers: bool = True
    """Without, the policy is a feed-forward network of the same inputs."""
    units: int = 64
    trials: int = 128
    """N, of an update."""
    epochs: int = 4
    minibatches: int = 4
    """Parts of an epoch; whole trials, so that memories are as they were."""
    learning_rate: float = 3e-3
    """Of Adam's first step; falls to 0 in a line."""
    discount: float = 0.97
    """Within the trial, across its episodes: what is found in one pays in the next."""
    lambda_: float = 0.95
    value_weight: float = 0.5
    entropy_weight: float = 0.01
    gradient_clip: float = 0.5

    @property
    def steps(self) -> int:
        """T, of a trial."""
        return self.episodes * self.grid.time_limit

    @cached_property
    def _network(self) -> Network:
        return Network(self.units, self.grid.action_space.n, self.remembers)

    def init(self, key: PRNGKey) -> PyTree:
        """Parameters."""
        return self._network.init(key, self.no_memory(1), self.inputs(jnp.zeros(1, int), self.nothing(1))[None])

    def apply(self, params: PyTree, memory: jax.Array, inputs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Memory [N, H], logits [T, N, A] and values [T, N] after T further steps' inputs [T, N, D]."""
        after: Any = self._network.apply(params, memory, inputs)
        return after

    def no_memory(self, trials: int) -> jax.Array:
        """What a trial starts with, [N, H]."""
        return jnp.zeros((trials, self.units))

    def nothing(self, trials: int) -> tuple[jax.Array, ...]:
        """What came before a trial's first step: no action, no reward, no end."""
        return jnp.full(trials, -1), jnp.zeros(trials), jnp.zeros(trials, bool)

    def inputs(self, cell: jax.Array, before: tuple[jax.Array, ...]) -> jax.Array:
        """Of cells [N] and the step before, (action, reward, whether an episode ended) [N]: [N, D]."""
        action, reward, ended = before
        places, actions = self.grid.observation_space.n, self.grid.action_space.n
        parts = (jax.nn.one_hot(cell, places), jax.nn.one_hot(action, actions), reward[:, None], ended[:, None])
        return jnp.concatenate(parts, -1, dtype=float)

    def play(self, params: PyTree, key: PRNGKey, goal: jax.Array) -> Trials:
        """Whole trials, one for each of the goals [N], from an empty memory."""
        N = len(goal)
        start = jax.vmap(partial(self.grid.reset, key))(goal)  # draws nothing

        def step(carry: Any, key: PRNGKey) -> tuple[Any, Trials]:
            memory, (cell, state), before = carry
            inputs = self.inputs(cell, before)
            memory, logits, value = self.apply(params, memory, inputs[None])
            action = jax.random.categorical(key, logits[0])
            cell, state, reward, _, ended, _ = jax.vmap(partial(self.grid.step, key))(state, action, goal)
            world = jax.tree.map(partial(jnp.where, ended), start, (cell, state))
            seen = Trials(inputs, action, log_probability(logits[0], action), reward, value[0])
            return (memory, world, (action, reward, ended)), seen

        first = self.no_memory(N), start, self.nothing(N)
        return jax.lax.scan(step, first, jax.random.split(key, self.steps))[1]

    def returns(self, trials: Trials) -> jax.Array:
        """Of each episode, [episodes, N]."""
        return trials.reward.reshape(self.episodes, self.grid.time_limit, -1).sum(1)

    def loss(self, params: PyTree, trials: Trials, advantage: jax.Array, target: jax.Array) -> jax.Array:
        """PPO's, with all memories made anew from the trials' start."""
        _, logits, value = self.apply(params, self.no_memory(target.shape[1]), trials.inputs)
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        surrogate = clipped_surrogate(log_probability(logits, trials.action) - trials.log_probability, advantage)
        value_loss = 0.5 * (value - target) ** 2
        return jnp.mean(surrogate + self.value_weight * value_loss - self.entropy_weight * entropy(logits))

    def estimates(self, trials: Trials) -> tuple[jax.Array, jax.Array]:
        """Advantages and returns over the rest of the trial, [T, N]."""
        last = jnp.zeros_like(trials.reward, bool).at[-1].set(True)
        next_value = jnp.concatenate([trials.value[1:], jnp.zeros_like(trials.value[:1])])
        cut = jnp.zeros_like(last)
        rollout = Rollout(trials.inputs, trials.action, trials.reward, last, cut, trials.inputs)
        returns = lambda_returns(rollout, next_value, self.discount, self.lambda_)
        return returns - trials.value, returns


@quick_jit(static_argnums=(0, 1))
def train(agent: TrialAgent, updates: int, key: PRNGKey) -> tuple[PyTree, jax.Array]:
    """An agent's parameters after so many updates, and means of each episode's returns in the trials of each update,
    [updates, episodes].
    """
    init_key, key = jax.random.split(key)
    params = agent.init(init_key)
    gradient_steps = updates * agent.epochs * agent.minibatches
    optimiser = optax.chain(
        optax.clip_by_global_norm(agent.gradient_clip),
        optax.adam(optax.linear_schedule(agent.learning_rate, 0.0, gradient_steps), eps=1e-5),
    )

    def update(carry: tuple[PyTree, PyTree], key: PRNGKey) -> tuple[tuple[PyTree, PyTree], jax.Array]:
        goal_key, play_key, shuffle_key = jax.random.split(key, 3)
        goal = jax.vmap(lambda k: sample_params(agent.grid, k, ()))(jax.random.split(goal_key, agent.trials))
        trials = agent.play(carry[0], play_key, goal)
        data = (trials, *agent.estimates(trials))

        def one_step(carry: tuple[PyTree, PyTree], rows: jax.Array) -> tuple[tuple[PyTree, PyTree], None]:
            params, state = carry
            gradient = jax.grad(agent.loss)(params, *jax.tree.map(lambda leaf: leaf[:, rows], data))
            changes, state = optimiser.update(gradient, state)
            return (optax.apply_updates(params, changes), state), None

        keys = jax.random.split(shuffle_key, agent.epochs)
        shuffled = jax.vmap(lambda k: jax.random.permutation(k, agent.trials))(keys)
        rows = shuffled.reshape(agent.epochs * agent.minibatches, -1)
        return jax.lax.scan(one_step, carry, rows)[0], agent.returns(trials).mean(1)

    (params, _), curve = jax.lax.scan(update, (params, optimiser.init(params)), jax.random.split(key, updates))
    return params, curve
