"""The benchmark of presets at growing numbers of lifetimes: its cases, and that it goes on where it was."""

from pathlib import Path

import pytest

from experiments.benchmarks.scale import CASES, COLUMNS, Arguments, parsed, table, waiting
from experiments.rows import add, read
from metaobj.common.errors import UserError
from metaobj.common.objectives.plugin import plugins


def test_cases_name_presets() -> None:
    presets = {preset for plugin in plugins().values() for preset in plugin.presets}
    assert {parsed(case)[0] for case in CASES} <= presets
    assert parsed("lpg-paper@64:highest") == ("lpg-paper", 64, "highest")


@pytest.mark.parametrize("case", ["lpg-paper", "lpg-paper@0", "lpg-paper@few", "lpg-paper@4:low"])
def test_what_is_no_case_is_told(case: str) -> None:
    with pytest.raises(UserError, match="must be PRESET@SCALE"):
        parsed(case)


def test_what_is_measured_is_not_measured_again(tmp_path: Path) -> None:
    arguments = Arguments(("smoke@1", "smoke@2", "smoke@1:highest"), out=tmp_path / "scale.csv")
    assert list(waiting(arguments)) == list(arguments.cases)
    row = dict.fromkeys(COLUMNS, 1.0) | {"case": "smoke@1", "precision": "default"}
    add(arguments.out, COLUMNS, row)
    assert list(waiting(arguments)) == ["smoke@2", "smoke@1:highest"]
    assert table(read(arguments.out)).row_count == 1
