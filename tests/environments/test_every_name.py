"""Every name that `metaobj list` shows can be made, reset and stepped."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.environments.adapters.brax import TASKS
from metaobj.common.environments.adapters.gymnax import NOT_IN_64_BITS
from metaobj.common.environments.measured import uniform_action
from metaobj.common.environments.names import needed_extra
from metaobj.common.environments.protocol import sample_params
from metaobj.common.environments.registry import environment_names, make_environment
from metaobj.common.errors import UserError
from metaobj.common.experience.rollout import Policy, reset, rollout

FEW = ["grid/dense", "grid/random_small", "chain/short_noisy", "CartPole-v1/varied", "Catch-bsuite", "Pendulum-v1"]
FEW += ["unseen/key", "Freeway-MinAtar", "control/point_mass/varied", "control/cartpole_swingup"]
FEW += ["control/balance/varied"]
OURS = [name for name in environment_names() if needed_extra(name) is None]


def act(environment, spec, steps):
    """A function of a key: some steps of uniform actions, resets among them, in two environments."""

    def draw(key, steps, observation):
        keys = jax.random.split(key, (steps, 2))
        return jax.vmap(jax.vmap(lambda k: uniform_action(k, environment.action_space)))(keys)

    def go(key):
        params = sample_params(environment, key, spec)
        worlds = reset(key, environment, params, 2)
        worlds, first, _ = rollout(key, environment, params, worlds, Policy(draw, lambda _, noise: noise), steps)
        return first, rollout(key, environment, params, worlds, Policy(draw, lambda _, noise: noise), steps)[1]

    return go


def fits(name, environment, steps, more):
    """What was returned is of the shapes and types that the spaces say."""
    assert steps.observation.shape[2:] == environment.observation_space.shape, name
    assert steps.observation.dtype == more.observation.dtype == steps.next_observation.dtype, name
    assert steps.terminated.dtype == steps.truncated.dtype == bool, name
    assert jnp.issubdtype(steps.reward.dtype, jnp.floating), name


@pytest.mark.filterwarnings("ignore:scatter inputs have incompatible types:FutureWarning")  # in one of gymnax's
@pytest.mark.parametrize("names", [pytest.param(FEW, id="few"), pytest.param(OURS, id="all", marks=pytest.mark.slow)])
def test_with_64_bits_too(names):
    """Traced only."""
    with jax.enable_x64(True):
        for name in names:
            if name in NOT_IN_64_BITS:
                with pytest.raises(UserError, match="does not run with 64-bit types; unset JAX_ENABLE_X64"):
                    make_environment(name)
                continue
            environment, spec = make_environment(name)
            fits(name, environment, *jax.eval_shape(act(environment, spec, 3), jax.random.key(0)))


@pytest.mark.parametrize("name", ["FourRooms-misc", pytest.param("brax/ant", marks=pytest.mark.slow)])
def test_one_process_may_use_both(name):
    """What an environment keeps of one width must not meet the other's."""
    for wide in (True, False):
        with jax.enable_x64(wide), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            environment, spec = make_environment(name)
            fits(name, environment, *jax.eval_shape(act(environment, spec, 3), jax.random.key(0)))


@pytest.mark.slow
@pytest.mark.parametrize("name", environment_names())
def test_it_runs(name, quick_compilation):
    if (extra := needed_extra(name)) is not None:
        pytest.importorskip(extra)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Brax's and MuJoCo's own
        environment, spec = make_environment(name)
        before, steps = jax.jit(act(environment, spec, 4))(jax.random.key(0))
    fits(name, environment, before, steps)
    for leaf in jax.tree.leaves(steps):
        assert np.isfinite(np.asarray(leaf, float)).all()


def test_all_brax_tasks_are_listed_on_all_backends():
    names = [name for name in environment_names() if name.startswith("brax/")]
    assert len(names) == len(set(names)) == len(TASKS) * 6 and "brax/swimmer" not in names
