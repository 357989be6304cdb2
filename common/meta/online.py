"""Meta-gradients within one lifetime: each agent tunes its own rule as it learns.

`Online` makes a program out of a program: its lifetimes hold the rule's weights eta, what tunes them, and what was
gathered but not learned from yet. What evaluates and draws lifetimes takes it as it is, and seeds are lifetimes.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import jax
import jax.numpy as jnp
import optax
from flax import struct

from metaobj.common.environments.protocol import Environment
from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.experience.rollout import Acted, Episodes, Policy, Worlds
from metaobj.common.gradients import clip_by_norm, directional, numbers
from metaobj.common.lifetimes.lifetime import Birth, Lifetime, MetaProgram
from metaobj.common.meta.objectives import Bootstrapped, Last, MetaObjective, summed
from metaobj.common.types import Hyperparameters, Metrics, PRNGKey, PyTree

META_LEARNING_RATE = "meta_learning_rate"
"""A hyperparameter of agents: the learning rate of eta's Adam."""


@struct.dataclass
class OnlineLifetime:
    """A lifetime, and how its rule is tuned. To others it is what its lifetime is."""

    inner: Lifetime
    eta: PyTree  # the rule's weights
    optimiser: PyTree  # of eta
    estimator: PyTree  # what the estimator of the meta-gradient remembers
    batches: tuple[PyTree, ...]  # gathered, and not learned from yet, the oldest first
    born: PyTree  # eta and the learner before their first updates
    restarts: jax.Array  # [] int32, how often a number was not finite and learning began anew

    @property
    def worlds(self) -> Worlds:
        return self.inner.worlds

    @property
    def hyperparameters(self) -> Hyperparameters:
        return self.inner.hyperparameters

    @property
    def own(self) -> PyTree:
        """See `Lifetime.own`."""
        return self.inner.own, self.eta, self.optimiser, self.estimator


class Estimate(Protocol):
    """How a meta-gradient is taken. A frozen dataclass."""

    def first(self, eta: PyTree, learner: PyTree) -> PyTree:
        """What it remembers before any."""

    def tune(self, online: "Online", lifetime: OnlineLifetime) -> tuple[OnlineLifetime, Metrics, Metrics]:
        """Learn K times, and tune eta: (lifetime, about, what was gathered)."""


@dataclass(frozen=True)
class Backprop:
    """Through all K updates, in reverse."""

    def first(self, eta: PyTree, learner: PyTree) -> PyTree:
        return ()

    def tune(self, online: "Online", lifetime: OnlineLifetime) -> tuple[OnlineLifetime, Metrics, Metrics]:
        program, K = online.program, online.inner_updates

        def loss(eta: PyTree) -> tuple[jax.Array, Any]:
            given = (program, online.rule, eta, lifetime.inner, K, lifetime.batches[0])
            value, trace, metrics = online.meta_objective.judge(*given)
            return value, (trace, metrics)

        (value, (trace, metrics)), gradient = jax.value_and_grad(loss, has_aux=True)(lifetime.eta)
        inner, batch = trace.trial, trace.batch
        if online.goes_on == "first":
            # The others have shown where eta leads, and are forgotten; what they gathered is counted all the same.
            inner, _ = program.learn(online.rule, lifetime.eta, lifetime.inner, lifetime.batches[0])
            # With keys of its own: it is not to meet what eta was tuned on.
            inner, batch, _ = program.gather(program.forked(inner))
        about = {"meta_loss": value, **trace.updates, **metrics}
        lifetime = replace(lifetime, inner=program.end_trial(inner), batches=(*lifetime.batches[1:], batch))
        return online.tuned(lifetime, gradient), about, trace.acted


@dataclass(frozen=True)
class ForwardTrace:
    """z = d theta / d eta, carried along as theta learns (Xu et al. 2018): z' = decay z + d f / d eta, where theta' =
    f(theta, eta). Each batch judges theta before theta learns from it, so that nothing is gathered for judging alone.

    The true trace is z' = d f / d theta z + d f / d eta, `exact`; decay stands in for d f / d theta, and with 0 the
    meta-gradient is that of a single update. Its cost grows with the number of weights in eta: it is for a few.
    """

    decay: float = 0.0
    exact: bool = False

    def __post_init__(self) -> None:
        check_numbers(self, "decay", at_least=0, at_most=1, prefix="trace.")
        if self.exact and self.decay:
            raise UserError(f"trace.decay: {self.decay:g} given; the exact trace has none")

    def first(self, eta: PyTree, learner: PyTree) -> PyTree:
        return jnp.zeros((numbers(eta)[0].size, numbers(learner)[0].size))

    def tune(self, online: "Online", lifetime: OnlineLifetime) -> tuple[OnlineLifetime, Metrics, Metrics]:
        program, rule = online.program, online.rule
        inner, batch, z = lifetime.inner, lifetime.batches[0], lifetime.estimator
        theta, learner_of = numbers(program.learner(inner))

        def judged(theta: jax.Array) -> tuple[jax.Array, Metrics]:
            return program.judge(rule, program.with_learner(inner, learner_of(theta)), batch, {})

        (value, metrics), slope = jax.value_and_grad(judged, has_aux=True)(theta)
        gradient = numbers(lifetime.eta)[1](z @ slope)
        lifetime = online.tuned(lifetime, gradient)
        eta, eta_of = numbers(lifetime.eta)

        def f(theta: jax.Array, eta: jax.Array) -> jax.Array:
            trial = program.with_learner(inner, learner_of(theta))
            return numbers(program.learner(program.learn(rule, eta_of(eta), trial, batch)[0]))[0]

        each = jnp.eye(eta.size, dtype=eta.dtype)
        carried = z if self.exact else jnp.zeros_like(z)
        z = self.decay * z + directional(f, (theta, eta), (carried, each))
        inner, about = program.learn(rule, lifetime.eta, inner, batch)
        inner, batch, shown = program.gather(inner)
        shown = jax.tree.map(lambda leaf: leaf[None], shown)
        batches = (*lifetime.batches[1:], batch)
        lifetime = replace(lifetime, inner=program.end_trial(inner), batches=batches, estimator=z)
        return lifetime, {"meta_loss": value, **about, **metrics}, shown


@dataclass(frozen=True)
class Online:
    """See `lifetimes.lifetime.Program`: one update is K updates of the agent and one of its eta."""

    program: MetaProgram[Any, Any]
    rule: Any
    """What agents learn by; its fresh weights are what eta starts from. Where it has `judges_updates`, that is whether
    its meta-loss reads what was said of updates.
    """
    meta_objective: MetaObjective = field(default_factory=Last)
    inner_updates: int = 1
    """K."""
    estimator: Estimate = field(default_factory=Backprop)
    goes_on: Literal["last", "first"] = "last"
    """Which agent goes on: theta_K (or the one that the meta-objective tells), or theta_1."""
    gradient_clip: float = 0.0
    """The meta-gradient is scaled to at most this global norm; 0 leaves it as it is."""
    lag: int = 0
    """How many updates old the policy is that a batch was gathered by, as where actors and learners are apart."""

    def __post_init__(self) -> None:
        check_numbers(self, "inner_updates", at_least=1, at_most=MOST, prefix="online.")
        check_numbers(self, "lag", at_least=0, at_most=MOST, prefix="online.")
        check_numbers(self, "gradient_clip", at_least=0, prefix="online.")
        if self.lag and self.inner_updates != 1:
            raise UserError(f"online.inner_updates: {self.inner_updates} given; must be 1 where lag is {self.lag}")
        if self.lag and self.meta_objective != Last("same"):
            raise UserError(f"online.lag: {self.lag} given; must be 0 unless agents are judged on the same batch")
        if self.goes_on == "first" and self._further:
            raise UserError("online.goes_on: first given; must be last where the meta-objective's target goes on")
        if isinstance(self.estimator, ForwardTrace):
            if self.inner_updates != 1:
                raise UserError(f"online.inner_updates: {self.inner_updates} given; must be 1 for a forward trace")
            if self.meta_objective != Last():
                raise UserError("online.meta_objective: given; a forward trace judges the last agent on what is next")
            if self.goes_on != "last":
                raise UserError(f"online.goes_on: {self.goes_on} given; must be last for a forward trace")
            if getattr(self.rule, "judges_updates", False):
                raise UserError(
                    f"online.estimator: a forward trace given; must be another one for {type(self.rule).__name__}, "
                    "whose meta-loss reads what was said of updates"
                )

    @property
    def environment(self) -> Environment:
        return self.program.environment

    @property
    def agent_updates(self) -> int:
        """Of the agent that goes on, in one update."""
        return 1 if self.goes_on == "first" else self.inner_updates + self._further

    @property
    def _further(self) -> int:
        return self.meta_objective.further if isinstance(self.meta_objective, Bootstrapped) else 0

    @property
    def optimiser(self) -> optax.GradientTransformation:
        """Of eta, without the learning rate, which is data."""
        return optax.scale_by_adam()

    @property
    def first_steps(self) -> int:
        return self.program.first_steps + self.early_steps

    @property
    def early_steps(self) -> int:
        return self.program.steps_per_meta_update(1 + self.lag)

    @property
    def steps_per_update(self) -> int:
        return self.program.steps_per_meta_update(self.meta_objective.gathers(self.inner_updates) - 1)

    def start(self, key: PRNGKey, birth: Birth) -> OnlineLifetime:
        """A new agent, whose rule is untuned, with the first batch that it has gathered."""
        eta_key, key = jax.random.split(key)
        # It counts its own updates, of which one here may be several.
        inner = self.program.start(key, birth._replace(length=birth.length * self.agent_updates))
        batches = []
        for _ in range(1 + self.lag):
            inner, batch, _ = self.program.gather(inner)
            batches.append(batch)
        eta, learner = self.rule.init(eta_key), self.program.learner(inner)
        return OnlineLifetime(
            inner=inner,
            eta=eta,
            optimiser=self.optimiser.init(eta),
            estimator=self.estimator.first(eta, learner),
            batches=tuple(batches),
            born=(eta, learner),
            restarts=jnp.int32(0),
        )

    def tuned(self, lifetime: OnlineLifetime, gradient: PyTree) -> OnlineLifetime:
        """After one step of eta down a meta-gradient."""
        gradient, _ = clip_by_norm(gradient, self.gradient_clip or jnp.inf)
        updates, optimiser = self.optimiser.update(gradient, lifetime.optimiser, lifetime.eta)
        rate = lifetime.hyperparameters[META_LEARNING_RATE]
        eta = jax.tree.map(lambda w, u: w - rate * u, lifetime.eta, updates)
        return replace(lifetime, eta=eta, optimiser=optimiser)

    def update(self, rule: Any, weights: PyTree, lifetime: OnlineLifetime) -> tuple[OnlineLifetime, Metrics, Acted]:
        """K updates by the lifetime's own rule, and one of the rule; `rule` and `weights` are not looked at."""
        after, about, acted = self.estimator.tune(self, lifetime)
        finite = jnp.stack([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves((after.eta, self._learns(after)))])
        after = self._restarted(after, ~jnp.all(finite), lifetime.batches)
        shown = summed(acted)
        episodes = Episodes(shown["episodes"], shown["episode_return"])
        about = {**about, "restarts": after.restarts.astype(shown["reward"].dtype)}
        return after, about, Acted(shown["reward"], episodes)

    def _learns(self, lifetime: OnlineLifetime) -> PyTree:
        return numbers(self.program.learner(lifetime.inner))[0]

    def _restarted(self, lifetime: OnlineLifetime, lost: jax.Array, batches: tuple[PyTree, ...]) -> OnlineLifetime:
        """Learning begins anew where a number was `lost`: eta, what tunes it, and the agent as it was born; from the
        `batches` of before, since what was gathered since tells of the loss.
        """
        inner = lifetime.inner
        eta, learner = lifetime.born
        fresh = (eta, self.optimiser.init(eta), self.estimator.first(eta, learner), learner, batches)
        now = (lifetime.eta, lifetime.optimiser, lifetime.estimator, self.program.learner(inner), lifetime.batches)
        eta, optimiser, estimator, learner, batches = jax.tree.map(
            lambda new, old: jnp.where(lost, new, old), fresh, now
        )
        return replace(
            lifetime,
            inner=self.program.with_learner(inner, learner),
            eta=eta,
            optimiser=optimiser,
            estimator=estimator,
            batches=batches,
            restarts=lifetime.restarts + lost,
        )

    def acting(self, lifetime: OnlineLifetime) -> Policy:
        """As the program has it."""
        return self.program.acting(lifetime.inner)

    def test(self, lifetime: OnlineLifetime, at_random: bool = False) -> Episodes | None:
        """As the program has it."""
        return self.program.test(lifetime.inner, at_random)
