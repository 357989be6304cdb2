"""What scripts of experiments have in common."""

from pathlib import Path

import pytest

from experiments.script import run_script
from metaobj.common.errors import UserError

ROOT = Path(__file__).parents[1]
OF_OTHER_CODE = {"before.py", "disco_public.py"}
"""Run with other code than this project's, which knows no `UserError` of ours."""
SCRIPTS = [path for path in sorted((ROOT / "experiments").rglob("*.py")) if "__main__" in path.read_text()]


@pytest.mark.parametrize("path", SCRIPTS, ids=[str(path.relative_to(ROOT)) for path in SCRIPTS])
def test_every_script_ends_in_one_line(path: Path) -> None:
    assert ("run_script(" in path.read_text().partition('__name__ == "__main__"')[2]) != (path.name in OF_OTHER_CODE)


def test_a_users_error_is_one_line() -> None:
    def main() -> None:
        raise UserError("out: / given; is a folder")

    with pytest.raises(SystemExit, match=r"^error: out: / given; is a folder$"):
        run_script(main)
