"""What the inspection of a Disco measures: what a cut rule sees, means by hand, and that it writes its files."""

import csv

import jax
import jax.numpy as jnp
import matplotlib.image
import numpy as np
import pytest

from metaobj.common.agents.agent import AgentConfig
from metaobj.common.environments.delayed_chain import CHAIN, chain_spec
from metaobj.common.environments.one_hot import OneHot
from metaobj.common.environments.protocol import Box
from metaobj.common.errors import UserError
from metaobj.common.experience.batches import Batch
from metaobj.common.objectives.plugin import Loaded
from metaobj.common.types import Rollout
from metaobj.disco.agent import ModelAgent, ModelConfig, before_and_after
from metaobj.disco.config import PRESETS
from metaobj.disco.cut import CHANNELS, Cut
from metaobj.disco.inspection import inspect
from metaobj.disco.inspection_data import Moved, Pulses, Size, by_distance, from_the_end
from metaobj.disco.objective import Disco, DiscoConfig
from metaobj.disco.plugin import plugin
from tests.worlds import OBSERVED_RING

pytestmark = pytest.mark.usefixtures("quick_compilation")
RULE = Disco(DiscoConfig(units=4, life_units=3, hidden=3, categories=5))
SIZE = Size(agents=2, environments=4, ages=(0, 2), chain_agents=2, chain_updates=2, chain_steps=4)
T, B, A = 4, 4, 3


@pytest.fixture(scope="module")
def eta(quick_compilation):
    return jax.jit(RULE.init)(jax.random.key(0))


def seen(sees: dict[str, float]) -> tuple[dict, Batch]:
    """Heads of an agent and its target at T + 1 time steps, and a rollout."""
    keys = iter(jax.random.split(jax.random.key(1), 6))
    agent = ModelAgent(Box((2,)), tuple(RULE.heads(A).items()), AgentConfig("dense", hidden=(3,)), ModelConfig(2, 2))
    observation = jax.random.normal(next(keys), (T + 1, B, 2))
    online, target = (agent.apply(agent.init(next(keys)).params, observation) for _ in range(2))
    never, life = jnp.zeros((T, B), bool), jnp.ones(RULE.config.life_units)
    rollout = Rollout(
        observation[:-1],
        jax.random.randint(next(keys), (T, B), 0, A),
        jax.random.normal(next(keys), (T, B)),
        never,
        never,
        observation[1:],
    )
    batch = Batch.of(
        rollout,
        hyperparameters={knob: jnp.float32(sees.get(name, 1.0)) for name, knob in CHANNELS.items()},
        behaviour=jnp.full((T, B, A), -jnp.log(A)),
        memory=RULE.first_memory()._replace(life=(life, life)),  # as it is born, a fresh rule says nothing
    )
    return {"online": online, "target": target}, batch


@pytest.mark.slow
@pytest.mark.parametrize("channel", CHANNELS)
def test_what_is_cut_is_not_seen_and_what_is_not_is(eta, channel):
    def with_targets(rule):
        @jax.jit
        def targets(heads, batch):
            return rule.targets(eta, *before_and_after(heads["online"], heads["target"]), batch)[0]

        return targets

    heads, whole = seen({})
    _, cut = seen({channel: 0.0})
    slope = jnp.arange(heads["online"][channel].shape[-1]) / 100.0
    other = {side: {**values, channel: values[channel] + slope} for side, values in heads.items()}
    targets = with_targets(Cut(RULE))
    for batch, answers in ((whole, True), (cut, False)):
        before, after = (targets(each, batch).said.y for each in (heads, other))
        assert bool(jnp.abs(before - after).max() > 1e-6) == answers
    # Action values learn by what the agent itself predicts, whatever the rule sees.
    np.testing.assert_allclose(targets(other, whole).returns, targets(other, cut).returns, rtol=1e-5, atol=1e-6)
    uncut = with_targets(RULE)(heads, whole).said.policy
    np.testing.assert_allclose(targets(heads, whole).said.policy, uncut, rtol=1e-5, atol=1e-6)


def test_moves_are_of_changed_rollouts_less_the_others_within_an_episode():
    """Two steps, two environments of one agent, of which the first is changed; of the later step's reward (k = 1) only
    what is in the same episode counts.
    """
    moved = np.array([[[[5.0, 1.0], [9.0, 9.0]], [[3.0, 2.0], [7.0, 4.0]]]])  # [L, k, T, B]
    same = np.array([[[[True, True], [False, False]], [[True, True], [True, True]]]])
    found = by_distance(Pulses(Moved(moved, 2 * moved, 3 * moved), same))
    np.testing.assert_allclose(found.policy, [(5 + 7) / 2 - (1 + 4) / 2, 3 - 2])
    np.testing.assert_allclose(found.z, 3 * np.asarray(found.policy))
    apart = same & np.array([[[[True, True], [True, True]], [[False, True], [True, True]]]])
    assert np.isnan(by_distance(Pulses(Moved(moved, moved, moved), apart)).policy[1])
    last = from_the_end(Pulses(Moved(moved[:, 1], moved[:, 1], moved[:, 1]), same[:, 1]))
    np.testing.assert_allclose(last.policy, [7 - 4, 3 - 2])


def test_states_as_vectors():
    shown = OneHot(CHAIN)
    params = shown.sample_params(jax.random.key(0), chain_spec(CHAIN, 5))
    first, state = shown.reset(jax.random.key(1), params)
    after, *_ = shown.step(jax.random.key(2), state, jnp.int32(1), params)
    assert first.shape == shown.observation_space.shape == (101,)
    assert (int(jnp.argmax(first)), int(jnp.argmax(after)), float(after.sum())) == (0, 2, 1.0)
    with pytest.raises(UserError, match="observation_space: Box.* given; must be Discrete"):
        OneHot(OBSERVED_RING)


@pytest.mark.slow
def test_everything_is_written_and_finite(eta, tmp_path):
    loaded = Loaded(plugin, RULE, eta, PRESETS["smoke"], (), {}, (), {})
    found = inspect(loaded, tmp_path / "new", SIZE)
    paths = {path.name: path for path in found.files}
    assert set(paths) == {"reach.png", "inspection.csv", "bootstrap.png", "bootstrap.csv"}
    for path in paths.values():
        assert path.suffix != ".png" or matplotlib.image.imread(path).std() > 0.05
    with open(paths["inspection.csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    steps = PRESETS["smoke"].rollout_steps
    assert len(rows) == 2 * 4 * 3 * steps
    near = [float(row["moved"]) for row in rows if row["distance"] == "0"]
    assert len(near) == 2 * 4 * 3 and np.isfinite(near).all() and max(np.abs(near)) > 0
    with open(paths["bootstrap.csv"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["variant"] for row in rows] == ["as it is", "y cut", "z cut", "q cut", "y and z and q cut"]
    assert np.isfinite([float(row["score"]) for row in rows]).all()
    assert "bootstrap" in found.verdict[0] and "on chains of " in found.verdict[0] and len(found.verdict) == 3
