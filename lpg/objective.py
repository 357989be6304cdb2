"""LPG: the learned policy gradient (Oh et al. 2020, "Discovering Reinforcement Learning Algorithms", arXiv 2007.08794).

From the end of a rollout to its start, a network reads x_t = [r_t, d_t, gamma, pi(a_t|s_t), phi(y(s_t)),
phi(y(s_{t+1}))] and gives each step a policy target pi_hat and a categorical prediction target y_hat. The agent
ascends E[log pi(a|s) pi_hat - alpha_y KL(y(s) || y_hat)]; what its prediction y means is for the objective to discover.
"""

import math
from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, TargetRule, entropy, kl_divergence, log_probability
from metaobj.common.errors import MOST, check_numbers
from metaobj.common.experience.batches import Batch
from metaobj.common.networks.dense import apply_dense, init_dense, sign_log
from metaobj.common.networks.lstm import backward_lstm, init_lstm
from metaobj.common.rules.handwritten import A2C, A2C_ENTROPY_WEIGHT
from metaobj.common.types import Metrics, PRNGKey, PyTree
from metaobj.lpg.actor_critic import ActorCritic
from metaobj.lpg.meta_loss import MetaLossConfig, meta_loss
from metaobj.lpg.targets import agent_loss, errors


@dataclass(frozen=True)
class LPGConfig:
    """The network that is the objective."""

    units: int = 256
    """H, units of the LSTM."""
    prediction_size: int = 30
    """m, categories of the prediction y."""
    embedding_units: int = 16
    """Hidden units of phi, which embeds a prediction y."""
    bootstrap: bool = True
    """Whether the network reads phi(y); without, an ablation."""
    lifetime_inputs: bool = False
    """Also read n / N and log N, the update's number and the lifetime's length (Jackson et al. 2024)."""
    value_inputs: bool = False
    """Lean on the lifetime's value function V ("LPG+V"): pi_hat = A + s net(x), where s is the running size of the
    advantages A, and x also has A / s, V(s) / s, V(s') / s and the entropy of the policy. Rewards and these are read on
    a logarithmic scale. At first net(x) is 0 and the policy learns by A2C.
    """

    def __post_init__(self) -> None:
        check_numbers(self, "units prediction_size embedding_units", at_least=1, at_most=MOST, prefix="network.")


@dataclass(frozen=True)
class LPG:
    """The learned objective: an update rule with weights eta. See `common.rules.on_policy.LearnedObjective`."""

    config: LPGConfig = LPGConfig()
    meta_loss_config: MetaLossConfig = MetaLossConfig()

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return ("learning_rate", "kl_weight")

    def heads(self, num_actions: int) -> dict[str, int]:
        return {"policy": num_actions, "prediction": self.config.prediction_size}

    def init(self, key: PRNGKey) -> PyTree:
        phi_keys, lstm_key, policy_key, prediction_key = jax.random.split(key, 4)
        hidden_key, output_key = jax.random.split(phi_keys)
        config = self.config
        features = 6 + 2 * config.lifetime_inputs + 4 * config.value_inputs
        policy = init_dense(policy_key, config.units, 1)
        if config.value_inputs:
            policy = jax.tree.map(jnp.zeros_like, policy)
        return {
            "phi": {
                "hidden": init_dense(hidden_key, config.prediction_size, config.embedding_units),
                "output": init_dense(output_key, config.embedding_units, 1),
            },
            "lstm": init_lstm(lstm_key, features, config.units),
            "policy": policy,
            "prediction": init_dense(prediction_key, config.units, config.prediction_size),
        }

    def embed(self, weights: PyTree, logits: jax.Array) -> jax.Array:
        """phi(y) of predictions given as logits [..., m]: what the network reads of them, [...]."""
        hidden = jax.nn.relu(apply_dense(weights["phi"]["hidden"], jax.nn.softmax(logits)))
        return apply_dense(weights["phi"]["output"], hidden)[..., 0]

    def network(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[jax.Array, jax.Array]:
        """The network's first output [T, B], pi_hat where there are no `value_inputs`, and the logits of y_hat
        [T, B, m].

        The carry is cut wherever an episode ends. After a termination there is nothing to bootstrap from, so
        phi(y_{t+1}) is 0 and d_t is 1; a truncated step reads its episode's last observation, as the last step of the
        rollout does.
        """
        rollout = batch.rollout
        shape = rollout.reward.shape
        chex.assert_rank(rollout.reward, 2)
        chex.assert_equal_shape([rollout.reward, rollout.action, rollout.terminated, rollout.truncated])
        chex.assert_tree_shape_prefix((heads, next_heads), shape)
        chex.assert_axis_dimension(heads["prediction"], -1, self.config.prediction_size)
        chex.assert_equal_shape([heads["prediction"], next_heads["prediction"]])
        dtype = heads["policy"].dtype
        pi = jnp.exp(log_probability(heads["policy"], rollout.action))  # [T, B]
        if self.config.bootstrap:
            both = jnp.stack([heads["prediction"], next_heads["prediction"]])
            phi, next_phi = self.embed(weights, both)  # [T, B] each
            next_phi = jnp.where(rollout.terminated, 0.0, next_phi)
        else:
            phi = next_phi = jnp.zeros(shape, dtype)
        reward = rollout.reward
        if self.config.value_inputs:
            size = advantage_size(batch)
            scaled = (reward, batch.advantages, batch.values, batch.next_values)
            chex.assert_equal_shape(scaled)
            reward, *of_value = (sign_log(x / size) for x in scaled)
            of_value.append(entropy(heads["policy"]) / math.log(heads["policy"].shape[-1]))
        features = [reward, rollout.terminated, jnp.broadcast_to(batch.discount, shape), pi, phi, next_phi]
        if self.config.lifetime_inputs:
            features += [jnp.broadcast_to(value, shape) for value in (batch.progress, batch.log_length)]
        if self.config.value_inputs:
            features += of_value
        x = jnp.stack([feature.astype(dtype) for feature in features], -1)  # [T, B, D]
        keep = 1.0 - (rollout.terminated | rollout.truncated).astype(dtype)
        hidden = backward_lstm(weights["lstm"], x, keep)  # [T, B, H]
        # One matrix product for both heads: a product with a single column runs at a fraction of the speed.
        joined = jax.tree.map(lambda *parts: jnp.concatenate(parts, -1), weights["policy"], weights["prediction"])
        outputs = apply_dense(joined, hidden)  # [T, B, 1 + m]
        return outputs[..., 0], outputs[..., 1:]

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        said, y_hat = self.network(weights, heads, next_heads, batch)
        pi_hat = batch.advantages + advantage_size(batch) * said if self.config.value_inputs else said
        log_y_hat = jax.nn.log_softmax(y_hat)
        about = {
            "pi_hat_squared": jnp.mean(said**2),
            "y_hat_squared": jnp.mean(jnp.sum(jnp.exp(2 * log_y_hat), -1)),
            "pi_hat_mean": jnp.mean(pi_hat),
            "kl": jnp.mean(kl_divergence(jax.nn.log_softmax(heads["prediction"]), log_y_hat)),
        }
        if self.meta_loss_config.anchor:
            # Both depend on what earlier updates made of the agent, and the meta-gradient goes through both.
            wanted, _ = ActorCritic(self.config.prediction_size).targets((), heads, next_heads, batch)
            about |= errors((pi_hat, log_y_hat), wanted)
        return (pi_hat, log_y_hat), about

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        return agent_loss(heads, targets, batch)

    @property
    def guide(self) -> TargetRule:
        return A2C(A2C_ENTROPY_WEIGHT)

    def meta_loss(
        self, heads: Heads, next_heads: Heads, batch: Batch, updates: Metrics, target: Heads | None = None
    ) -> tuple[jax.Array, Metrics]:
        return meta_loss(self.meta_loss_config, heads, batch, updates, target)


def advantage_size(batch: Batch) -> jax.Array:
    """The unit of what LPG+V reads and says; never 0."""
    return jnp.maximum(batch.advantage_size, 1e-6)
