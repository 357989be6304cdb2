"""The learned loss: what it may depend on, short windows, any number of action dimensions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.experience.batches import Experience
from metaobj.metagenrl.objective import MetaGenRL, MetaGenRLConfig

pytestmark = pytest.mark.usefixtures("float64", "quick_compilation")
T, W = 12, 5
CONFIGS = [MetaGenRLConfig(units=8), MetaGenRLConfig(units=8, td_error=True, product=True, centred=True)]


def experience(key: jax.Array, dimensions: int, steps: int = T, windows: int = W) -> tuple[jax.Array, Experience]:
    keys = jax.random.split(key, 6)
    values, next_values = jax.random.normal(keys[0], (2, steps, windows))
    terminated = jnp.zeros((steps, windows), bool).at[-1, 0].set(True)
    actions, taken = jnp.tanh(jax.random.normal(keys[1], (2, steps, windows, dimensions)))
    return actions, Experience(
        action=taken,
        reward=jax.random.normal(keys[2], (steps, windows)),
        valid=jnp.ones((steps, windows), bool),
        values=values,
        next_values=jnp.where(terminated, 0.0, next_values),
        discount=jnp.asarray(0.9),
    )


def loss_of(objective: MetaGenRL, weights, actions, known) -> jax.Array:
    return objective.loss(weights, actions, known, jnp.zeros(actions.shape[:-1]))


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_a_short_window_is_its_valid_steps_alone(config):
    objective = MetaGenRL(config)
    weights = objective.init(jax.random.key(0))
    actions, known = experience(jax.random.key(1), 2)
    known = known._replace(valid=jnp.arange(T)[:, None] < jnp.full((W,), 7))
    alone = jax.tree.map(lambda leaf: leaf[:7] if leaf.ndim else leaf, known)
    # The position is t / T with the window's nominal length, so the seven steps are told that it is longer.
    garbage = known._replace(
        reward=known.reward.at[7:].set(1e6), values=known.values.at[7:].set(-1e6), action=known.action.at[7:].set(9.0)
    )
    gradient = jax.jit(jax.grad(lambda a, e: loss_of(objective, weights, a, e)))
    whole, soiled = gradient(actions, known), gradient(actions, garbage)
    np.testing.assert_allclose(whole, soiled, rtol=1e-12, atol=1e-15)
    assert (whole[7:] == 0).all() and (jnp.abs(whole[:7]).max(axis=(1, 2)) > 0).all(), "the first steps learn too"
    alone_gradient = jax.jit(
        jax.grad(lambda a, e: objective.loss(weights, a, e, jnp.zeros(a.shape[:-1]), nominal_steps=T))
    )(actions[:7], alone)
    np.testing.assert_allclose(whole[:7], alone_gradient, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_order_of_action_dimensions_does_not_matter(config):
    objective = MetaGenRL(config)
    weights = objective.init(jax.random.key(0))
    actions, known = experience(jax.random.key(2), 6)
    order = jnp.array([3, 0, 5, 1, 4, 2])
    turned = known._replace(action=known.action[..., order])
    np.testing.assert_allclose(
        loss_of(objective, weights, actions, known),
        loss_of(objective, weights, actions[..., order], turned),
        rtol=1e-12,
    )


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_one_set_of_weights_for_any_number_of_dimensions(config):
    objective = MetaGenRL(config)
    weights = objective.init(jax.random.key(0))
    for dimensions in (1, 2, 6):
        actions, known = experience(jax.random.key(3), dimensions)
        gradient = jax.grad(lambda a, known=known: loss_of(objective, weights, a, known))(actions)
        assert gradient.shape == actions.shape and jnp.isfinite(gradient).all() and jnp.abs(gradient).min() > 0


def test_an_episode_reads_nothing_of_what_follows_it():
    """The episode of the first window ends at step 7; what comes after belongs to another one."""
    objective = MetaGenRL(CONFIGS[0])
    weights = objective.init(jax.random.key(0))
    actions, known = experience(jax.random.key(4), 1)
    end = 7
    known = known._replace(valid=known.valid.at[end + 1 :, 0].set(False))

    def output(reward, values, taken):
        return objective.outputs(weights, actions, known._replace(reward=reward, values=values, action=taken))[3, 0]

    read = jax.jit(jax.grad(output, argnums=(0, 1, 2)))(known.reward, known.values, known.action)
    for by_step in (jnp.abs(leaf[:, 0].reshape(T, -1)).max(-1) for leaf in read):
        assert (by_step[end + 1 :] == 0).all(), "nothing of the next episode, through the moments neither"
        assert by_step[3 : end + 1].min() > 0, "its own step and all later ones of its episode"


def test_the_output_is_bounded():
    objective = MetaGenRL(CONFIGS[0])
    weights = jax.tree.map(lambda leaf: leaf * 1e4, objective.init(jax.random.key(0)))
    outputs = objective.outputs(weights, *experience(jax.random.key(5), 2))
    assert jnp.abs(outputs).max() <= 1000


def test_the_loss_never_reads_the_critics_judgement_nor_a_state():
    assert not {"observation", "state", "next_observation"} & set(Experience._fields)
    objective = MetaGenRL(CONFIGS[0])
    weights = objective.init(jax.random.key(0))
    actions, known = experience(jax.random.key(6), 2)
    by_judgement = jax.grad(lambda q: objective.loss(weights, actions, known, q))(jnp.ones((T, W)))
    assert (by_judgement == 0).all()
