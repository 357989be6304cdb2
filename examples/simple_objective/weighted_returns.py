"""A small learned objective of its own kind: which lambda-return to learn from is decided anew at each step.

The policy's target at step t is a weighted sum of advantages for several lambdas,

    pi_hat_t = sum_k w_k(x_t) (G_t^lambda_k - V(s_t)),    w(x_t) = W' x_t,

where x_t is 1, pi(a_t|s_t) and each of these advantages on a logarithmic scale. W is what is meta-trained; at first all
weights are equal. The agent descends A2C's loss with pi_hat in the place of the advantage.
"""

from dataclasses import asdict, dataclass, field

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, TargetRule, log_probability
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.configuration import from_json
from metaobj.common.errors import UserError
from metaobj.common.evaluation.baselines import on_policy_baselines
from metaobj.common.experience.batches import Batch
from metaobj.common.experience.returns import lambda_returns
from metaobj.common.lifetimes.on_policy import on_policy
from metaobj.common.meta.config import MetaTrainingConfig
from metaobj.common.networks.dense import sign_log
from metaobj.common.objectives.plugin import Plugin
from metaobj.common.rules.handwritten import A2C
from metaobj.common.types import Metrics, PRNGKey, PyTree


@dataclass(frozen=True)
class WeightedReturns:
    """The objective: pure functions of its weights, {"w": [2 + K, K]}."""

    lambdas: tuple[float, ...] = (0.0, 0.7, 0.95, 1.0)
    """K of them."""
    entropy_weight: float = 0.01
    """Of the policy's entropy, in the agent's loss and in what updated agents are judged by."""

    def __post_init__(self) -> None:
        if not self.lambdas or not all(0 <= value <= 1 for value in self.lambdas):
            given = " ".join(map(str, self.lambdas)) or "nothing"
            raise UserError(f"rule.lambdas: {given} given; must be one or more numbers from 0 to 1")

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        """What it reads of the agent's; the bandit chooses their values in training."""
        return ("learning_rate",)

    def heads(self, num_actions: int) -> dict[str, int]:
        """What the agent's network must put out."""
        return {"policy": num_actions}

    def init(self, key: PRNGKey) -> PyTree:
        """Fresh weights: the mean of the advantages."""
        number = len(self.lambdas)
        return {"w": jnp.zeros((2 + number, number)).at[0].set(1 / number)}

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[PyTree, Metrics]:
        """pi_hat [T, B] for the agent, and what there is to log. The meta-gradient goes through it."""
        returns = [lambda_returns(batch.rollout, batch.next_values, batch.discount, value) for value in self.lambdas]
        advantages = jnp.stack(returns, -1) - batch.values[..., None]  # [T, B, K]
        pi = jnp.exp(log_probability(heads["policy"], batch.rollout.action))
        read = sign_log(advantages / jnp.maximum(batch.advantage_size, 1e-6))
        x = jnp.concatenate([jnp.stack([jnp.ones_like(pi), pi], -1), read], -1)  # [T, B, 2 + K]
        pi_hat = jnp.sum((x @ weights["w"]) * advantages, -1)
        return pi_hat, {"pi_hat_squared": jnp.mean(pi_hat**2)}

    def loss(self, heads: Heads, targets: PyTree, batch: Batch) -> jax.Array:
        """What the agent descends."""
        return A2C(self.entropy_weight).loss(heads, targets, batch)

    def meta_loss(
        self, heads: Heads, next_heads: Heads, batch: Batch, updates: Metrics, target: Heads | None = None
    ) -> tuple[jax.Array, Metrics]:
        """What the weights descend: how the updated agent does on a fresh rollout."""
        return self.loss(heads, batch.advantages, batch), updates

    @property
    def guide(self) -> TargetRule:
        """For bootstrapped meta-gradients: by which rule one would go on."""
        return A2C(self.entropy_weight)


@dataclass(frozen=True)
class Training(MetaTrainingConfig):
    """Meta-training; every field is a flag of `metaobj train weighted-returns`."""

    rule: WeightedReturns = field(default_factory=WeightedReturns)
    value: ValueConfig = field(default_factory=ValueConfig)


plugin = Plugin(
    kind="weighted-returns",
    title="WeightedReturns",
    summary="an example: lambda-returns, weighted anew at each step by a linear function",
    presets={
        "smoke": Training(distribution="small-mix", meta_updates=20, log_every=5, checkpoint_every=10),
        "small": Training(distribution="small-layouts", meta_updates=200, learning_rate=1e-2),
    },
    default_preset="small",
    build=lambda config: config.rule,
    programs=lambda config, rule: on_policy(
        rule, rollout_steps=config.rollout_steps, discount=config.discount, value=config.value
    ),
    baselines=lambda config: on_policy_baselines(config.rollout_steps, config.discount, config.value),
    describe=lambda config: asdict(config.rule),
    rebuild=lambda found: from_json(WeightedReturns, found, "rule"),
)
