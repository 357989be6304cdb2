"""An agent with a small neural network: dense layers, or 3x3 convolutions and dense layers, then one layer per head.

Flax Linen, not NNX: a stateless parameter tree that is vmapped over lifetimes and differentiated through is exactly
what Linen's `init` and `apply` give.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from metaobj.common.agents.agent import AgentConfig, Heads, Learner, TargetRule, targets_and_memory
from metaobj.common.experience.batches import Batch
from metaobj.common.gradients import mixed_mode_gradient
from metaobj.common.types import Metrics, PRNGKey, PyTree

_APART = "apart_"
"""What the parameters of a head's own torso are called, before its name."""


def flattened(observation: jax.Array, rank: int) -> tuple[jax.Array, tuple[int, ...]]:
    """Observations [..., *shape] of any dtype as floats [N, *shape], and their leading shape."""
    leading = observation.shape[: observation.ndim - rank]
    return observation.astype(jnp.result_type(float)).reshape(-1, *observation.shape[len(leading) :]), leading


def patches(x: jax.Array) -> jax.Array:
    """The 3x3 neighbourhood of each cell, [N, height, width, 9 C].

    A convolution as a dense layer over these: a convolution whose kernel differs between lifetimes becomes a grouped
    one, which is two to three times slower on the CPU.
    """
    height, width = x.shape[1:3]
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    shifted = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return jnp.concatenate(shifted, axis=-1)


class HeadedNetwork(nn.Module):
    """Torso and heads. Observations [..., *shape] of any dtype to {head: [..., size]}.

    Numbers [n] that hold for all observations may be told besides: each torso's first dense layer reads a linear
    embedding of them beside what it reads else.
    """

    observation_rank: int
    channels: tuple[int, ...]
    hidden: tuple[int, ...]
    heads: tuple[tuple[str, int], ...]
    apart: tuple[str, ...] = ()
    embedding: int = 0
    """Size of the embedding, where numbers are told."""

    @nn.compact
    def __call__(self, observation: jax.Array, told: jax.Array | None = None) -> Heads:
        own = [head for head in self.heads if head[0] in self.apart]
        if own:
            groups = [tuple(head for head in self.heads if head not in own), *((head,) for head in own)]
            outputs: Heads = {}
            for group in groups:
                name = f"{_APART}{group[0][0]}" if group[0] in own else None
                sizes = (self.observation_rank, self.channels, self.hidden, group, (), self.embedding)
                outputs |= HeadedNetwork(*sizes, name=name)(observation, told)
            return outputs
        dtype = jnp.result_type(float)
        x, leading = flattened(observation, self.observation_rank)
        for width in self.channels:
            x = nn.relu(nn.Dense(width, param_dtype=dtype)(patches(x)))
        x = x.reshape(x.shape[0], -1)
        if told is not None:
            embedded = nn.Dense(self.embedding, use_bias=False, param_dtype=dtype, name="embedding")(told)
            x = jnp.concatenate([x, jnp.broadcast_to(embedded, (x.shape[0], self.embedding))], -1)
        for width in self.hidden:
            x = nn.relu(nn.Dense(width, param_dtype=dtype)(x))
        # Small first outputs: every lifetime starts near the uniform policy.
        small = nn.initializers.variance_scaling(1e-2, "fan_in", "truncated_normal")
        outputs = {
            name: nn.Dense(size, kernel_init=small, param_dtype=dtype, name=name)(x) for name, size in self.heads
        }
        return {name: value.reshape(*leading, -1) for name, value in outputs.items()}


@dataclass(frozen=True)
class NetworkAgent:
    """The agent with `heads` (name, size) on observations of `observation_shape`."""

    observation_shape: tuple[int, ...]
    heads: tuple[tuple[str, int], ...]
    config: AgentConfig

    @property
    def network(self) -> HeadedNetwork:
        channels = self.config.channels if self.config.torso == "conv" else ()
        apart = tuple(name for name, _ in self.heads if name in self.config.apart)
        return HeadedNetwork(len(self.observation_shape), channels, self.config.hidden, self.heads, apart)

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Without the learning rate, which is data."""
        if self.config.optimiser == "adam":
            return optax.scale_by_adam(eps_root=self.config.adam_eps_root)
        if self.config.optimiser == "rmsprop":  # below 1e-5 gradients count as none
            return optax.scale_by_rms(decay=0.99, eps=1e-10, bias_correction=True)
        return optax.identity()

    def init(self, key: PRNGKey) -> Learner:
        params = self.network.init(key, jnp.zeros((1, *self.observation_shape)))
        return Learner(params, self.optimiser.init(params))

    def apply(self, params: PyTree, observation: jax.Array) -> Heads:
        return self.network.apply(params, observation)  # type: ignore[return-value]  # Linen's apply is untyped

    def learn(
        self, learner: Learner, rule: TargetRule, weights: PyTree, batch: Batch, remat: bool = False
    ) -> tuple[Learner, Metrics]:
        def gradient(params: PyTree, given: PyTree, batch: Batch) -> tuple[PyTree, PyTree]:
            weights, memory = given
            rollout = batch.rollout
            heads, next_heads = self.apply(params, rollout.observation), self.apply(params, rollout.next_observation)
            targets, about, memory = targets_and_memory(rule, weights, memory, heads, next_heads, batch)
            inner = mixed_mode_gradient(lambda p, t, b: rule.loss(self.apply(p, b.rollout.observation), t, b))
            return inner(params, targets, batch), (about, memory)

        if remat:
            # Keep the inner gradient: recomputing it would cost the agent's forward and backward pass once more.
            gradient = jax.checkpoint(gradient, policy=jax.checkpoint_policies.save_only_these_names("inner_gradient"))
        updates, (about, memory) = gradient(learner.params, (weights, learner.memory), batch)
        updates, optimiser = self.optimiser.update(updates, learner.optimiser, learner.params)
        rate = batch.hyperparameters["learning_rate"]

        def step(path: tuple[jax.tree_util.KeyEntry, ...], p: jax.Array, u: jax.Array) -> jax.Array:
            apart = any(str(getattr(key, "key", "")).startswith(_APART) for key in path)
            return p - rate * (self.config.apart_rate if apart else 1.0) * u

        return Learner(jax.tree.map_with_path(step, learner.params, updates), optimiser, memory), about
