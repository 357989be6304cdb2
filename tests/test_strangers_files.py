"""Files that strangers made: whatever is in them, loading one ends in an objective or in one line, and runs nothing."""

import copy
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

import metaobj
import metaobj.lpg
import metaobj.metagenrl
from metaobj.common.agents.agent import AgentConfig
from metaobj.common.command.cli import main
from metaobj.common.errors import UserError
from metaobj.common.objectives import contestants, plugin
from metaobj.common.objectives import file as objective_file
from metaobj.common.objectives.loading import load_objective

FILES = [Path(__file__).parent / "fixtures" / f"{name}.safetensors" for name in ("lpg-tabular", "metagenrl-demo")]
TRIES = 300
SEED = 0
HOSTILE = "hostile_module_of_the_tests"
VALUES: list[Any] = [
    *(None, True, -1, 0, 1, 0.5, 1e308, -1e308, 10**30, -(10**30), 2**31, 2**63, "", "x", "\u0000", "lpg", "metagenrl"),
    *([], [[]], [None], {}, {"a": 1}, [1, 2, 3], ["x"], [1e308], {"policy": []}, f"{HOSTILE}:x"),
]
NAMES = ["", "/", "a//b", "phi", "lstm", "lstm/kernel/deeper", "../../x", "a" * 3000, "__class__", "\u00e4"]


def places(tree: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """All paths in JSON data."""
    inner: list[tuple[Any, ...]] = []
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, value in items:
        inner += places(value, (*path, name))
    return [path, *inner]


def change_metadata(rng: random.Random, metadata: dict[str, Any]) -> Any:
    *way, last = rng.choice([place for place in places(metadata) if place])
    parent: Any = metadata
    for step in way:
        parent = parent[step]
    match rng.randrange(4):
        case 0:
            del parent[last]
        case 1 if isinstance(parent, dict):
            parent[rng.choice(NAMES)] = rng.choice(VALUES)
        case 2:
            parent[last] = [parent[last]]
        case _:
            parent[last] = copy.deepcopy(rng.choice(VALUES))
    return metadata


def change_arrays(rng: random.Random, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    name = rng.choice(sorted(arrays))
    array = arrays[name]
    match rng.randrange(6):
        case 0:
            del arrays[name]
        case 1:
            arrays[rng.choice(NAMES)] = array
        case 2:
            types = (bool, np.int8, np.int32, np.int64, np.uint64, np.float16, np.float64, np.complex64)
            with np.errstate(all="ignore"):
                arrays[name] = array.astype(rng.choice(types))
        case 3:
            shapes = [(array.size,), (*array.shape, 1), (1, *array.shape), array.shape[::-1]]
            arrays[name] = np.ascontiguousarray(array.reshape(rng.choice(shapes)))
        case 4 if array.size:
            array = array.astype(np.float32)
            array.flat[rng.randrange(array.size)] = rng.choice([np.nan, np.inf, -np.inf])
            arrays[name] = array
        case _:
            arrays[name] = np.zeros((0, *array.shape[1:]), array.dtype)
    return arrays


def change_bytes(rng: random.Random, content: bytes) -> bytes:
    header = 8 + int.from_bytes(content[:8], "little")
    at = rng.randrange(rng.choice([8, header, len(content)]))
    match rng.randrange(4):
        case 0:
            return content[:at]
        case 1:
            return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
        case 2:
            return content[:at] + rng.randbytes(rng.randrange(1, 20)) + content[at:]
        case _:
            return content[:8] + b"[" * (header - 8) + content[header:]


def mutated(rng: random.Random, source: Path, path: Path) -> str:
    """Write a changed copy, whose digest is right where the change is not to its bytes: what was changed."""
    arrays, metadata = objective_file.load(source)
    kind = rng.choice(["metadata", "metadata", "arrays", "bytes"])
    if kind == "bytes":
        path.write_bytes(change_bytes(rng, source.read_bytes()))
        return kind
    arrays, metadata = dict(arrays), copy.deepcopy(metadata)
    for _ in range(rng.choice([1, 1, 2, 5])):
        if kind == "metadata":
            metadata = change_metadata(rng, metadata)
        else:
            arrays = change_arrays(rng, arrays)
            if not arrays:
                break
    metadata["digest"] = objective_file._digest(arrays, metadata)
    text = json.dumps(metadata, sort_keys=True, separators=(",", ":"))
    try:
        path.write_bytes(safetensors.numpy.save(arrays, metadata={"metaobj": text}))
    except Exception:  # what cannot be written is no file
        path.write_bytes(b"")
    return kind


def outcome(load: Callable[[], Any]) -> str:
    """How a call ended; anything but an objective or one line is raised on."""
    try:
        load()
    except UserError as error:
        assert "\n" not in str(error) and 10 < len(str(error)) < 4000, str(error)[:300]
        return "refused"
    return "loaded"


def test_whatever_is_in_a_file_ends_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / f"{HOSTILE}.py").write_text("raise SystemExit('a file was run')")
    monkeypatch.chdir(tmp_path)
    found_once = plugin.plugins()
    monkeypatch.setattr(plugin, "plugins", lambda: found_once)  # looking for them takes most of the time
    rng = random.Random(SEED)
    path = tmp_path / "stranger.safetensors"
    found: Counter[tuple[str, str]] = Counter()
    for _ in range(TRIES):
        kind = mutated(rng, rng.choice(FILES), path)
        ended = outcome(lambda: load_objective(path))
        found[kind, ended] += 1
        of_kind = outcome(lambda: metaobj.lpg.load(path)), outcome(lambda: metaobj.metagenrl.load(path))
        assert ended == "loaded" or set(of_kind) == {"refused"}
        assert outcome(lambda: metaobj.load(path)) == ended
        if ended == "loaded":  # what comes next in an evaluation
            loaded = load_objective(path)
            contestants.learned(loaded).settings(AgentConfig())
            outcome(lambda loaded=loaded: contestants.tuning_entries(loaded.environments(), AgentConfig(), 100))
    assert HOSTILE not in sys.modules
    assert all(found[kind, "refused"] > 20 for kind in ("metadata", "arrays", "bytes")), found
    assert found["metadata", "loaded"] > 5, found  # some changes are harmless
    assert found["arrays", "loaded"] < 12, found  # float64 is


def rewritten(
    path: Path, change: Callable[[dict[str, Any], dict[str, np.ndarray]], None], source: Path = FILES[0]
) -> Path:
    arrays, metadata = objective_file.load(source)
    arrays = dict(arrays)
    change(metadata, arrays)
    metadata["digest"] = objective_file._digest(arrays, metadata)
    path.write_bytes(safetensors.numpy.save(arrays, metadata={"metaobj": json.dumps(metadata)}))
    return path


def nan(metadata: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    array = arrays["lstm/bias"].copy()
    array[3] = np.nan
    arrays["lstm/bias"] = array


def half(metadata: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    arrays["lstm/bias"] = arrays["lstm/bias"].astype(np.float16)


def lost(metadata: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    del arrays["lstm/bias"]


def more(metadata: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    arrays["lstm/more"] = arrays["lstm/bias"]


def flat(metadata: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    arrays["lstm/bias"] = arrays["lstm/bias"][None]


def numbered(metadata: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    metadata["objective"]["network"]["units"] = 32.0


def named(metadata: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    for entry in metadata["entries"]:
        entry["environment"] = f"{HOSTILE}:x"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (nan, "its array lstm/bias holds 1 numbers that are not finite"),
        (half, "its array lstm/bias is of float16; must be float32 or float64"),
        (lost, "its array lstm/bias is missing"),
        (more, "its array lstm/more does not fit the objective"),
        (flat, r"the shape of its array lstm/bias is \[1, 128\]; must be \[128\]"),
        (numbered, "network: units: 32.0 found; must be int"),
    ],
)
def test_what_is_wrong_is_named(change: Callable[..., None], says: str, tmp_path: Path) -> None:
    path = rewritten(tmp_path / "x.safetensors", change)
    for load in (load_objective, metaobj.load, metaobj.lpg.load):
        with pytest.raises(UserError, match=says):
            load(path)


@pytest.mark.parametrize("command", ["evaluate", "inspect"])
def test_a_module_that_a_file_names_is_not_imported(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{HOSTILE}.py").write_text("open('was-run', 'w').close()")
    monkeypatch.chdir(tmp_path)
    path = rewritten(tmp_path / "x.safetensors", named, FILES[1])
    with pytest.raises(SystemExit) as left:
        main([command, str(path)])
    assert left.value.code == 2 and not (tmp_path / "was-run").exists()
    assert "which would be imported; pass --trust if you know what it does" in capfd.readouterr().err
    with pytest.raises(SystemExit) as left:
        main([command, str(path), "--trust"])
    assert left.value.code == 2 and (tmp_path / "was-run").exists()
    assert f"{HOSTILE}:x' cannot be imported: AttributeError" in capfd.readouterr().err
    sys.modules.pop(HOSTILE)


@pytest.mark.parametrize(
    ("field", "worlds"), [("distribution", f"small-mix+{HOSTILE}:x"), ("selection", f"{HOSTILE}:x")]
)
def test_a_module_that_a_run_folder_names_is_not_imported(
    field: str, worlds: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{HOSTILE}.py").write_text("open('was-run', 'w').close()")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    record = {"format_version": 1, "package_version": "0", "config": {field: worlds}}
    (tmp_path / "run" / "config.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit) as left:
        main(["train", "lpg", "--run-dir", "run", "--resume"])
    assert left.value.code == 2 and not (tmp_path / "was-run").exists()
    told = capfd.readouterr().err
    assert f"pass --{field} {worlds} too if you know what it does" in told
    with pytest.raises(SystemExit) as left:
        main(["train", "lpg", "--run-dir", "run", "--resume", f"--{field}", worlds])
    assert left.value.code == 2 and (tmp_path / "was-run").exists()
    sys.modules.pop(HOSTILE)
