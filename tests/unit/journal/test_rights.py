"""Whose forecast won or lost the right to act is told by name, and counted where it is many."""

from __future__ import annotations

import numpy as np
import pytest

from tidegate.journal.changes import Change, TickChanges
from tidegate.journal.sql.rights import NAMED_MAX, events_of


def changes(what, skill=0.25, coverage=0.993):
    what = np.array(what, dtype=np.uint8)
    return TickChanges(
        number=3,
        time_seconds=900,
        expires_seconds=1200,
        resources=(0, 1),
        levels=(0.99,),
        models=("recent_peak", "network"),
        rows={
            "what": what,
            "workload": np.arange(what.size, dtype=np.uint32),
            "resource": np.zeros(what.size, dtype=np.uint8),
            "model": np.where(what & Change.ACTS, 1, 0).astype(np.uint8),
            "skill": np.full(what.size, skill, dtype=np.float16),
            "coverage": np.full(what.size, coverage, dtype=np.float16),
        },
        outcomes={},
    )


def names(count):
    return [f"vm{number}" for number in range(count)]


def test_a_tick_in_which_no_right_changed_has_no_event():
    assert events_of(changes([Change.ASKED, Change.FIRST | Change.ADVICE]), names(2)) == []


def test_each_that_turned_is_named_with_its_record():
    found = changes([Change.ASKED, Change.GAINED | Change.ACTS, Change.LOST])
    gained, lost = events_of(found, names(3))
    assert (gained["workload"], lost["workload"]) == ("vm1", "vm2")
    assert gained["sentence"] == (
        "its cpu forecast (network) gained the right to act: 25% better than the plain baseline, "
        "covered 99.3% of the peaks"
    )
    assert lost["sentence"] == "its cpu forecast lost the right to act; recent_peak decides, with its margin"


def test_an_unknown_record_is_left_out():
    (gained,) = events_of(changes([Change.GAINED | Change.ACTS], np.nan, np.nan), names(1))
    assert gained["sentence"] == "its cpu forecast (network) gained the right to act"


@pytest.mark.parametrize("count", [NAMED_MAX + 1, 500])
def test_many_at_once_are_counted(count):
    what = [Change.GAINED | Change.ACTS] * (count - 5) + [Change.LOST] * 5
    (row,) = events_of(changes(what), names(count))
    assert row["workload"] is None
    assert row["sentence"] == f"{count - 5} forecasts gained the right to act and 5 lost it"
