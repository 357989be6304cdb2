"""`metaobj show`: cards, and what a file says by itself."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.cards import CARDS, SHARED, write
from metaobj.common.command.arguments import with_configuration
from metaobj.common.command.cli import main
from metaobj.common.command.options import RunArguments
from metaobj.common.command.showing import facts, train_command
from metaobj.common.objectives import file
from metaobj.common.objectives.loading import load_objective
from metaobj.common.objectives.plugin import get_plugin, plugins
from metaobj.common.objectives.provenance import origin

FIXTURES = Path(__file__).parent / "fixtures"


def shown(capsys: pytest.CaptureFixture[str], name: str) -> str:
    with pytest.raises(SystemExit) as left:
        main(["show", name])
    out, err = capsys.readouterr()
    assert left.value.code == 0 and not err
    return out


def saved(path: Path, **metadata: Any) -> Path:
    """A file like one that ships, with other metadata."""
    arrays, own = file.load("pretrained:lpg-tabular")
    del own["card"]
    file.save(path, file.unflatten(arrays), {**own, **metadata})
    return path


@pytest.mark.parametrize("name", file.pretrained_names())
def test_what_ships_has_a_card(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, metadata = file.load(f"pretrained:{name}")
    card = metadata["card"]
    assert {"title", "trained_on", "licence"} <= set(card)
    out = " ".join(shown(capsys, f"pretrained:{name}").split())
    assert all(" ".join(str(text).split()) in out for text in card.values())
    if name in CARDS:
        assert card == {**SHARED, **CARDS[name]}
        assert {"command", "seed", "hardware", "date", "steps", "results"} <= set(card)


def test_a_card_is_all_that_is_written(tmp_path: Path) -> None:
    for name in CARDS:
        arrays, metadata = file.load(f"pretrained:{name}")
        del metadata["card"]
        file.save(tmp_path / f"{name}.safetensors", file.unflatten(arrays), metadata)
    write(tmp_path)
    shipped = Path(file.__file__).parent / "pretrained"
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (shipped / path.name).read_bytes()
    before, after = (file.load(folder / "lpg-tabular.safetensors")[0] for folder in (FIXTURES, tmp_path))
    assert before.keys() == after.keys() and all(np.array_equal(before[name], after[name]) for name in before)


def test_a_file_without_a_card_tells_what_it_knows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chain = {"name": "runs/b", "digest": "b" * 64, "meta_updates": 7, "init": {"name": "pretrained:x"}}
    extended = [{"at": 5, "from": 5, "to": 8, "date": "2026-01-03"}, 3]
    provenance = {"date": "2026-01-02", "hardware": "an abacus", "versions": "metaobj 0", "init": chain}
    provenance["extended"] = extended
    out = " ".join(shown(capsys, str(saved(tmp_path / "a.safetensors", provenance=provenance))).split())
    assert (
        "command metaobj train lpg --preset lpg-tabular seed 0 steps 1600 meta-updates, 221 184 000 environment" in out
    )
    assert (
        f"starts from runs/b (7 meta-updates, digest {'b' * 16}) <- pretrained:x extended at step 5 from 5 to 8 meta-"
        in out
    )
    assert "updates (2026-01-03), 3 date 2026-01-02" in out
    assert "hardware an abacus" in out and "32 x grid/small_layouts" in out and "5450 weights" in out


def test_a_strangers_card_moves_no_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = {"title": "\x1b[31mred\x07", "results": ["[bold]", 3], "more\x1b[2J": "x" * 5000}
    out = shown(capsys, str(saved(tmp_path / "a.safetensors", card=card, provenance=[1])))
    assert "\x1b" not in out and "\x07" not in out and "['[bold]', 3]" in out and out.count("x") < 2100
    assert "LPG" in shown(capsys, str(saved(tmp_path / "b.safetensors", card=3, provenance={"init": 3, "extended": 1})))


def test_an_older_file_that_names_what_it_started_from(tmp_path: Path) -> None:
    """Versions before there was provenance wrote the name alone."""
    _, metadata = file.load("pretrained:lpg-tabular")
    path = saved(tmp_path / "a.safetensors", configuration={**metadata["configuration"], "init": "runs/old"})
    assert facts(load_objective(path))["starts_from"] == "runs/old"
    assert origin(str(path), "lpg")["init"] == {"name": "runs/old"}


def resolved(command: str) -> Any:
    _, _, kind, *words = shlex.split(command)
    plugin = get_plugin(kind)
    preset = words[1] if words[:1] == ["--preset"] else plugin.default_preset
    return with_configuration(RunArguments(), plugin.presets[preset], words, f"train {kind}")[1]


@pytest.mark.parametrize("kind", plugins())
def test_the_command_makes_the_configuration(kind: str) -> None:
    plugin = get_plugin(kind)
    for config in plugin.presets.values():
        changed = replace(
            config,
            seed=3,
            family_adam=not config.lifetime_adam,
            sampler=replace(config.sampler, bonus=0.5),
            selection="a b",
            learning_rate=1e-7,
        )
        for wanted in (config, changed):
            command = train_command(plugin, wanted)
            assert resolved(command) == wanted, command


def test_the_command_of_other_types_of_fields() -> None:
    plugin = get_plugin("lpg")
    config = plugin.presets["lpg-tabular"]
    changed = replace(
        config,
        kl_weights=(0.25, 1.0),
        value=replace(config.value, lambda_=0.5),
        meta_loss=replace(config.meta_loss, use_value=False),
    )
    command = train_command(plugin, changed)
    assert command.startswith("metaobj train lpg --preset lpg-tabular --")
    assert {"--value.lambda_", "--kl-weights", "--meta-loss.no-use-value"} <= set(command.split())
    assert resolved(command) == changed
