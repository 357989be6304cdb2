"""Any Gymnasium environment behind this project's protocol, stepped on the host in the midst of compiled programs.

Gymnasium is an optional extra (`gymnasium`), and some of its environments need packages of
their own. Its environments are objects that change, and this project's are functions: an episode may be dropped, its
start taken twice, a program run again. What makes one of the other is that a seed and the actions since determine
everything. They are the state, and the host keeps environments that are in the midst of an episode by the state that
they are in. A state that none of them is in is reached anew from its seed: slower, and the same.

A step costs what it costs there and a little more, one core at a time. Rollouts draw fresh starts ahead, so slow resets
(a third of a second for an Atari game) make slow rollouts.
"""

import functools
import threading
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from metaobj.common.environments.adapters.arrays import bound, floats
from metaobj.common.environments.adapters.extras import import_extra, pip
from metaobj.common.environments.protocol import Box, Discrete, Space
from metaobj.common.errors import UserError
from metaobj.common.types import PRNGKey, PyTree

UNLIMITED = 27_000
"""Steps after which an episode is cut where Gymnasium sets no limit; 108 000 frames of an Atari game, its own limit."""
KEPT = 2048
"""Environments of an id that are kept in mid-episode; of more, those that were stepped least recently are let go."""


@struct.dataclass
class Episode:
    """All that it takes to be where an episode is."""

    seed: jax.Array  # [] uint32
    actions: jax.Array  # [time limit, *action shape] those so far, and zeros
    time: jax.Array  # [] int32, how many
    over: jax.Array  # [] bool


def make_gymnasium(name: str) -> tuple["GymnasiumEnvironment", PyTree]:
    """The environment that Gymnasium knows by the id in "gymnasium/ID".

    Raises:
        UserError: it, or something that it needs, is not installed, or it is of a kind that agents cannot live in.
    """
    import_extra(name, "gymnasium")
    _host(name)
    return GymnasiumEnvironment(name), ()


@dataclass(frozen=True)
class GymnasiumEnvironment:
    """A Gymnasium environment with its registered settings.

    Numbers are observed as floats of this program's width and bytes, such as pixels, as float32 between 0 and 1.
    """

    name: str
    """"gymnasium/ID"."""

    @property
    def observation_space(self) -> Space:
        """As Gymnasium declares it; bytes between 0 and 1."""
        return _host(self.name).observation_space

    @property
    def action_space(self) -> Space:
        """As Gymnasium declares it."""
        return _host(self.name).action_space

    @property
    def time_limit(self) -> int:
        """Steps of the longest episode."""
        return _host(self.name).time_limit

    def reset(self, key: PRNGKey, params: PyTree) -> tuple[jax.Array, Episode]:
        """Start an episode; `key` draws the seed."""
        host = _host(self.name)
        seed = jax.random.bits(key, (), jnp.uint32)
        raw = jax.ShapeDtypeStruct(host.observation_space.shape, host.observed)
        observation = jax.pure_callback(host.first, raw, seed, vmap_method="broadcast_all")
        actions = jnp.zeros((host.time_limit, *host.action_space.shape), host.acted)
        return _seen(observation), Episode(seed, actions, jnp.int32(0), jnp.bool_(False))

    def step(
        self, key: PRNGKey, state: Episode, action: jax.Array, params: PyTree
    ) -> tuple[jax.Array, Episode, jax.Array, jax.Array, jax.Array, dict[str, Any]]:
        """One step. `truncated` as Gymnasium tells it, unless the world ended in that step. After an episode's end
        there is nothing: zeros, and terminated.
        """
        host = _host(self.name)
        action = jax.lax.stop_gradient(action).astype(host.acted)
        actions = state.actions.at[state.time].set(action)
        number = jax.ShapeDtypeStruct
        returned = (
            number(host.observation_space.shape, host.observed),
            number((), np.float32),
            number((), np.bool_),
            number((), np.bool_),
        )
        observation, reward, terminated, truncated = jax.pure_callback(
            host.step, returned, state.seed, actions, state.time, state.over, vmap_method="broadcast_all"
        )
        after = Episode(state.seed, actions, state.time + 1, terminated | truncated)
        return _seen(observation), after, floats(reward), terminated, truncated & ~terminated, {}


def _seen(observation: jax.Array) -> jax.Array:
    if observation.dtype == jnp.uint8:
        return observation.astype(jnp.float32) / 255
    return observation if jnp.issubdtype(observation.dtype, jnp.integer) else floats(observation)


@functools.cache
def _host(name: str) -> "_Host":
    return _Host(name)


class _Host:
    """The environments of one id outside of JAX. Callbacks of several devices may come at once."""

    def __init__(self, name: str) -> None:
        self.name = name
        first = self._make()
        where = f"environment: {name!r}"
        if first.spec.nondeterministic:
            raise UserError(f"{where} is not determined by its seed, which it has to be here")
        self.observation_space, self.observed = _observations(where, first.observation_space)
        self.action_space, self.acted, self._first_action = _actions(where, first.action_space)
        self.time_limit = int(first.spec.max_episode_steps or UNLIMITED)
        self._lock = threading.Lock()
        self._idle = [first]
        self._kept: dict[bytes, list[Any]] = {}  # by state, the least recently stepped first
        self._number_kept = 0

    def first(self, seeds: np.ndarray) -> np.ndarray:
        """Observations that episodes begin with; `seeds` and what is returned have any leading axes, the same."""
        seeds = np.asarray(seeds)
        observations: np.ndarray = np.zeros((seeds.size, *self.observation_space.shape), self.observed)
        for at, seed in enumerate(seeds.ravel()):
            environment, observations[at] = self._begin(seed)
            self._rest(environment)
        return observations.reshape(*seeds.shape, *self.observation_space.shape)

    def step(
        self, seeds: np.ndarray, actions: np.ndarray, times: np.ndarray, over: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """One step of each: with the last of the times + 1 actions, after those before it.

        Returns:
            Observations, rewards, whether terminated, whether truncated; leading axes as they are given.
        """
        seeds, actions, times, over = (np.asarray(given) for given in (seeds, actions, times, over))
        leading, size = seeds.shape, seeds.size
        histories = actions.reshape(size, self.time_limit, *self.action_space.shape)
        observations: np.ndarray = np.zeros((size, *self.observation_space.shape), self.observed)
        rewards, terminated, truncated = np.zeros(size, np.float32), np.ones(size, bool), np.zeros(size, bool)
        for at, (seed, history, time) in enumerate(zip(seeds.ravel(), histories, times.ravel(), strict=True)):
            if over.flat[at]:
                continue
            environment = self._at(seed, history[:time])
            observed, rewards[at], terminated[at], cut, _ = environment.step(self._told(history[time]))
            observations[at] = observed
            truncated[at] = cut or time + 1 == self.time_limit
            if terminated[at] or truncated[at]:
                self._rest(environment)
            else:
                self._keep(_key(seed, history[: time + 1]), environment)
        return (
            observations.reshape(*leading, *self.observation_space.shape),
            rewards.reshape(leading),
            terminated.reshape(leading),
            truncated.reshape(leading),
        )

    def _make(self) -> Any:
        """A new environment, as Gymnasium makes it: with its time limit, and without resets of its own."""
        import gymnasium

        name = self.name.partition("/")[2]
        if name.startswith("ALE/"):
            try:
                import ale_py
            except ImportError as error:
                needs = f"needs the package ale-py; install it with: {pip()} install 'gymnasium[atari]'"
                raise UserError(f"environment: {self.name!r} {needs}") from error
            gymnasium.register_envs(ale_py)
        try:
            return gymnasium.make(name, disable_env_checker=True)
        except Exception as error:  # whatever the environment raises
            line = " ".join(str(error).split())
            raise UserError(f"environment: {self.name!r}: {type(error).__name__}: {line:.200}") from error

    def _begin(self, seed: np.ndarray) -> tuple[Any, Any]:
        """An environment at the start of the seed's episode, and what is seen there."""
        with self._lock:
            environment = self._idle.pop() if self._idle else None
        environment = environment or self._make()
        return environment, environment.reset(seed=int(seed))[0]

    def _at(self, seed: np.ndarray, actions: np.ndarray) -> Any:
        """An environment after these actions."""
        key = _key(seed, actions)
        with self._lock:
            if alike := self._kept.get(key):
                self._number_kept -= 1
                environment = alike.pop()
                if not alike:
                    del self._kept[key]
                return environment
        environment, _ = self._begin(seed)
        for action in actions:
            environment.step(self._told(action))
        return environment

    def _keep(self, key: bytes, environment: Any) -> None:
        with self._lock:
            self._kept[key] = [*self._kept.pop(key, []), environment]
            self._number_kept += 1
            if self._number_kept > KEPT:
                oldest = next(iter(self._kept))
                self._idle += self._kept.pop(oldest)
                self._number_kept = sum(map(len, self._kept.values()))

    def _rest(self, environment: Any) -> None:
        with self._lock:
            self._idle.append(environment)

    def _told(self, action: np.ndarray) -> Any:
        """An action as Gymnasium takes it."""
        return int(action) + self._first_action if isinstance(self.action_space, Discrete) else action


def _key(seed: np.ndarray, actions: np.ndarray) -> bytes:
    return seed.tobytes() + actions.tobytes()


def _observations(where: str, space: Any) -> tuple[Space, type]:
    """(the space, NumPy type of what is observed on the host) for a space of Gymnasium's.

    Raises:
        UserError: there is nothing like it here.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete) and space.start == 0:
        return Discrete(int(space.n)), np.int32
    if isinstance(space, spaces.MultiBinary):
        return Box(tuple(space.shape), 0.0, 1.0), np.float32
    if isinstance(space, spaces.Box) and space.shape:
        if space.dtype == np.uint8:
            return Box(tuple(space.shape), 0.0, 1.0), np.uint8
        return Box(tuple(space.shape), bound(space.low), bound(space.high)), np.float32
    raise UserError(f"{where}: observations of {space} given; must be a Box, or Discrete from 0")


def _actions(where: str, space: Any) -> tuple[Space, type, int]:
    """(the space, NumPy type of an action, the least discrete action) for a space of Gymnasium's.

    Raises:
        UserError: there is nothing like it here.
    """
    from gymnasium import spaces

    if isinstance(space, spaces.Discrete):
        return Discrete(int(space.n)), np.uint8 if int(space.n) <= 256 else np.int32, int(space.start)
    if isinstance(space, spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        return Box(tuple(space.shape), bound(space.low), bound(space.high)), np.float32, 0
    raise UserError(f"{where}: actions of {space} given; must be Discrete, or a Box that is a vector")
