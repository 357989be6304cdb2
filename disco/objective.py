"""Disco103's objective (Oh et al. 2025): what an agent descends, and what the objective itself is trained by.

An agent's policy, a prediction y of each state and a prediction z of each action go towards what the meta-network says;
its action values learn by Retrace, and a head foretells the policy of the next state.
"""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

from metaobj.common.agents.agent import Heads, TargetRule, entropy, kl_divergence, log_probability
from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.experience.batches import Batch
from metaobj.common.rules.handwritten import A2C, A2C_ENTROPY_WEIGHT
from metaobj.common.types import Metrics, PRNGKey, PyTree
from metaobj.disco.agent import TARGET, of_taken
from metaobj.disco.muesli import departure
from metaobj.disco.network import CATEGORIES, Said, Seen, Sizes, init_network, live, say
from metaobj.disco.scalars import BINS, squash, two_hot
from metaobj.disco.values import Moments, Steps, value_outs

VALUE_WEIGHT = 0.2


@dataclass(frozen=True)
class DiscoConfig:
    """The network that is the objective."""

    units: int = 256
    """Of the LSTM over a rollout."""
    life_units: int = 128
    """Of the LSTM over an agent's updates."""
    hidden: int = 16
    """Of all smaller layers."""
    categories: int = CATEGORIES
    """Of the predictions y and z."""
    discount: float = 0.997
    """gamma of the agents' action values."""
    skip_first: bool = True
    """Leave a step out of the agent's loss that follows another episode's end within the rollout, as the published rule
    does.
    """

    def __post_init__(self) -> None:
        names = "units life_units hidden categories"
        check_numbers(self, names, at_least=1, at_most=MOST, prefix="network.")
        check_numbers(self, "discount", at_least=0, at_most=1, prefix="network.")

    @property
    def sizes(self) -> Sizes:
        """Of the network's layers."""
        return Sizes(self.units, self.life_units, self.hidden, self.categories)


@dataclass(frozen=True)
class DiscoMetaLoss:
    """What agents are judged by, and what keeps targets and agents in bounds; weights as in the published code."""

    policy_entropy: float = 0.01
    prediction_entropy: float = 0.001
    """Of y, and of z for the actions taken."""
    target_size: float = 0.001
    """Of the squared means of targets' logits."""
    policy_drift: float = 0.01
    """Of KL from the target network's policy to the policy's targets."""
    anchor: float = 0.0
    """Of KL from Muesli's policy improvement to the policy's targets; 0 in the paper."""

    def __post_init__(self) -> None:
        names = "policy_entropy prediction_entropy target_size policy_drift anchor"
        check_numbers(self, names, at_least=0, prefix="meta_loss.")


class Memory(NamedTuple):
    """What is remembered of an agent."""

    life: tuple[jax.Array, jax.Array]  # hidden and cell state of the meta-RNN
    advantages: Moments
    errors: Moments


class Targets(NamedTuple):
    """What an agent's outputs are to be."""

    said: Said
    next_policy: jax.Array  # [T, B, A] logits of the policy at the next state; constant
    returns: jax.Array  # [T, B] constant
    weight: jax.Array  # [T, B] of the steps in the loss, and 0 where a step is left out
    memory: Memory


@dataclass(frozen=True)
class Disco:
    """See `common.rules.on_policy.LearnedObjective` and `common.agents.agent.Remembering`."""

    config: DiscoConfig = DiscoConfig()
    meta_loss_config: DiscoMetaLoss = DiscoMetaLoss()

    @property
    def hyperparameters(self) -> tuple[str, ...]:
        return ("learning_rate",)

    def heads(self, num_actions: int) -> dict[str, int]:
        sizes = {"y": self.config.categories, "z": self.config.categories, "q": BINS}
        return {"policy": num_actions, **sizes, "next_policy": num_actions}

    def init(self, key: PRNGKey) -> PyTree:
        return init_network(key, self.config.sizes)

    def first_memory(self) -> Memory:
        zeros = jnp.zeros(self.config.life_units)
        return Memory((zeros, zeros), Moments.fresh(), Moments.fresh())

    def remember(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch, targets: Targets) -> Memory:
        return targets.memory

    def targets(self, weights: PyTree, heads: Heads, next_heads: Heads, batch: Batch) -> tuple[Targets, Metrics]:
        seen, memory = see(heads, next_heads, batch, self.config.discount)
        said = say(weights, memory.life, seen)
        life = live(weights, memory.life, seen, said)
        weight = self.counted(batch)
        targets = Targets(
            said=said,
            next_policy=jax.lax.stop_gradient(seen.heads["policy"][1:]),
            returns=seen.values.returns,
            weight=weight / jnp.maximum(jnp.sum(weight), 1.0),
            memory=memory._replace(life=life),
        )
        drift = kl_divergence(*_log(jax.lax.stop_gradient(heads[TARGET + "policy"]), said.policy))
        about = {
            "target_size": jnp.sum(jnp.stack([jnp.mean(x) ** 2 for x in (said.policy, said.y, said.z)])),
            "policy_drift": jnp.mean(drift),
            "policy_kl": jnp.mean(kl_divergence(*_log(said.policy, heads["policy"]))),
            "value_error": jnp.mean(seen.values.errors**2),
        }
        if self.meta_loss_config.anchor:
            about["policy_error"] = departure(seen, said.policy)
        return targets, about

    def counted(self, batch: Batch) -> jax.Array:
        """1 for steps that agents learn from [T, B], 0 for others. Of the first it is not known what went before."""
        if not self.config.skip_first:
            return jnp.ones_like(batch.rollout.reward)
        over = (batch.rollout.terminated | batch.rollout.truncated).astype(batch.rollout.reward.dtype)
        return 1.0 - jnp.concatenate([jnp.zeros_like(over[:1]), over[:-1]])

    def loss(self, heads: Heads, targets: Targets, batch: Batch) -> jax.Array:
        """As ever, of heads that are at the actions taken alone where they are by action (see `of_taken`)."""
        parts = losses(heads, targets, batch)
        return jnp.sum(targets.weight * jnp.stack([weight * parts[name] for name, weight in WEIGHTS.items()]).sum(0))

    @property
    def guide(self) -> TargetRule:
        return A2C(A2C_ENTROPY_WEIGHT)

    def meta_loss(
        self, heads: Heads, next_heads: Heads, batch: Batch, updates: Metrics, target: Heads | None = None
    ) -> tuple[jax.Array, Metrics]:
        config, action = self.meta_loss_config, batch.rollout.action
        z = of_taken(heads, action)["z"]
        spread = jnp.mean(entropy(heads["policy"]))
        metrics = {"policy_entropy": spread, "prediction_entropy": jnp.mean(entropy(heads["y"]))}
        if "target_size" not in updates:
            raise UserError("updates: nothing given of what targets were; a forward trace cannot judge by them")
        regular = config.target_size * updates["target_size"] + config.policy_drift * updates["policy_drift"]
        if config.anchor:
            regular += config.anchor * updates["policy_error"]
        if target is not None:
            distance = jnp.mean(kl_divergence(*_log(target["policy"], heads["policy"])))
            return distance + regular, metrics
        advantages = jax.lax.stop_gradient(batch.advantages / jnp.maximum(batch.advantage_size, 1e-6))
        loss = -jnp.mean(log_probability(heads["policy"], action) * advantages)
        loss -= config.policy_entropy * spread
        loss -= config.prediction_entropy * (metrics["prediction_entropy"] + jnp.mean(entropy(z)))
        return loss + regular, metrics


WEIGHTS = {"policy": 1.0, "y": 1.0, "z": 1.0, "next_policy": 1.0, "value": VALUE_WEIGHT}


def see(heads: Heads, next_heads: Heads, batch: Batch, discount: float) -> tuple[Seen, Memory]:
    """What the network is given, and what is remembered with this rollout's moments.

    Raises:
        UserError: there is no behaviour policy.
    """
    if batch.behaviour is None:
        raise UserError("behaviour: none given; this objective reads the policy that acted")
    everything = {name: jnp.concatenate([heads[name], next_heads[name][-1:]]) for name in heads}
    target = {name.removeprefix(TARGET): x for name, x in everything.items() if name.startswith(TARGET)}
    rollout = batch.rollout
    over = (rollout.terminated | rollout.truncated).astype(rollout.reward.dtype)
    steps = Steps(rollout.action, rollout.reward, over)
    values = value_outs(everything, target, batch.behaviour, steps, discount)
    memory: Memory = batch.memory
    memory = memory._replace(
        advantages=memory.advantages.with_block(values.advantages), errors=memory.errors.with_block(values.errors)
    )
    return Seen(everything, target, batch.behaviour, steps, values, memory.advantages), memory


def losses(heads: Heads, targets: Targets, batch: Batch) -> dict[str, jax.Array]:
    """Of each step [T, B], before they are weighed; heads are at the actions taken."""
    rollout, said = batch.rollout, targets.said
    over = rollout.terminated | rollout.truncated
    value = two_hot(squash(targets.returns))
    return {
        "policy": kl_divergence(*_log(said.policy, heads["policy"])),
        "y": kl_divergence(*_log(said.y, heads["y"])),
        "z": kl_divergence(*_log(said.z, heads["z"])),
        "next_policy": jnp.where(over, 0.0, kl_divergence(*_log(targets.next_policy, heads["next_policy"]))),
        "value": -jnp.sum(value * jax.nn.log_softmax(heads["q"]), -1),
    }


def _log(*logits: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(map(jax.nn.log_softmax, logits))
