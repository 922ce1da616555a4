"""What is remembered stays what it was: columns follow their workload, journals give back what they took."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.journal.changes import Change, Changes, decoded, encoded
from tidegate.journal.memory import MemoryJournal
from tidegate.model.columns import Column, Columns
from tidegate.model.errors import TidegateError
from tidegate.model.forecast import Drift, Drifts
from tidegate.model.outcome import Outcome
from tidegate.model.roster import realigned, source_rows
from tidegate.model.snapshot import in_server_units
from tidegate.model.tick import Tick
from tidegate.plan.difference import difference
from tidegate.testing import forecast_of, roster_of, snapshot_of
from tidegate.testing.random_fleets import random_plan, random_snapshot

seeds = st.integers(0, 2**32 - 1)
identities = st.lists(st.integers(0, 40), unique=True, max_size=12)


def tick_of(seed):
    snapshot = random_snapshot(seed)
    plan = random_plan(seed, snapshot, migrating=True)
    actions = difference(plan, snapshot)
    rng = np.random.default_rng(seed)
    outcome = Outcome(
        workload_id=actions.workload_id,
        resource_row=actions.resource_row,
        share=actions.share,
        phase=rng.integers(0, 5, len(actions)).astype(np.uint8),
        amount_read_back=actions.amount_to,
    )
    return Tick(
        number=seed,
        snapshot=snapshot,
        forecast=forecast_of(snapshot, snapshot.capacity),
        scores=None,
        planned=plan,
        plan=plan,
        actions=actions,
        outcome=outcome,
        stage_seconds={},
    )


@given(seed=seeds)
def test_the_changes_of_a_tick_come_back_as_they_were(seed):
    tick = tick_of(seed)
    found = Changes().follow(tick)
    back = decoded(encoded(found))
    assert (back.number, back.time_seconds) == (tick.number, tick.snapshot.time_seconds)
    assert back.resources == tuple(int(resource) for resource in tick.snapshot.resources)
    assert back.models == tick.forecast.models
    for part in ("rows", "outcomes"):
        wanted, got = getattr(found, part), getattr(back, part)
        assert wanted.keys() == got.keys()
        for name, values in wanted.items():
            assert got[name].dtype == values.dtype
            np.testing.assert_array_equal(got[name], values)


@given(seed=seeds)
def test_every_series_that_was_asked_to_change_has_a_row_that_says_to_what(seed):
    tick = tick_of(seed)
    rows = Changes().follow(tick).rows
    at = {
        (int(r), int(w)): row
        for row, (r, w) in enumerate(zip(rows["resource"], rows["workload"], strict=True))
    }
    for resource, workload, share, amount in zip(
        tick.actions.resource_row,
        tick.actions.workload,
        tick.actions.share,
        tick.actions.amount_to,
        strict=True,
    ):
        row = at[int(resource), int(workload)]
        assert rows["what"][row] & Change.ASKED
        assert rows[("host", "card")[share]][row] == amount


@given(seed=seeds)
def test_every_series_that_was_seen_to_have_changed_has_a_row_that_says_what_and_when(seed):
    tick, rng = tick_of(seed), np.random.default_rng(seed)
    shape = tick.snapshot.used.shape
    noticed = rng.random(shape) < 0.5
    drift = Drifts(
        kind=np.where(noticed, np.uint8(Drift.SEASON), np.uint8(Drift.NONE)),
        age_seconds=rng.integers(0, 10**6, shape).astype(np.float32),
        noticed=noticed,
    )
    tick = replace(tick, forecast=replace(tick.forecast, drift=drift))
    changes = Changes()
    changes.follow(tick)
    rows = decoded(encoded(changes.follow(tick))).rows  # the second time nothing else is new
    at = rows["resource"], rows["workload"]
    known = ~np.isnan(in_server_units(tick.planned.wanted, tick.snapshot))
    told = np.zeros(shape, dtype=np.bool_)
    told[at] = rows["what"] & Change.DRIFTED > 0
    assert (told == (noticed & known)).all()
    assert (rows["drift"] == drift.kind[at]).all()
    assert (rows["drift_seconds"] == drift.age_seconds[at]).all()


@given(seed=seeds, at=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_a_damaged_blob_is_said_to_be_damaged(seed, at, flip):
    found = Changes().follow(tick_of(seed))
    blob = bytearray(encoded(found))
    blob[int(at * len(blob))] ^= flip
    try:
        back = decoded(bytes(blob))
    except TidegateError as error:
        assert "restore it from a backup" in str(error) or "upgrade" in str(error)  # noqa: PT017
    else:
        assert encoded(back) == encoded(found)  # the bit that was flipped meant nothing


@given(seed=seeds, number=st.integers(1, 12), bytes_max=st.integers(0, 5000))
def test_a_journal_keeps_the_newest_that_fit_and_at_least_one(seed, number, bytes_max):
    journal, tick = MemoryJournal(bytes_max), tick_of(seed)
    for at in range(number):
        journal.append(replace(tick, number=at))
    kept = [tick.number for tick in journal]
    assert kept == list(range(number - len(journal), number))
    assert journal.bytes_kept <= bytes_max or len(journal) == 1


@given(old=identities, new=identities)
def test_rows_follow_their_identifier(old, new):
    rows = source_rows(np.array(old, dtype=np.int64), np.array(new, dtype=np.int64))
    assert rows.tolist() == [old.index(identity) if identity in old else -1 for identity in new]
    column = np.array([[float(identity) for identity in old]])
    moved = realigned(column, rows, -7.0)
    assert moved.tolist() == [[float(identity) if identity in old else -7.0 for identity in new]]


@given(fleets=st.lists(identities, min_size=1, max_size=6))
def test_columns_remember_as_a_dictionary_would(fleets):
    columns = Columns(
        last=Column(dtype=np.float32, fill=-1.0), ring=Column(dtype=np.int64, fill=0, leading=(3,))
    )
    remembered = {}
    for tick, ids in enumerate(fleets):
        snapshot = snapshot_of(np.zeros((2, len(ids))), roster=roster_of(len(ids), resources=2, ids=ids))
        columns.follow(snapshot)
        remembered = {identity: remembered.get(identity, -1.0) for identity in ids}
        assert columns["last"].tolist() == [[remembered[identity] for identity in ids]] * 2
        assert columns["ring"].shape == (3, 2, len(ids))
        columns["last"] = np.full((2, len(ids)), float(tick), dtype=np.float32)
        columns["ring"][tick % 3] += 1
        remembered = dict.fromkeys(ids, float(tick))
    other = Columns(
        last=Column(dtype=np.float32, fill=-1.0), ring=Column(dtype=np.int64, fill=0, leading=(3,))
    )
    other.restore(columns.state())
    for name, array in columns.state().items():
        np.testing.assert_array_equal(other.state()[name], array)


def test_a_column_refuses_another_shape():
    columns = Columns(last=Column(dtype=np.float32, fill=0.0))
    columns.follow(snapshot_of([1.0, 2.0]))
    with pytest.raises(ValueError, match="has shape"):
        columns["last"] = np.zeros((1, 3), dtype=np.float32)
