"""Pictures for papers: beside the PNG, the same bytes whenever they are drawn."""

from pathlib import Path
from typing import Any, get_args

import pytest

from metaobj.common.command.arguments import parse
from metaobj.common.command.options import (
    CompareArguments,
    EvaluateArguments,
    FollowArguments,
    InspectArguments,
    MatrixArguments,
    RunArguments,
)
from metaobj.common.errors import UserError
from metaobj.common.pictures.forms import Form, asked, figures_as
from metaobj.common.pictures.style import new_figure, remove_figure, save_figure, set_title

BEGINS = {"svg": b"<?xml", "pdf": b"%PDF"}


def draw(path: Path, form: Form) -> bytes:
    """A picture, with an axis, a line, words and pixels; the bytes of the form that is asked for."""
    figure = new_figure(3.0, 2.0)
    panel = figure.subplots()
    panel.plot([0, 1, 2], [1, 3, 2])
    panel.imshow([[0.0, 1.0]], extent=(0, 1, 1, 2))
    set_title(figure, "A title", "and how it was made")
    with figures_as(form):
        save_figure(figure, path)
    return path.with_suffix(f".{form}").read_bytes()


@pytest.mark.parametrize("form", BEGINS)
def test_beside_the_png_and_without_a_date(form: Form, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = draw(tmp_path / "a.png", form)
    assert drawn.startswith(BEGINS[form])
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", f"a.{form}"}
    assert (tmp_path / "a.png").read_bytes() == draw(tmp_path / "b.png", "png")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1")  # what is dated would be of 1970 now
    assert draw(tmp_path / "c.png", form) == drawn


def test_words_are_in_fonts_that_publishers_take(tmp_path: Path) -> None:
    drawn = draw(tmp_path / "a.png", "pdf")
    assert b"/TrueType" in drawn or b"/CIDFontType2" in drawn
    assert b"/Type3" not in drawn


def test_no_picture_of_one_name_tells_something_else(tmp_path: Path) -> None:
    draw(tmp_path / "a.png", "svg")
    draw(tmp_path / "a.png", "pdf")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "a.pdf"}
    draw(tmp_path / "a.png", "png")
    assert {path.name for path in tmp_path.iterdir()} == {"a.png"}
    draw(tmp_path / "a.png", "pdf")
    remove_figure(tmp_path / "a.png")
    assert not list(tmp_path.iterdir())


def test_a_name_with_a_dot_keeps_it(tmp_path: Path) -> None:
    draw(tmp_path / "CartPole-v1.2.png", "svg")
    assert {path.name for path in tmp_path.iterdir()} == {"CartPole-v1.2.png", "CartPole-v1.2.svg"}


def test_it_ends_with_the_context() -> None:
    with pytest.raises(KeyError), figures_as("svg"):
        assert asked() == "svg"
        raise KeyError
    assert asked() == "png"
    with pytest.raises(UserError, match=f"figures: 'eps' given; choose from {', '.join(get_args(Form))}"):
        figures_as("eps").__enter__()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "needed"),
    [
        (RunArguments, []),
        (EvaluateArguments, ["run"]),
        (CompareArguments, ["run"]),
        (MatrixArguments, []),
        (InspectArguments, ["run"]),
        (FollowArguments, ["A2C", "--environment", "CartPole-v1"]),
    ],
)
def test_every_command_that_draws_takes_it(kind: Any, needed: list[str]) -> None:
    assert parse(kind, needed, "command").figures == "png"
    assert parse(kind, [*needed, "--figures", "svg"], "command").figures == "svg"
    with pytest.raises(UserError, match="figures: 'eps' given; choose from"):
        parse(kind, [*needed, "--figures", "eps"], "command")
