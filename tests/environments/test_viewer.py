import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from metaobj.common.environments import GymnaxEnvironment, make_chain, make_grid
from metaobj.common.environments.drawing import AGENT, BANNER, CELL, WALL, render_array
from metaobj.common.environments.viewer import episode_gif, render
from tests.environments.sampling import sample_world


@pytest.mark.parametrize("name", ["longer_horizon", "random_small"])
def test_grid_picture_shows_agent_and_walls(name):
    environment, spec = make_grid(name)
    params = sample_world(environment, spec)
    _, state = jax.jit(environment.reset)(jax.random.key(1), params)
    image = render(environment, state, params)
    height, width = int(params.height), int(params.width)
    assert image.shape == (height * CELL + 1 + BANNER, width * CELL + 1, 3) and image.dtype == np.uint8

    def colour(y, x):  # near a corner of the cell, where no text is
        return tuple(image[BANNER + y * CELL + 9, x * CELL + 9].tolist())

    assert colour(*state.position.tolist()) == AGENT
    walls = np.asarray(params.walls)[:height, :width]
    assert walls.any() and all(colour(y, x) == WALL for y, x in np.argwhere(walls).tolist())


def test_chains_and_arrays_are_drawn():
    environment, spec = make_chain("long")
    params = environment.sample_params(jax.random.key(0), spec)
    _, state = environment.reset(jax.random.key(1), params)
    before = render(environment, state, params)
    after = render(environment, environment.step(jax.random.key(2), state, jnp.asarray(0), params)[1], params)
    assert before.shape == after.shape and (before != after).any()
    for shape in ((4,), (10, 5), (10, 10, 4)):
        image = render_array(np.arange(np.prod(shape)).reshape(shape))
        assert image.dtype == np.uint8 and image.shape[2] == 3 and image.std() > 0
    umbrella = GymnaxEnvironment("UmbrellaChain-bsuite")  # of which there is no other picture
    params = umbrella.sample_params(jax.random.key(0))
    observation, state = umbrella.reset(jax.random.key(0), params)
    np.testing.assert_array_equal(render(umbrella, state, params), render_array(observation))


def test_gif_has_a_frame_per_step(tmp_path):
    environment, spec = make_chain("short")
    params = environment.sample_params(jax.random.key(0), spec)
    right = 20.0 * jax.nn.one_hot(params.correct_action, 2)
    path = tmp_path / "episode.gif"
    total = episode_gif(environment, params, lambda observation: right[None], jax.random.key(0), path)
    assert total == 1.0
    with Image.open(path) as image:
        assert image.n_frames == int(params.length) + 1
