"""What an agent does at several ages: episodes, film, sheet; and the pictures that are drawn of bodies."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from metaobj.common.environments.adapters.gymnax_pictures import PICTURES
from metaobj.common.environments.drawing import ORANGE, font
from metaobj.common.environments.mechanics import WIDTH, cart_and_pole, hanging, hill, plane
from metaobj.common.errors import UserError
from metaobj.common.evaluation import watch
from metaobj.common.objectives.watched import Watching, watch_method
from tests.quick import quick_programs

TINY = Watching("A2C", "tests.worlds:LESSON", ages=(0.0, 0.5, 1.0), steps=80 * 320, set=("learning_rate=20",))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[tuple[watch.Episode, ...], Path]]:
    folder = tmp_path_factory.mktemp("watch")
    with quick_programs(folder / "programs"):
        yield watch_method(TINY, folder / "out", Console(quiet=True)), folder / "out"


@pytest.mark.slow
def test_the_agent_is_older_each_time(seen: tuple[tuple[watch.Episode, ...], Path]) -> None:
    episodes, _ = seen
    assert [episode.env_steps for episode in episodes] == [0, 12_800, 25_600]
    for episode in episodes:
        assert 1 <= episode.length <= 5  # the world's limit
        assert episode.at == (*range(episode.length + 1),) and len(episode.frames) == episode.length + 1
    # The right action pays 1 on every step, and by then it is known.
    assert episodes[-1].total == episodes[-1].length
    assert any((one != episodes[-1].frames[0]).any() for one in episodes[-1].frames[1:])


def test_a_film_and_a_sheet_are_left(seen: tuple[tuple[watch.Episode, ...], Path]) -> None:
    episodes, folder = seen
    with Image.open(folder / "watch.gif") as film:
        assert 1 < film.n_frames <= sum(len(episode.frames) + 1 for episode in episodes)
        longest = "after 25 600 steps (100% of its life): return 5 in 5 steps"
        assert film.width >= font(13).getlength(longest), "the first picture is as wide as the widest line needs"
    with Image.open(folder / "watch.png") as sheet:
        height, width = np.max([frame.shape[:2] for episode in episodes for frame in episode.frames], axis=0)
        assert sheet.width > watch.COLUMNS * width and sheet.height > len(episodes) * height
        assert np.asarray(sheet).std() > 0


def test_long_episodes_are_thinned() -> None:
    for length in (1, 2, 149, 150, 1000):
        shown = watch._shown(length)
        assert len(shown) <= watch.MAX_FRAMES and shown[0] == 0 and shown[-1] == length
        assert list(shown) == sorted(set(shown))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ages": (0.5, 0.2)}, "ages: 0.5 0.2 given; must be one or more numbers from 0 to 1, rising"),
        ({"ages": ()}, "ages: nothing given"),
        ({"ages": (2.0,)}, "ages: 2.0 given"),
        ({"seed": -1}, "seed: -1 given"),
        ({"environment": "control"}, "environment: control given; is a suite of 3 tasks, one is needed"),
        ({"environment": "nowhere"}, "environment: 'nowhere' is unknown"),
        ({"set": ("colour=3",)}, "set: 'colour' given; A2C has learning_rate"),
        ({"steps": 1}, "steps: 1 given; one update on"),
    ],
)
def test_what_cannot_be_watched_is_told(changes: dict, says: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=says):
        watch_method(replace(TINY, **changes), tmp_path / "out", Console(quiet=True))
    assert not (tmp_path / "out").exists()


def test_bodies_are_drawn_where_they_are() -> None:
    pairs = [
        (cart_and_pole(-1.0, 0.1, 1.0, 2.4), cart_and_pole(1.0, 0.1, 1.0, 2.4)),
        (hanging((0.0, 0.0), (1.0, 1.0), 1.0), hanging((0.0, 1.0), (1.0, 1.0), 1.0)),
        (hill(-0.5, -1.2, 0.6, 0.5), hill(0.3, -1.2, 0.6, 0.5)),
        (plane((0.5, 0.0), (0.0, 0.0), 2.0), plane((0.0, 0.5), (0.0, 0.0), 2.0)),
    ]
    for before, after in pairs:
        assert before.shape == after.shape and before.shape[1:] == (WIDTH, 3) and before.dtype == np.uint8
        assert (before != after).any() and before.std() > 0
    # A cart that goes right is further right in the picture, and the pole with it.
    columns = [np.flatnonzero((picture == ORANGE).all(-1).any(0)).mean() for picture in pairs[0]]
    assert columns[1] > columns[0] + 50


def test_a_caught_ball_covers_the_paddle() -> None:
    state = SimpleNamespace(ball_x=2, ball_y=3, paddle_x=2, paddle_y=9)
    apart = PICTURES["Catch-bsuite"](state, None)
    caught = PICTURES["Catch-bsuite"](SimpleNamespace(**{**vars(state), "ball_y": 9}), None)
    colours = [{tuple(pixel) for pixel in picture.reshape(-1, 3).tolist()} for picture in (apart, caught)]
    assert len(colours[0]) == len(colours[1]) + 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "environment"), [("DDPG", "Pendulum-v1"), ("PPO", "CartPole-v1"), ("STAC", "Catch-bsuite")]
)
def test_agents_that_live_another_way(method: str, environment: str, tmp_path: Path) -> None:
    with quick_programs(tmp_path / "programs"):
        watching = Watching(method, environment, ages=(0.0, 1.0), steps=6400)
        episodes = watch_method(watching, tmp_path / "out", Console(quiet=True))
    assert episodes[0].env_steps < episodes[1].env_steps and (tmp_path / "out" / "watch.gif").stat().st_size > 1000


@pytest.mark.slow
def test_a_body_of_brax_is_drawn() -> None:
    pytest.importorskip("brax")
    from metaobj.common.environments.registry import make_environment
    from metaobj.common.environments.viewer import render

    environment, spec = make_environment("brax/hopper")
    params = environment.sample_params(jax.random.key(0), spec)  # type: ignore[attr-defined]  # it varies
    _, state = jax.jit(environment.reset)(jax.random.key(0), params)
    picture = render(environment, state, params)
    moved = jax.tree.map(jnp.asarray, state)
    place = moved.pipeline.x.replace(pos=moved.pipeline.x.pos + jnp.array([0.0, 0.0, 0.5]))
    raised = render(environment, moved.replace(pipeline=moved.pipeline.replace(x=place)), params)
    rows = [np.flatnonzero((one != 255).any(-1).any(1)).min() for one in (picture, raised)]
    assert rows[1] < rows[0] - 20, "what is higher is drawn higher"
