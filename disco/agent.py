"""An agent that models its actions: some of its heads are computed for each action, by one step of an LSTM from the
state; and a target network follows it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import struct

from metaobj.common.agents.agent import AgentConfig, Heads, Learner, TargetRule, targets_and_memory
from metaobj.common.agents.network import flattened, patches
from metaobj.common.environments.protocol import Box, Discrete, Space
from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.experience.batches import Batch
from metaobj.common.gradients import mixed_mode_gradient
from metaobj.common.networks.lstm import lstm_cell
from metaobj.common.types import Metrics, PRNGKey, PyTree, Rollout
from metaobj.disco.optimiser import clipped_adam

BY_ACTION = ("z", "q", "next_policy")
"""Heads that are computed for each action."""
TARGET = "target_"
"""Before the names of the target network's heads."""
_KEPT = 0.9
"""Of the target's parameters in each update."""


@dataclass(frozen=True)
class ModelConfig:
    """An agent's model of its actions."""

    units: int = 128
    """Of its LSTM."""
    head_units: int = 128
    """Of the hidden layer of each head that is computed for each action."""
    first_values: float = 1.0
    """How large the first weights of the action values' last layer are, beside the published ones. Those make values of
    some tenths of a unit up, which is much where rewards are few; by 0 a new agent's values are 0.
    """

    def __post_init__(self) -> None:
        check_numbers(self, "units head_units", at_least=1, at_most=MOST, prefix="model.")
        check_numbers(self, "first_values", at_least=0, at_most=1, prefix="model.")


@struct.dataclass
class TargetedLearner(Learner):
    """With the target network's parameters."""

    target: PyTree = ()


_CUT = 0.87962566103423978
"""The deviation of normal numbers that are cut at 2, by which JAX widens those that keep the size of inputs."""


def _as_read(scale: float = 1.0) -> nn.initializers.Initializer:
    """Deviations of scale / sqrt(fan in)."""
    return nn.initializers.variance_scaling((scale * _CUT) ** 2, "fan_in", "truncated_normal")


_AS_READ = _as_read()
_SMALL = nn.initializers.truncated_normal(0.01)


class ModelNetwork(nn.Module):
    """Observations [..., *shape] to {head: [..., size]}, or [..., A, size] of those by action; where an action [...] is
    given, those are of it alone.
    """

    observation_rank: int
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    heads: tuple[tuple[str, int], ...]
    model: ModelConfig

    @nn.compact
    def __call__(self, observation: jax.Array, action: jax.Array | None = None) -> Heads:
        dtype = jnp.result_type(float)

        def dense(size: int, name: str, drawn: nn.initializers.Initializer = _AS_READ) -> nn.Dense:
            return nn.Dense(size, kernel_init=drawn, param_dtype=dtype, name=name)

        x, leading = flattened(observation, self.observation_rank)
        for at, width in enumerate(self.channels):
            x = nn.relu(dense(width, f"convolution_{at}")(patches(x)))
        x = x.reshape(x.shape[0], -1)
        for at, width in enumerate(self.hidden):
            x = nn.relu(x) if at else x  # none after the last
            x = dense(width, f"torso_{at}")(x)
        sizes = dict(self.heads)
        actions = sizes["policy"]
        outputs = {name: dense(size, name, _SMALL)(x) for name, size in self.heads if name not in BY_ACTION}

        units = self.model.units
        cell = dense(units, "root")(x)  # [N, H]
        drawn, gates = nn.initializers.truncated_normal((actions + units) ** -0.5), 4 * units
        read = self.param("lstm_input", drawn, (actions, gates), dtype)
        again = self.param("lstm_recurrent", drawn, (units, gates), dtype)
        open_gates = jnp.zeros((4, units), dtype).at[1].set(1.0).reshape(-1)
        bias = self.param("lstm_bias", lambda key: open_gates)
        opened = jnp.tanh(cell) @ again + bias  # [N, 4H]
        if action is None:
            opened = opened[:, None] + read  # [N, A, 4H]
            cell = jnp.broadcast_to(cell[:, None], (*opened.shape[:2], units))
        else:
            opened += jax.nn.one_hot(action.reshape(-1), actions, dtype=dtype) @ read
        by_action, _ = lstm_cell(opened, cell)
        for name, size in self.heads:
            if name in BY_ACTION:
                hidden = nn.relu(dense(self.model.head_units, f"{name}_hidden")(by_action))
                outputs[name] = dense(size, name, _as_read(self.model.first_values if name == "q" else 1.0))(hidden)
        return {name: value.reshape(*leading, *value.shape[1:]) for name, value in outputs.items()}


def time_steps(rollout: Rollout) -> jax.Array:
    """What agents see at the T + 1 time steps of a rollout [T + 1, B, ...]. After a step whose episode has ended comes
    the next one's start, as in the published rule; after the last step its true successor, where the published rule has
    that start as well.
    """
    return jnp.concatenate([rollout.observation, rollout.next_observation[-1:]])


def of_taken(heads: Heads, action: jax.Array) -> Heads:
    """Those by action [..., A, size] at the actions [...] that were taken, [..., size]; others as they are."""

    def taken(x: jax.Array) -> jax.Array:
        return jnp.take_along_axis(x, action[..., None, None], -2)[..., 0, :]

    return {name: taken(x) if name in BY_ACTION else x for name, x in heads.items()}


def before_and_after(online: Heads, target: Heads) -> tuple[Heads, Heads]:
    """What a rule is given of T + 1 time steps: heads before and after each of T transitions, and those of the target
    network under names that begin with `TARGET`.
    """
    everything = {**online, **{TARGET + name: x for name, x in target.items()}}
    return {name: x[:-1] for name, x in everything.items()}, {name: x[1:] for name, x in everything.items()}


@dataclass(frozen=True)
class ModelAgent:
    """See `common.agents.agent.Agent`. Its optimiser is its own, whatever the configuration says; see `time_steps` for
    what rules are given.
    """

    observation_space: Box
    heads: tuple[tuple[str, int], ...]
    config: AgentConfig
    model: ModelConfig = ModelConfig()

    @property
    def network(self) -> ModelNetwork:
        channels = self.config.channels if self.config.torso == "conv" else ()
        rank = len(self.observation_space.shape)
        return ModelNetwork(rank, channels, self.config.hidden, self.heads, self.model)

    @property
    def optimiser(self) -> optax.GradientTransformation:
        return clipped_adam()

    def init(self, key: PRNGKey) -> TargetedLearner:
        params = self.network.init(key, jnp.zeros((1, *self.observation_space.shape)))
        return TargetedLearner(params, self.optimiser.init(params), (), params)

    def apply(self, params: PyTree, observation: jax.Array, action: jax.Array | None = None) -> Heads:
        return self.network.apply(params, observation, action)  # type: ignore[return-value]  # Linen's is untyped

    def learn(
        self, learner: Learner, rule: TargetRule, weights: PyTree, batch: Batch, remat: bool = False
    ) -> tuple[Learner, Metrics]:
        assert isinstance(learner, TargetedLearner)

        def loss(params: PyTree, targets: PyTree, batch: Batch) -> jax.Array:
            # At all time steps, so that XLA finds what is not by action to be the same as below.
            action = jnp.pad(batch.rollout.action, ((0, 1), (0, 0)))
            online = self.apply(params, time_steps(batch.rollout), action)
            return rule.loss({name: value[:-1] for name, value in online.items()}, targets, batch)

        def gradient(params: PyTree, given: PyTree, batch: Batch) -> tuple[PyTree, PyTree]:
            weights, memory, target = given
            online, of_target = (self.apply(each, time_steps(batch.rollout)) for each in (params, target))
            sides = before_and_after(online, of_target)
            targets, about, memory = targets_and_memory(rule, weights, memory, *sides, batch)
            return mixed_mode_gradient(loss)(params, targets, batch), (about, memory)

        if remat:
            gradient = jax.checkpoint(gradient, policy=jax.checkpoint_policies.save_only_these_names("inner_gradient"))
        updates, (about, memory) = gradient(learner.params, (weights, learner.memory, learner.target), batch)
        updates, optimiser = self.optimiser.update(updates, learner.optimiser, learner.params)
        rate = batch.hyperparameters["learning_rate"]
        params = jax.tree.map(lambda p, u: p - rate * u, learner.params, updates)
        # Towards the parameters from before this step.
        target = jax.tree.map(lambda t, p: _KEPT * t + (1.0 - _KEPT) * p, learner.target, learner.params)
        return replace(learner, params=params, optimiser=optimiser, memory=memory, target=target), about


def model_agents(model: ModelConfig) -> Callable[..., ModelAgent]:
    """How agents with a model of these sizes are made, see `common.agents.make.AgentMaker`."""

    def make(
        config: AgentConfig, observation_space: Space, action_space: Space, heads: Callable[[int], dict[str, int]]
    ) -> ModelAgent:
        if not isinstance(action_space, Discrete):
            raise UserError(f"action_space: {action_space} is continuous; this objective needs discrete actions")
        if action_space.n < 2:
            raise UserError(f"action_space: {action_space.n} action given; this objective needs two or more")
        if config.torso not in ("dense", "conv"):
            raise UserError(f"agent.torso: {config.torso} given; this objective's agents are dense or conv")
        if config.apart:
            raise UserError(f"agent.apart: {' '.join(config.apart)} given; this objective's agents have one torso")
        if not isinstance(observation_space, Box):
            raise UserError(f"agent.torso: {config.torso} needs a Box observation space, not {observation_space}")
        if config.torso == "conv" and len(observation_space.shape) != 3:
            raise UserError(
                f"agent.torso: conv needs [height, width, channels] observations, not {observation_space.shape}"
            )
        return ModelAgent(observation_space, tuple(heads(action_space.n).items()), config, model)

    return make
