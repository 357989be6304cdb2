"""What the demonstration compares, without training anything."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from metaobj.common.command import demo as module
from metaobj.common.command.demo import DemoArguments, demo, time_left
from metaobj.common.objectives.compare import Comparison
from metaobj.common.objectives.plugin import Inspection, get_plugin, plugins
from metaobj.common.objectives.train import Outcome


@pytest.mark.parametrize("kind", ["lpg", "metagenrl"])
def test_it_shows_what_was_trained_and_where_there_is_one_what_ships(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = Inspection((tmp_path / "rollout.png",), ("one line",))
    plugin = replace(get_plugin(kind), inspect=lambda loaded, folder: shown)
    own = tmp_path / "run" / "objective.safetensors"
    compared: list[tuple[Comparison, Path]] = []
    monkeypatch.setattr(module, "meta_train", lambda *given, **more: Outcome(True, 1, own))
    monkeypatch.setattr(module, "compare", lambda comparison, folder, console: compared.append((comparison, folder)))
    monkeypatch.setattr(module, "load_objective", lambda name: None)
    monkeypatch.setattr(module, "get_plugin", lambda name: plugin)
    console = Console(file=io.StringIO(), width=200, record=True)
    demo(DemoArguments(kind, tmp_path / "run", seed=3), console)
    (first, folder), *others = compared
    baseline = plugin.baselines(plugin.presets[plugin.default_preset])[0].name
    assert first.names == (str(own), baseline) and first.suite == plugin.suite and first.seed == 3
    assert folder == tmp_path / "run" / "evaluation"
    assert [(c.names, c.suite, c.seed) for c, _ in others] == (
        [] if plugin.elsewhere is None else [((plugin.elsewhere[0], baseline), plugin.elsewhere[1], 3)]
    )
    told = console.export_text()
    assert "one line" in told and ("another kind of task" in told) == bool(others)
    assert bool(others) == (kind == "lpg")
    parts = 4 if others else 3
    assert [f"{number} of {parts}: " in told for number in range(1, 6)] == [number <= parts for number in range(1, 6)]
    assert ("about 5 min in all" in told) == (kind == "lpg")


@pytest.mark.parametrize("kind", plugins())
def test_how_long_it_takes_is_known_of_every_part_or_of_none(kind: str) -> None:
    plugin = get_plugin(kind)
    assert len(plugin.demo_seconds) in (0, 3 + (plugin.elsewhere is not None))


@pytest.mark.parametrize(
    ("done", "seconds", "says"),
    [(0, 0.0, ", about 90 s in all"), (1, 40.0, ", about 2 min left"), (2, 100.0, ", about 80 s left")],
)
def test_a_slower_machine_takes_longer_for_the_rest_too(done: int, seconds: float, says: str) -> None:
    assert time_left((20.0, 30.0, 40.0), done, seconds) == says
    assert time_left((), done, seconds) == ""
