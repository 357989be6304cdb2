"""The page of a run."""

import json
from pathlib import Path

from PIL import Image

from metaobj.common.objectives.run_page import write_run_page
from tests.evaluation.pages import Parsed as parse


def folder(path: Path) -> Path:
    config = {"meta_updates": 20, "distribution": "small-layouts", "seed": 3, "nested": {"units": 8}}
    provenance = {"date": "2026-01-02", "hardware": "an abacus", "init": None}
    (path / "config.json").write_text(json.dumps({"config": config, "provenance": provenance}))
    rows = [{"step": at, "reward": 0.25, "environment_steps": 1e6 * at, "seconds": 7.0 * at} for at in (5, 10)]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Image.new("RGB", (4, 4)).save(path / "training.png")
    (path / "evaluation-<b>control").mkdir()
    (path / "evaluation-<b>control" / "report.html").write_text("")
    (path / "inspection").mkdir()
    Image.new("RGB", (4, 4)).save(path / "inspection" / "reach.png")
    return path


def test_it_tells_what_the_folder_holds(tmp_path: Path) -> None:
    written = write_run_page(folder(tmp_path))
    assert written == tmp_path / "run.html"
    page = parse(written.read_text())
    text = " ".join(page.text.split())
    assert "10 of 20 meta-updates on small-layouts: 1e+07 environment steps in 70 s." in text
    assert "an abacus" in text and '"units": 8' in text
    links = [link["href"] for link in page.all("a") if not link["href"].startswith("#")]
    assert links == ["evaluation-<b>control/report.html", "inspection/reach.png"]
    (image,) = page.all("img")
    assert image["src"].startswith("data:image/png;base64,")
    assert not page.all("script")


def test_what_is_no_run_has_no_page(tmp_path: Path) -> None:
    assert write_run_page(tmp_path) is None
    (tmp_path / "config.json").write_text("[]")
    (tmp_path / "metrics.jsonl").write_text("")
    assert write_run_page(tmp_path) is None
    assert not (tmp_path / "run.html").exists()


def test_a_run_without_a_log_has_one(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"config": {"meta_updates": 2, "distribution": "x"}}))
    (tmp_path / "metrics.jsonl").write_text("")
    written = write_run_page(tmp_path)
    assert written is not None and "Nothing is logged yet of 2 meta-updates" in written.read_text()
