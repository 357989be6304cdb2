"""What the published rule made of given inputs, recorded (see the page beside the data)."""

from pathlib import Path

import jax.numpy as jnp
import numpy as np

from metaobj.common.experience.batches import Batch
from metaobj.common.types import Rollout

DATA = Path(__file__).parents[1] / "fixtures" / "disco103"


def arrays(name):
    with np.load(DATA / f"{name}.npz") as file:
        return {key: x.astype(float) if x.dtype == np.float32 else x for key, x in file.items()}


def batch_of(observation, actions, rewards, discounts, behaviour, memory=(), **hyperparameters):
    """T + 1 time steps, whose rewards and ends come with the observation after, as T transitions."""
    over = jnp.asarray(discounts[1:] == 0)
    rollout = Rollout(
        jnp.asarray(observation[:-1]),
        jnp.asarray(actions[:-1]),
        jnp.asarray(rewards[1:]),
        over,
        jnp.zeros_like(over),
        jnp.asarray(observation[1:]),
    )
    behaviour = jnp.asarray(behaviour[:-1])
    return Batch.of(
        rollout,
        hyperparameters={name: jnp.asarray(value) for name, value in hyperparameters.items()},
        behaviour=behaviour - jnp.log(jnp.sum(jnp.exp(behaviour), -1, keepdims=True)),
        memory=memory,
    )


def close(found, wanted, tolerance=3e-4):
    """Within so much of the largest entry."""
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(np.asarray(found), wanted, rtol=0, atol=tolerance * max(np.abs(wanted).max(), 1e-12))
