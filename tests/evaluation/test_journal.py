"""What an evaluation tells while it goes on."""

import pytest

from metaobj.common.evaluation import journal as module
from metaobj.common.evaluation.journal import Journal


def test_time_left_follows_the_work_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    said: list[str] = []
    shown: list[str] = []
    journal = Journal(work=100.0, say=said.append, live=shown.append)

    def cell(label: str, work: float, seconds: float) -> None:
        journal.begin(label)
        now[0] += seconds
        journal.end(label, work, stored=False)

    cell("a", 20.0, 10.0)
    journal.end("b", 20.0, stored=True)
    cell("c", 30.0, 15.0)
    journal.more(20.0)  # an edge is followed: 50 are left
    cell("d", 20.0, 10.0)
    cell("e", 30.0, 15.0)
    assert said == [
        "a: 10 s, about 40 s left",
        "b: stored before",
        "c: 15 s, about 15 s left",
        "d: 10 s, about 15 s left",
        "e: 15 s",
    ]
    assert shown == ["a", "c, about 30 s left", "d, about 25 s left", "e, about 15 s left"]
