"""p(alpha | E): which hyperparameters a new lifetime in an environment gets, learnt from how earlier ones did.

A bandit per environment over a grid of settings (Oh et al. 2020, appendix): a softmax over the settings of
(mean of the last returns + bonus / sqrt(trials)) / temperature. Returns differ in scale between environments, so
they are first mapped to [0, 1] by the smallest and the largest return that the environment's lifetimes have reported.
A setting without a report counts as the best one seen, so that each is tried.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.errors import MOST, UserError, check_numbers
from metaobj.common.lifetimes.levels import LevelState, choose_level, init_levels, update_levels
from metaobj.common.types import PRNGKey


@dataclass(frozen=True)
class SamplerConfig:
    """The bandit's constants."""

    window: int = 10
    """How many of a setting's latest returns are averaged."""
    bonus: float = 0.2
    """How much a setting's score gains for having been tried seldom: bonus / sqrt(trials)."""
    temperature: float = 0.1
    """Temperature of the softmax over the settings' scores; smaller is greedier."""
    replay: float = 0.0
    """Share of new agents whose world, among the run's `worlds`, is chosen by its regret, see `lifetimes/levels.py`;
    others get any of them. Needs `worlds`.
    """

    def __post_init__(self) -> None:
        check_numbers(self, "window", at_least=1, at_most=MOST, prefix="sampler.")
        check_numbers(self, "bonus", at_least=0, prefix="sampler.")
        check_numbers(self, "temperature", above=0, prefix="sampler.")
        check_numbers(self, "replay", at_least=0, at_most=1, prefix="sampler.")


@struct.dataclass
class SamplerState:
    """What has been reported. E environments, S settings (padded to the largest grid), W window."""

    returns: jax.Array  # [E, S, W] float, the latest returns, a ring buffer
    trials: jax.Array  # [E, S] int32
    low: jax.Array  # [E] float, smallest return reported
    high: jax.Array  # [E] float, largest return reported
    levels: LevelState | None = None  # where worlds are chosen by their regret


@dataclass(frozen=True)
class Sampler:
    """Pure functions over `SamplerState`; `grids[e]` maps a name to the environment's values for it."""

    grids: tuple[tuple[tuple[str, tuple[float, ...]], ...], ...]
    config: SamplerConfig
    worlds: int = 0
    """N, of each environment; 0 where every agent has another one."""

    @property
    def replays(self) -> bool:
        """Whether worlds are chosen by their regret."""
        return self.config.replay > 0

    @property
    def _settings(self) -> list[list[dict[str, float]]]:
        return [
            [dict(zip([n for n, _ in grid], values, strict=True)) for values in product(*[v for _, v in grid])]
            for grid in self.grids
        ]

    @property
    def table(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """({name: values [E, S]}, valid [E, S]): the settings, padded by repeating the first."""
        settings = self._settings
        widest = max(map(len, settings))
        names = list(settings[0][0])
        padded = [row + [row[0]] * (widest - len(row)) for row in settings]
        valid = np.array([[i < len(row) for i in range(widest)] for row in settings])
        return {n: np.array([[s[n] for s in row] for row in padded], np.float32) for n in names}, valid

    def init(self) -> SamplerState:
        _, valid = self.table
        return SamplerState(
            returns=jnp.zeros((*valid.shape, self.config.window)),
            trials=jnp.zeros(valid.shape, jnp.int32),
            low=jnp.full(valid.shape[0], jnp.inf),
            high=jnp.full(valid.shape[0], -jnp.inf),
            levels=init_levels(valid.shape[0], self.worlds) if self.replays else None,
        )

    def probabilities(self, state: SamplerState) -> jax.Array:
        """p(setting | environment) [E, S]; padding has probability 0."""
        _, valid = self.table
        kept = jnp.minimum(state.trials, self.config.window)
        filled = jnp.arange(self.config.window) < kept[..., None]  # [E, S, W]
        mean = jnp.sum(jnp.where(filled, state.returns, 0.0), -1) / jnp.maximum(kept, 1)
        spread = jnp.where(state.high > state.low, state.high - state.low, 1.0)[:, None]
        low = jnp.where(jnp.isfinite(state.low), state.low, 0.0)[:, None]
        scaled = jnp.where(kept > 0, (mean - low) / spread, 1.0)
        scores = scaled + self.config.bonus / jnp.sqrt(jnp.maximum(state.trials, 1))
        return jax.nn.softmax(jnp.where(valid, scores / self.config.temperature, -jnp.inf), axis=-1)

    def sample(self, key: PRNGKey, state: SamplerState, environment: jax.Array) -> tuple[jax.Array, dict]:
        """A setting for a new lifetime in `environment`: (its index, {name: value})."""
        logits = jnp.log(self.probabilities(state)[environment])
        setting = jax.random.categorical(key, logits)
        values, _ = self.table
        return setting, {name: jnp.asarray(v)[environment, setting] for name, v in values.items()}

    def sample_world(self, key: PRNGKey, state: SamplerState, environment: jax.Array) -> jax.Array | None:
        """The index of a world for a new lifetime; None where they are not chosen."""
        if state.levels is None:
            return None
        return choose_level(key, state.levels, environment, self.config.replay)

    def update(
        self,
        state: SamplerState,
        environment: jax.Array,
        setting: jax.Array,
        lifetime_return: jax.Array,
        world: jax.Array | None = None,
    ) -> SamplerState:
        """Record one lifetime's return, in a world where these are chosen."""
        levels = state.levels
        if levels is not None:
            assert world is not None
            levels = update_levels(levels, environment, world, lifetime_return)
        slot = state.trials[environment, setting] % self.config.window
        return SamplerState(
            returns=state.returns.at[environment, setting, slot].set(lifetime_return),
            trials=state.trials.at[environment, setting].add(1),
            low=state.low.at[environment].min(lifetime_return),
            high=state.high.at[environment].max(lifetime_return),
            levels=levels,
        )

    def update_all(
        self,
        state: SamplerState,
        environments: jax.Array,
        settings: jax.Array,
        returns: jax.Array,
        ended: jax.Array,
        worlds: jax.Array | None = None,
    ) -> SamplerState:
        """Record the returns of the lifetimes in `ended` [L] (a mask), in their order."""

        def record(carry: tuple[SamplerState, jax.Array]) -> tuple[SamplerState, jax.Array]:
            state, left = carry
            i = jnp.argmax(left)
            world = None if worlds is None else worlds[i]
            return self.update(state, environments[i], settings[i], returns[i], world), left.at[i].set(False)

        return jax.lax.while_loop(lambda carry: jnp.any(carry[1]), record, (state, ended))[0]

    def best(self, state: SamplerState) -> list[dict[str, float]]:
        """Each environment's most probable setting, on the host."""
        chosen = np.argmax(np.asarray(self.probabilities(state)), axis=-1)
        return [row[i] for row, i in zip(self._settings, chosen, strict=True)]


def make_sampler(grids: Sequence[Mapping[str, Sequence[float]]], config: SamplerConfig, worlds: int = 0) -> Sampler:
    """A sampler for environments with these grids, of `worlds` worlds each; all grids have the same names, in the same
    order.

    Raises:
        UserError: a grid is empty or has a value that is negative or not finite, or the names differ; worlds are to be
            chosen where there are not so many and no more.
    """
    if config.replay and not worlds:
        raise UserError(f"sampler.replay: {config.replay:g} given; must be 0 where worlds is 0")
    names = list(grids[0])
    for grid in grids:
        if list(grid) != names:
            raise UserError(f"hyperparameters: every environment needs {names}, one has {list(grid)}")
        for name, values in grid.items():
            if not values or any(not np.isfinite(v) or v < 0 for v in values):
                raise UserError(f"hyperparameters.{name}: {list(values)} given; needs one or more finite values >= 0")
    return Sampler(tuple(tuple((n, tuple(map(float, v))) for n, v in g.items()) for g in grids), config, worlds)
