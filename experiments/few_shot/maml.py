"""MAML for reinforcement learning (Finn et al. 2017): parameters from which a few policy gradients go far.

How the adapted parameters depend on those before is itself estimated from sampled steps. Differentiating the usual
surrogate log pi(a|s) A twice gives the wrong answer: it forgets that other parameters would have drawn other actions.
Here the surrogate is made of likelihood ratios, whose derivatives are right (see `surrogate`). What is ascended is the
return after the inner step's expectation (Rothfuss et al. 2019). E-MAML's further term (Stadie et al. 2018), which
credits episodes before adapting with what a few of them happen to lead to, is left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from metaobj.common.devices import quick_jit
from metaobj.common.environments.protocol import Environment, sample_params
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.experience.rollout import Policy, reset, rollout
from metaobj.common.experience.windows import mean_valid, valid_steps
from metaobj.common.gradients import mixed_mode_gradient
from metaobj.common.rules.handwritten import clipped_surrogate
from metaobj.common.types import PRNGKey, PyTree


class Experience(NamedTuple):
    """B episodes of at most T steps in one task, and how likely they were; constants for all gradients."""

    observation: jax.Array  # [T, B, ...]
    action: jax.Array  # [T, B, ...]
    log_probability: jax.Array  # [T, B] by the policy that drew them
    advantage: jax.Array  # [T, B]
    valid: jax.Array  # [T, B] bool, before the episode's end


class Likely(Protocol):
    """What adapting asks of a policy."""

    def log_probability(self, params: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        """Log pi(a|s) [...]."""


class Normal(nn.Module):
    """Mean and logarithm of the standard deviation of each action, the latter the same in all states."""

    hidden: tuple[int, ...]
    size: int

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        for width in self.hidden:
            x = nn.tanh(nn.Dense(width)(x))
        return nn.Dense(self.size)(x), self.param("log_spread", nn.initializers.zeros, (self.size,))


@dataclass(frozen=True)
class NormalPolicy:
    """Normal actions [..., A] of a network of tanh units. (`common.agents.stochastic` has one of ReLUs, which at this
    task's start, an observation of zeros, has no derivative to be checked.)
    """

    hidden: tuple[int, ...] = (64, 64)
    size: int = 2

    def init(self, key: PRNGKey, observation: jax.Array) -> PyTree:
        """Parameters; `observation` [1, ...] tells shapes."""
        return Normal(self.hidden, self.size).init(key, observation)

    def draw(self, key: PRNGKey, steps: int, observation: jax.Array) -> jax.Array:
        """The noise of T steps of B environments, [T, B, A]."""
        return jax.random.normal(key, (steps, observation.shape[0], self.size))

    def act(self, params: PyTree, observation: jax.Array, noise: jax.Array) -> jax.Array:
        """Actions [B, A] from one step's noise."""
        mean, spread = self._distribution(params, observation)
        return mean + spread * noise

    def log_probability(self, params: PyTree, observation: jax.Array, action: jax.Array) -> jax.Array:
        mean, spread = self._distribution(params, observation)
        return jnp.sum(jax.scipy.stats.norm.logpdf(action, mean, spread), -1)

    def _distribution(self, params: PyTree, observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        mean, log_spread = Normal(self.hidden, self.size).apply(params, observation)
        return jnp.asarray(mean), jnp.exp(jnp.asarray(log_spread))


def surrogate(log_probability: jax.Array, experience: Experience, trace: float) -> jax.Array:
    """What a policy descends within a task: minus the return per step, as a function of other parameters than those
    that drew the steps ("Loaded DiCE", Farquhar et al. 2019; without baselines, Foerster et al. 2018).

    - mean_t (exp(w_t) - exp(w_t - l_t)) A_t, where l_t = log pi(a_t|s_t) - log pi_old(a_t|s_t) and
    w_t = l_t + trace w_{t-1}. The gradient at the old parameters is the policy gradient for any trace. The second
    derivative, which the meta-gradient goes through, is unbiased at trace 1 and then noisy; at 0, where the loss is
    - mean_t (pi / pi_old - 1) A_t, it leaves out how earlier actions lead to later states (ProMP's low-variance
    curvature, Rothfuss et al. 2019).

    Args:
        log_probability: [T, B] by the parameters in question.
        experience: by the old ones.
        trace: from 0 to 1.
    """
    l = jnp.where(experience.valid, log_probability - experience.log_probability, 0.0)
    t = jnp.arange(len(l))
    decay = jnp.tril(jnp.asarray(trace, l.dtype) ** jnp.maximum(t[:, None] - t, 0))  # 0 ** 0 is 1
    w = decay @ l
    return -mean_valid((jnp.exp(w) - jnp.exp(w - l)) * experience.advantage, experience.valid)


def adapt(policy: Likely, params: PyTree, experience: Experience, rate: float | jax.Array, trace: float) -> PyTree:
    """One step down the surrogate. Differentiable in the parameters; at those that drew the experience it is
    REINFORCE's.
    """

    def loss(params: PyTree, _: PyTree, seen: Experience) -> jax.Array:
        return surrogate(policy.log_probability(params, seen.observation, seen.action), seen, trace)

    gradient = mixed_mode_gradient(loss)(params, (), experience)
    return jax.tree.map(lambda p, g: p - rate * g, params, gradient)


def meta_loss(
    policy: Likely, params: PyTree, inner: tuple[Experience, ...], after: Experience, rate: float, trace: float
) -> jax.Array:
    """PPO's loss of the parameters that some inner steps lead to, on what those drew; no steps, and it is PPO's."""
    for experience in inner:
        params = adapt(policy, params, experience, rate, trace)
    log_ratio = policy.log_probability(params, after.observation, after.action) - after.log_probability
    return mean_valid(clipped_surrogate(log_ratio, after.advantage), after.valid)


def linear_baseline(observation: jax.Array, returns: jax.Array, valid: jax.Array) -> jax.Array:
    """Returns [T, B] as foretold by least squares from positions [T, B, D], their squares and three powers of time
    (Duan et al. 2016, "Benchmarking Deep Reinforcement Learning").
    """
    T, B = returns.shape
    time = jnp.broadcast_to((jnp.arange(T) / T)[:, None, None], (T, B, 1))
    parts = [observation, observation**2, time, time**2, time**3, jnp.ones_like(time)]
    features = jnp.concatenate(parts, -1).reshape(T * B, -1)
    weighted = features * valid.reshape(-1, 1) / jnp.sum(valid)
    matrix = weighted.T @ features + 1e-5 * jnp.eye(features.shape[1])
    return (features @ jnp.linalg.solve(matrix, weighted.T @ returns.reshape(-1))).reshape(T, B)


@dataclass(frozen=True)
class Learner:
    """How parameters are meta-trained. With no inner steps they are trained for all tasks at once, without any thought
    of adapting.
    """

    environment: Environment
    policy: NormalPolicy = NormalPolicy()
    inner_steps: int = 1
    inner_rate: float = 0.1
    trace: float = 0.0
    """Of the inner surrogate."""
    tasks: int = 20
    """Of a meta-update."""
    episodes: int = 20
    """B, of each task before and after each inner step."""
    horizon: int = 100
    """T."""
    discount: float = 0.99
    epochs: int = 4
    """Gradient steps of a meta-update, on the same experience. (Finn et al. take one by TRPO.)"""
    learning_rate: float = 3e-3
    """Of Adam."""

    def init(self, key: PRNGKey) -> PyTree:
        """Parameters."""
        return self.policy.init(key, jnp.zeros((1, *self.environment.observation_space.shape)))

    def sample(self, params: PyTree, key: PRNGKey, task: PyTree) -> tuple[Experience, jax.Array]:
        """Episodes in one task, and their returns [B], which nothing discounts."""
        reset_key, key = jax.random.split(key)
        params = jax.lax.stop_gradient(params)
        worlds = reset(reset_key, self.environment, task, self.episodes)
        policy = Policy(self.policy.draw, partial(self.policy.act, params))
        _, steps, _ = rollout(key, self.environment, task, worlds, policy, self.horizon)
        valid = valid_steps(steps)
        returns = lambda_returns(steps, jnp.zeros_like(steps.reward), self.discount, 1.0)
        advantage = returns - linear_baseline(steps.observation, returns, valid)
        mean = mean_valid(advantage, valid)
        spread = jnp.sqrt(mean_valid((advantage - mean) ** 2, valid))
        log_probability = self.policy.log_probability(params, steps.observation, steps.action)
        advantage = (advantage - mean) / (spread + 1e-8)
        experience = Experience(steps.observation, steps.action, log_probability, advantage, valid)
        return experience, jnp.sum(jnp.where(valid, steps.reward, 0.0), 0)

    def live(
        self, params: PyTree, key: PRNGKey, task: PyTree, rates: Sequence[float | jax.Array]
    ) -> tuple[tuple[Experience, ...], jax.Array]:
        """Experience in one task before and after steps at these rates, and returns [1 + steps, B]."""
        first, *keys = jax.random.split(key, 1 + len(rates))
        found = [self.sample(params, first, task)]
        for rate, one in zip(rates, keys, strict=True):
            params = adapt(self.policy, params, found[-1][0], rate, self.trace)
            found.append(self.sample(params, one, task))
        experience, returns = zip(*found, strict=True)
        return experience, jnp.stack(returns)

    def draw_tasks(self, key: PRNGKey, number: int) -> PyTree:
        """Tasks, [number, ...]."""
        return jax.vmap(lambda k: sample_params(self.environment, k, ()))(jax.random.split(key, number))


@quick_jit(static_argnums=(0, 1))
def train(learner: Learner, updates: int, key: PRNGKey) -> tuple[PyTree, jax.Array]:
    """Parameters after so many meta-updates, and the mean returns of each, [updates, 1 + inner steps]."""
    init_key, key = jax.random.split(key)
    params = learner.init(init_key)
    optimiser = optax.adam(learner.learning_rate, eps=1e-5)

    def update(carry: tuple[PyTree, PyTree], key: PRNGKey) -> tuple[tuple[PyTree, PyTree], jax.Array]:
        task_key, key = jax.random.split(key)
        tasks = learner.draw_tasks(task_key, learner.tasks)
        live = jax.vmap(partial(learner.live, rates=[learner.inner_rate] * learner.inner_steps), (None, 0, 0))
        (*inner, after), returns = live(carry[0], jax.random.split(key, learner.tasks), tasks)

        def loss(params: PyTree) -> jax.Array:
            each = partial(meta_loss, learner.policy, params, rate=learner.inner_rate, trace=learner.trace)
            return jnp.mean(jax.vmap(lambda inner, after: each(inner=inner, after=after))(tuple(inner), after))

        def one_step(carry: tuple[PyTree, PyTree], _: None) -> tuple[tuple[PyTree, PyTree], None]:
            params, state = carry
            changes, state = optimiser.update(jax.grad(loss)(params), state)
            return (optax.apply_updates(params, changes), state), None

        return jax.lax.scan(one_step, carry, length=learner.epochs)[0], returns.mean((0, 2))

    (params, _), curve = jax.lax.scan(update, (params, optimiser.init(params)), jax.random.split(key, updates))
    return params, curve
