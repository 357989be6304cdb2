"""What `make test-lowest` installs."""

import re

import pytest

from tests.lowest import PROJECT, lowest, of_the_project


def test_the_lower_bound_of_each() -> None:
    given = ["jax>=0.10,<0.12", "jax[cuda12]>=0.10,<0.12", "brax==0.14.2", "tensorboardX>=2.6.2.2", "six >= 1.16"]
    assert lowest(given) == ["jax==0.10", "brax==0.14.2", "tensorboardX==2.6.2.2", "six==1.16"]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["jax"], "jax: has no lower bound"),
        (["jax<0.12"], "jax<0.12: has no lower bound"),
        (["jax>=0.10", "jax[cuda12]>=0.11"], r"jax\[cuda12\]>=0.11: 0.10 is the lower bound elsewhere"),
    ],
)
def test_what_has_none(given: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        lowest(given)


def test_every_requirement_of_the_project_has_one() -> None:
    found = of_the_project()
    assert {"numpy", "jax", "gymnasium", "pytest"} <= {one.partition("==")[0] for one in found}
    assert all(
        re.search(rf'"{name}(\[\w+\])?[>=]={version}', PROJECT.read_text()) for name, version in map(_cut, found)
    )


def _cut(constraint: str) -> tuple[str, str]:
    name, _, version = constraint.partition("==")
    return re.escape(name), re.escape(version)
