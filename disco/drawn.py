"""What an agent of Disco may say and meet, drawn at random.

Nothing here knows a world: rewards and values are of any size, sparse or not, policies of any entropy, predictions
whatever they may be, and the meta-RNN is in any state.
"""

import jax
import jax.numpy as jnp

from metaobj.common.networks.lstm import State
from metaobj.common.types import PRNGKey
from metaobj.disco.network import Seen, Sizes
from metaobj.disco.values import Moments, Steps, Values

_ROWS = 16
"""B, environments."""


def draw(key: PRNGKey, actions: int, steps: int, sizes: Sizes) -> tuple[Seen, State]:
    """What a network of these sizes is given of one rollout of an agent with so many actions, and the meta-RNN's state.

    Sizes are log-uniform. Rewards, values and advantages share a unit, and a row has more or less of it.
    """
    keys = iter(jax.random.split(key, 48))
    states, rows = steps + 1, _ROWS

    def normal(*shape: int) -> jax.Array:
        return jax.random.normal(next(keys), shape)

    def uniform(*shape: int) -> jax.Array:
        return jax.random.uniform(next(keys), shape)

    def size(least: float, most: float, *shape: int) -> jax.Array:
        return least * (most / least) ** uniform(*shape)

    def near(x: jax.Array, least: float, most: float) -> jax.Array:
        return x + normal(*x.shape) * size(least, most, 1, rows, *(1,) * (x.ndim - 2))

    def sparse(*shape: int) -> jax.Array:
        """Of a row a share is large, the rest a twentieth of it."""
        share = size(0.2, 1.0, 1, rows, *(1,) * (len(shape) - 2))
        return normal(*shape) * jnp.where(uniform(*shape) < share, 1.0, 0.05)

    policy = normal(states, rows, actions) * size(0.03, 4.0, states, rows, 1)
    heads = {
        "policy": policy,
        "y": normal(states, rows, sizes.categories) * size(0.03, 3.0, rows, 1),
        "z": normal(states, rows, actions, sizes.categories) * size(0.03, 3.0, rows, 1, 1),
    }
    target = {name: near(x, 0.003, 1.0) for name, x in heads.items()}
    behaviour = jax.nn.log_softmax(near(policy, 0.001, 0.3)[:-1])

    action = jax.random.categorical(next(keys), behaviour)

    unit = size(1e-3, 10.0)
    deviation = unit * size(0.5, 2.0)
    mean = 0.2 * deviation * normal()
    moments = Moments(mean, deviation**2 + mean**2, jnp.zeros(()))
    advantages = unit * size(0.3, 3.0, rows) * sparse(steps, rows)
    relative = unit * size(0.2, 3.0, rows, 1) * sparse(states, rows, actions)
    relative -= jnp.sum(jax.nn.softmax(policy) * relative, -1, keepdims=True)
    value = unit * size(0.1, 30.0, rows) * (normal(rows) + 0.3 * normal(states, rows))  # [T + 1, B]
    online = value + 0.3 * unit * normal(states, rows)
    taken = jnp.take_along_axis(relative[:-1], action[..., None], -1)[..., 0]
    values = Values(
        online=online,
        target=value,
        target_q=value[..., None] + relative,
        relative=relative,
        returns=value[:-1] + advantages,
        advantages=advantages,
        errors=advantages + value[:-1] - online[:-1] - taken,
    )

    over = uniform(steps, rows) < size(0.003, 0.3, rows)
    met = Steps(
        action=action,
        reward=3.0 * unit * sparse(steps, rows) * (uniform(rows) < 0.8),
        over=over.astype(advantages.dtype),
    )
    # One agent in five is new.
    hidden, cell = (2 * uniform(sizes.life_units) - 1 for _ in range(2))
    age = uniform() * (uniform() < 0.8)
    return Seen(heads, target, behaviour, met, values, moments), (age * hidden, age * cell)
