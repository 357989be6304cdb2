"""MetaGenRL: a learned loss (Kirsch et al. 2020, "Improving Generalization in Meta Reinforcement Learning using Learned
Objectives", arXiv 1910.04098).

From the end of a window to its start, a network reads the action taken, the policy's action, the reward, the step's
position and the critic's values, and gives each step a number; their mean is the policy's loss. It never sees a state,
and actions enter through one small network for all dimensions, averaged: one objective meets any environment.
"""

from dataclasses import dataclass

import chex
import jax
import jax.numpy as jnp

from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.experience.batches import Experience
from metaobj.common.experience.windows import mean_valid
from metaobj.common.networks.dense import apply_dense, init_dense
from metaobj.common.networks.lstm import backward_lstm_plain, init_lstm
from metaobj.common.rules.off_policy import HYPERPARAMETERS
from metaobj.common.types import PRNGKey, PyTree

BOUND = 1e3
"""Of each step's output."""


@dataclass(frozen=True)
class MetaGenRLConfig:
    """The network that is the loss."""

    units: int = 32
    """H, units of the LSTM and of the dense layers."""
    layers: int = 3
    """Dense layers after the LSTM, the last one with the output included."""
    use_values: bool = True
    """Whether the network reads the critic's values; without, an ablation."""
    recurrent: bool = True
    """Whether it reads the steps after its own; without, an ablation."""
    td_error: bool = False
    """Also read r + gamma V(s') - V(s), scaled; not in the paper."""
    product: bool = False
    """Let the layers' outputs weigh the actions' encoding, [H] by [H], instead of giving the loss; not in the paper."""
    centred: bool = False
    """With `product`: subtract their mean over the batch from the weights, so that the loss tells actions apart by what
    came of them and by nothing else. Not in the paper."""

    def __post_init__(self) -> None:
        check_numbers(self, "units", at_least=1, at_most=MOST, prefix="network.")
        check_numbers(self, "layers", at_least=1, at_most=64, prefix="network.")
        if self.centred and not self.product:
            raise UserError("network.centred: true given; needs network.product, whose weights it centres")
        if self.td_error and not self.use_values:
            raise UserError("network.td_error: true given; needs network.use_values, from which it is made")


@dataclass(frozen=True)
class MetaGenRL:
    """The learned loss. See `common.lifetimes.off_policy.PolicyRule`."""

    config: MetaGenRLConfig = MetaGenRLConfig()

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return HYPERPARAMETERS

    @property
    def reads_windows(self) -> bool:
        return True

    def init(self, key: PRNGKey) -> PyTree:
        """Fresh weights, alpha."""
        units = self.config.units
        action_keys, lstm_key, *keys = jax.random.split(key, 2 + self.config.layers)
        first, second = jax.random.split(action_keys)
        widths = [units] * self.config.layers + [units if self.config.product else 1]
        return {
            "action": {"hidden": init_dense(first, 2, units), "output": init_dense(second, units, units)},
            "lstm": init_lstm(lstm_key, units + 4 + self.config.td_error, units),
            "layers": {str(i): init_dense(k, widths[i], widths[i + 1]) for i, k in enumerate(keys)},
        }

    def loss(
        self,
        weights: PyTree,
        actions: jax.Array,
        experience: Experience,
        judged: jax.Array,
        nominal_steps: int | None = None,
    ) -> jax.Array:
        """Mean over the valid steps of what the network gives them; see `outputs` for `nominal_steps`."""
        del judged  # the critic's word is for rules that people wrote, and for the meta-loss
        outputs = self.outputs(weights, actions, experience, nominal_steps)
        return mean_valid(outputs, experience.valid)

    def outputs(
        self, weights: PyTree, actions: jax.Array, experience: Experience, nominal_steps: int | None = None
    ) -> jax.Array:
        """The loss of each step, [T, W]; steps are numbered in units of `nominal_steps`, T unless told."""
        dtype, valid = actions.dtype, experience.valid
        chex.assert_rank([actions, experience.action, experience.reward], [3, 3, 2])
        chex.assert_equal_shape([actions, experience.action])
        chex.assert_equal_shape([experience.reward, valid, experience.values, experience.next_values])
        chex.assert_equal_shape_prefix([actions, experience.reward], 2)
        pairs = jnp.stack([experience.action, actions], -1)  # [T, W, A, 2]
        encoded = jax.nn.relu(apply_dense(weights["action"]["hidden"], pairs))
        encoded = jnp.mean(apply_dense(weights["action"]["output"], encoded), axis=-2)  # [T, W, H]
        steps = experience.reward.shape[0]
        position = jnp.broadcast_to(
            jnp.arange(steps, dtype=dtype)[:, None] / (nominal_steps or steps), experience.reward.shape
        )
        center, spread = _moments(experience.values, valid)
        features = [
            _scaled(experience.reward, *_moments(experience.reward, valid)),
            position,
            _scaled(experience.values, center, spread),
            _scaled(experience.next_values, center, spread),
        ]
        if not self.config.use_values:
            features[2:] = [jnp.zeros_like(position)] * 2
        if self.config.td_error:
            error = experience.reward + experience.discount * experience.next_values - experience.values
            features.append(_scaled(error, 0.0, _moments(error, valid)[1]))
        x = jnp.concatenate([encoded, jnp.stack(features, -1)], -1)  # [T, W, H + 4]
        # The last valid step starts from nothing; what comes after it belongs to another episode.
        follows = jnp.concatenate([valid[1:], jnp.zeros_like(valid[:1])])
        keep = follows.astype(dtype) * self.config.recurrent
        # Plain: the meta-gradient differentiates it forward too, which a reverse pass written out would not allow.
        x = backward_lstm_plain(weights["lstm"], x, keep)
        for i in range(self.config.layers):
            x = apply_dense(weights["layers"][str(i)], x)
            if i + 1 < self.config.layers:
                x = jax.nn.relu(x)
        if self.config.centred:
            x = x - jnp.sum(jnp.where(valid[..., None], x, 0.0), (0, 1)) / jnp.sum(valid)
        output = jnp.mean(x * encoded, -1) if self.config.product else x[..., 0]
        return BOUND * jnp.tanh(output / BOUND)


def _moments(values: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation over the valid steps."""
    mean = mean_valid(values, valid)
    return mean, jnp.sqrt(mean_valid((values - mean) ** 2, valid))


def _scaled(values: jax.Array, center: jax.Array | float, spread: jax.Array) -> jax.Array:
    return (values - center) / (spread + 1e-5)
