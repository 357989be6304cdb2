"""The notebooks of the pages run from their first cell to their last, without a kernel."""

import json
from pathlib import Path
from typing import Any

import matplotlib
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "docs" / "notebooks").glob("*.ipynb"))


def cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def run(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    for cell in cells(path):
        exec(compile("".join(cell["source"]), path.name, "exec"), scope)
    plt.close("all")
    assert not list(tmp_path.iterdir())
    return scope


def test_there_are_notebooks_and_they_show_what_they_came_to() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["agent", "compare", "train"]
    for path in NOTEBOOKS:
        shown = [output for cell in cells(path) for output in cell["outputs"]]
        assert any("image/png" in output.get("data", {}) for output in shown)
        assert not [output for output in shown if output["output_type"] == "error" or output.get("name") == "stderr"]
        assert "/home/" not in path.read_text() and "/root/" not in path.read_text()


def test_an_agent_learns(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scope = run(NOTEBOOKS[0], monkeypatch, tmp_path)
    assert sum(scope["rewards"][-10:]) / 10 > 0.09


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS[1:], ids=lambda path: path.stem)
def test_the_others(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scope = run(path, monkeypatch, tmp_path)
    assert len(scope["evaluation"].curves) >= 2
