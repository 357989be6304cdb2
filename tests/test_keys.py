"""Where keys come from: no two purposes have one in common, and no key is taken apart in two ways."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from metaobj.common.agents.settings import AgentSettings
from metaobj.common.agents.value_function import ValueConfig
from metaobj.common.environments.registry import make_environment
from metaobj.common.evaluation.baselines import a2c, ddpg
from metaobj.common.evaluation.method import Method
from metaobj.common.evaluation.protocol import Contestant, EvaluationProtocol, Trials, evaluate, tune
from metaobj.common.keys import Purpose, stream
from metaobj.common.lifetimes.distributions import Entry
from metaobj.common.objectives.loading import load_objective
from metaobj.lpg.inspection_data import Size, look_at_ages, make_setup
from metaobj.metagenrl import inspection as metagenrl_inspection
from tests.test_meta_step import make_trainer

pytestmark = pytest.mark.usefixtures("quick_compilation")
Key = tuple[int, ...]


@dataclass
class Noted:
    """What was derived while `noting` was open."""

    keys: set[Key] = field(default_factory=set)
    ways: dict[Key, set[tuple[Any, ...]]] = field(default_factory=lambda: defaultdict(set))
    """How each key was taken apart; the streams of `keys.stream` are left out."""


@contextmanager
def noting(noted: Noted) -> Iterator[None]:
    """While it is open, every key that `split` and `fold_in` give is noted, those within compiled programs too."""
    split, fold_in = jax.random.split, jax.random.fold_in

    def note_split(parent: np.ndarray, children: np.ndarray) -> None:
        children = children.reshape(-1, children.shape[-1])
        noted.keys.update(map(tuple, children.tolist()))
        noted.ways[tuple(parent.tolist())].add(("split", len(children)))

    def note_fold(parent: np.ndarray, number: np.ndarray, child: np.ndarray) -> None:
        noted.keys.add(tuple(child.tolist()))
        if int(number) < 2**31:
            noted.ways[tuple(parent.tolist())].add(("fold_in",))

    def noting_split(key: jax.Array, num: Any = 2) -> jax.Array:
        keys = split(key, num)
        jax.debug.callback(note_split, jax.random.key_data(key), jax.random.key_data(keys))
        return keys

    def noting_fold(key: jax.Array, data: Any) -> jax.Array:
        child = fold_in(key, data)
        number = jnp.asarray(data, jnp.uint32)
        jax.debug.callback(note_fold, jax.random.key_data(key), number, jax.random.key_data(child))
        return child

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jax.random, "split", noting_split)
        patch.setattr(jax.random, "fold_in", noting_fold)
        yield
        jax.effects_barrier()
    jax.clear_caches()


AGENT = AgentSettings(
    hidden=(4,), replay_steps=40, random_steps=20, windows=2, window_steps=5, test_environments=2, critic_updates=1
)
METHODS: Sequence[tuple[Method, Entry]] = (
    (a2c(4, 0.9, ValueConfig()), Entry("tests.worlds:RING", 1, 2, 4)),
    (ddpg(2, 0.9, AGENT, (1e-3,)), Entry("tests.worlds_continuous:POINT", 1, 2, 4)),
)
OTHER = {"tests.worlds:RING": "tests.worlds:PAIR", "tests.worlds_continuous:POINT": "tests.worlds_continuous:LINE"}
PROTOCOL = EvaluationProtocol(seeds=2, tuning_seeds=2, bins=2)


def training() -> None:
    trainer = make_trainer()
    jax.jit(trainer.step)(trainer.init())


def tuning(method: Method, entry: Entry) -> None:
    one = {name: values[:1] for name, values in method.grid(entry.agent).items()}
    few = replace(method, grid=lambda agent: one)
    other = replace(entry, environment=OTHER[entry.environment], updates=2)
    tune(Trials(PROTOCOL), Contestant(method.name, (few,)), [entry, other])


def evaluation(method: Method, entry: Entry) -> None:
    settings = {entry.environment: method.settings(entry.agent)[0]}
    evaluate(Trials(PROTOCOL), Contestant(method.name, (method,)), [entry], settings)


def inspection_of_lpg() -> None:
    loaded = load_objective("pretrained:lpg-tabular")
    size = Size(agents=2, updates=3, rollouts=2)
    look_at_ages(loaded.objective, loaded.eta, make_setup(loaded, size), size, stream(0, "inspection"))


def inspection_of_metagenrl() -> None:
    loaded = load_objective("pretrained:metagenrl-demo")
    small = replace(loaded, config=replace(loaded.config, agent=AGENT))
    key = jax.random.split(stream(0, "inspection"), 3)[2]
    metagenrl_inspection.follow(small, metagenrl_inspection.Size(agents=1, updates=2), key)


PARTS: list[tuple[Purpose, Callable[[], None]]] = [
    ("training", training),
    *(("tuning", partial(tuning, *method)) for method in METHODS),
    *(("evaluation", partial(evaluation, *method)) for method in METHODS),
    ("inspection", inspection_of_lpg),
    ("inspection", inspection_of_metagenrl),
]


@pytest.mark.slow
def test_no_two_purposes_have_a_key_in_common() -> None:
    """All with seed 0. What tests of agents draw is among the keys of evaluation and tuning; methods that are compared
    share keys, so that they share worlds.
    """
    for name in ("RING", "PAIR"):  # looked at once, with keys of nobody's
        make_environment(f"tests.worlds:{name}")
    make_environment("tests.worlds_continuous:POINT")
    keys: dict[Purpose, set[Key]] = defaultdict(set)
    for purpose, do in PARTS:
        noted = Noted()
        with noting(noted):
            do()
        assert len(noted.keys) > 50
        twice = [ways for ways in noted.ways.values() if len(ways) > 1]
        assert not twice, f"{purpose}: {len(twice)} keys are taken apart in more than one way, as {twice[0]}"
        keys[purpose] |= noted.keys
    for one, other in itertools.combinations(keys, 2):
        assert not keys[one] & keys[other], (one, other)


@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_streams_are_apart_from_each_other_and_from_what_a_key_is_split_into(seed: int) -> None:
    of_seed = {purpose: np.asarray(jax.random.key_data(stream(seed, purpose))) for purpose in get_args(Purpose)}
    assert len({tuple(data) for data in of_seed.values()}) == len(of_seed)
    for number in (2, 3, 64, 4096):
        parts = np.asarray(jax.random.key_data(jax.random.split(jax.random.key(seed), number)))
        assert not any((parts == data).all(-1).any() for data in of_seed.values())


def test_an_agents_test_uses_no_key_of_its_own_steps() -> None:
    """A lifetime splits its key for each of them."""
    key = jax.random.key(7)
    tested = np.asarray(jax.random.key_data(stream(key, "test")))
    own = [np.asarray(jax.random.key_data(jax.random.split(key, n))) for n in (2, 3, 4, 8, 64)]
    assert not any((keys == tested).all(-1).any() for keys in own)
    assert not (np.asarray(jax.random.key_data(key)) == tested).all()


def test_the_hazard_is_real() -> None:
    """Why there are streams: a key that is folded with a small number is one of those that it is split into."""
    key = jax.random.key(3)
    folded, parts = jax.random.fold_in(key, 1), jax.random.split(key, 5)
    assert (jax.random.key_data(folded) == jax.random.key_data(parts[1])).all()
