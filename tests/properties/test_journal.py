"""Whatever a journal was told comes back bit for bit: snapshots, rows and the memory of every stage."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.journal.samples import FRAMES
from tidegate.journal.sql import checkpoint, writer
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import FLEETS_CACHED, Reader
from tidegate.journal.sql.writer import opened
from tidegate.model.outcome import nothing_confirmed
from tidegate.model.roster import CARD, one_unbounded_server
from tidegate.model.tick import Tick
from tidegate.plan.difference import difference
from tidegate.testing import forecast_of
from tidegate.testing.random_fleets import random_plan
from tidegate.testing.story import IDS, Story

seeds = st.integers(0, 2**32 - 1)
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where files are fast, where there is such a folder."""
ANCHOR_TICKS = 5
"""Few, so that a short story holds several."""
ODD_BITS = np.array([0x7FC00001, 0xFFC00000, 0x80000000, 0x00000001], np.uint32).view(np.float32)
"""NaNs with a payload and a sign, -0.0 and the smallest number."""


@pytest.fixture(scope="module")
def template():
    """An empty journal to copy: making one takes longer than the rest of an example."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        path = Path(folder) / "empty.db"
        with opened(location(str(path)), {}):
            pass
        yield path


@contextmanager
def written(template, ticks, *, states=None):
    """Write ticks, handing in a state whenever one is wanted; lend a reader and what was handed in."""
    handed = []
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder, pytest.MonkeyPatch.context() as patched:
        patched.setattr(writer, "ANCHOR_TICKS", ANCHOR_TICKS)
        patched.setattr(writer, "CHECKPOINT_TICKS", 4)
        patched.setattr(writer, "SAVING_TICKS", 3)
        patched.setattr(checkpoint, "SLICE_BYTES", 64)
        where = location(str(shutil.copy(template, Path(folder) / "j.db")))
        with opened(where, {}) as journal:
            for tick in ticks:
                journal.append(tick)
                if states is not None and journal.wants_checkpoint:
                    handed.append((tick.number, next(states)))
                    journal.checkpoint(*handed[-1])
        reader = Reader.of(where)
        yield reader, handed
        reader.close()


def told(seed, count):
    """A fleet's ticks: it grows, shrinks, is reordered, resized and renamed, gets cards and loses them."""
    rng, story = np.random.default_rng(seed), Story(seed=seed)
    places = {False: one_unbounded_server(len(story.resources)), True: story.places()}
    ids, size, cards, renamed, before = (1, 2, 3), 1.0, False, False, None
    for number in range(count):
        if rng.random() < 0.15:
            ids = tuple(int(at) for at in rng.permutation(IDS)[: rng.integers(0, IDS + 1)])
        size = float(rng.choice([size] * 6 + [1.0, 2.0]))
        cards, renamed = cards ^ (rng.random() < 0.1), renamed ^ (rng.random() < 0.05)
        made = story.snapshot(number, ids, size=size, cards=cards, renamed=renamed, silent=rng.random() < 0.1)
        made = replace(made, places=places[cards])
        if before is not None and before.roster is made.roster and before.places is made.places:
            made = replace(made, **sparse_changes(rng, before, made))
        before = made
        yield tick_of(number, made)


def sparse_changes(rng, before, made):
    """Frames as they were but for a few entries, which are odd as often as not."""
    shares = {"grant": before.grant.copy(), "in_flight": before.in_flight.copy(), "used": made.used.copy()}
    for values in shares.values():
        at = rng.random(values.shape) < rng.choice([0.0, 0.05, 0.5])
        values[at] = rng.choice(ODD_BITS if rng.random() < 0.5 else made.used.reshape(-1)[:1], at.sum())
    shares["grant"][CARD][:, made.card < 0] = 0
    shares["host"] = before.host if rng.random() < 0.5 else made.host[::-1].copy()
    return shares


def tick_of(number, snapshot):

    with np.errstate(invalid="ignore"):
        plan = random_plan(number, snapshot)
        actions = difference(plan, snapshot)
    return Tick(
        number=number,
        snapshot=snapshot,
        forecast=forecast_of(snapshot, snapshot.capacity),
        scores=None,
        planned=plan,
        plan=plan,
        actions=actions,
        outcome=nothing_confirmed(),
        stage_seconds={},
    )


def bits_of(values):
    return values.dtype.str, values.shape, values.tobytes()


def require_same(got, wanted):
    for name in FRAMES:
        assert bits_of(getattr(got, name)) == bits_of(getattr(wanted, name)), name
    assert got.resources == wanted.resources
    assert (got.time_seconds, got.step_seconds) == (wanted.time_seconds, wanted.step_seconds)
    for part in ("roster", "places"):
        for field in fields(getattr(wanted, part)):
            left, right = (getattr(getattr(found, part), field.name) for found in (got, wanted))
            same = bits_of(left) == bits_of(right) if isinstance(right, np.ndarray) else left == tuple(right)
            assert same, field.name


@settings(max_examples=15)
@given(seed=seeds, count=st.integers(1, 16), data=st.data())
def test_any_story_of_a_fleet_comes_back_from_any_tick_on(template, seed, count, data):
    ticks = list(told(seed, count))
    first = data.draw(st.integers(0, count - 1))
    last = data.draw(st.integers(first, count))
    with written(template, ticks) as (reader, _):
        found = list(reader.snapshots(first, last))
        assert [number for number, _ in found] == list(range(first, min(last + 1, count)))
        for number, snapshot in found:
            require_same(snapshot, ticks[number].snapshot)
        for number, time_seconds, fleet_id, used in reader.used(first, last):
            assert bits_of(used) == bits_of(ticks[number].snapshot.used)
            assert time_seconds == ticks[number].snapshot.time_seconds
            assert reader.fleet(fleet_id) is reader.fleet_of(number)
        frames = reader.frames(first, ("grant", "host", "capacity"))
        wanted = ticks[first].snapshot
        for name, values in frames.items():
            assert bits_of(values) == bits_of(getattr(wanted, name)), name


@settings(max_examples=15)
@given(seed=seeds, count=st.integers(1, 16))
def test_the_last_row_of_every_series_is_found_as_by_keeping_book(template, seed, count):
    ticks, book, books = list(told(seed, count)), {}, []
    with written(template, ticks) as (reader, _):
        for tick, changes in zip(ticks, reader.changes(0, count), strict=True):
            ids = tick.snapshot.roster.ids
            assert changes.number == tick.number
            for row in zip(changes.rows["resource"], changes.rows["workload"], strict=True):
                book[int(row[0]), int(ids[row[1]])] = tick.number
            book = {series: number for series, number in book.items() if series[1] in ids}
            books.append(
                [[book.get((r, int(i)), -1) for i in ids] for r in range(len(tick.snapshot.resources))]
            )
        for number, wanted in enumerate(books):
            assert reader.last_rows(number).tolist() == wanted


@settings(max_examples=6)
@given(seed=seeds, count=st.integers(1, 12), offset=st.integers(-400, 5000))
def test_a_time_is_of_the_last_tick_at_or_before_it(template, seed, count, offset):
    ticks = list(told(seed, count))
    at = ticks[0].snapshot.time_seconds + offset
    wanted = [tick.number for tick in ticks if tick.snapshot.time_seconds <= at]
    with written(template, ticks) as (reader, _):
        if wanted:
            assert reader.number_at(at) == wanted[-1]
        else:
            with pytest.raises(Exception, match="no tick that old"):
                reader.number_at(at)
        span = reader.span()
        assert (span.first, span.last) == (0, count - 1)
        assert (span.first_seconds, span.last_seconds) == tuple(
            ticks[end].snapshot.time_seconds for end in (0, -1)
        )


@settings(max_examples=6)
@given(seed=seeds, count=st.integers(12, 30))
def test_few_fleets_are_remembered_and_each_is_one_object_while_it_is(template, seed, count):
    with written(template, list(told(seed, count))) as (reader, _):
        for number in range(count):
            assert reader.fleet_of(number) is reader.fleet_of(number)
            assert len(reader._fleets) <= FLEETS_CACHED


def states(seed):
    """The memory of three stages over time: parts stay, parts move, arrays come, go and grow."""
    rng = np.random.default_rng(seed)
    state = {}
    while True:
        for name in ("forecaster.ring", "forecaster.now", "planner.dwell", "learner.table"):
            if name not in state or rng.random() < 0.3:
                shape = tuple(int(size) for size in rng.integers(0, 12, int(rng.integers(0, 4))))
                kind = np.dtype(rng.choice(["<f4", "<f2", "<i8", "u1"]))
                drawn = rng.bytes(int(np.prod(shape)) * kind.itemsize)
                state[name] = np.frombuffer(drawn, kind).reshape(shape).copy()
            elif state[name].size:
                state[name] = state[name].copy()
                state[name].reshape(-1)[rng.integers(state[name].size)] = 0
        if rng.random() < 0.2:
            state.pop("learner.table")
        yield dict(state)


@settings(max_examples=15)
@given(seed=seeds, count=st.integers(1, 30))
def test_the_last_whole_checkpoint_is_what_was_handed_in_after_its_tick(template, seed, count):
    with written(template, list(told(seed, count)), states=states(seed)) as (reader, handed):
        manifest = reader.checkpoint()
        if manifest is None:
            assert count <= 4
            return
        assert manifest.number >= count - 9  # begun every 4 ticks, written in 3
        wanted = dict(handed)[manifest.number]
        for under in ("", "forecaster.", "learner.", "nobody."):
            got = reader.state(manifest, under)
            mine = {name for name in got if name.startswith("journal.")}
            assert got.keys() - mine == {name for name in wanted if name.startswith(under)}
            for name in got.keys() - mine:
                assert bits_of(got[name]) == bits_of(wanted[name])


@settings(max_examples=6)
@given(seed=seeds, count=st.integers(8, 24), cut=st.integers(1, 23))
def test_a_journal_that_was_restored_goes_on_as_if_it_had_never_stopped(template, seed, count, cut):
    ticks = list(told(seed, count))
    cut = min(cut, count - 1)
    with written(template, ticks) as (straight, _), tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        where = location(str(shutil.copy(template, Path(folder) / "j.db")))
        with opened(where, {}) as journal:
            journal.checkpoint(-1, {})
            for tick in ticks[:cut]:
                journal.append(tick)
        reader = Reader.of(where)
        state = reader.state(reader.checkpoint())
        with opened(where, {}) as journal:
            journal.restore(state)
            for tick, stored in zip(ticks[:cut], reader.changes(0, cut - 1), strict=True):
                journal.again(tick, stored)
            for tick in ticks[cut:]:
                journal.append(tick)
        for number in range(count):
            assert reader.last_rows(number).tolist() == straight.last_rows(number).tolist()
        for (_, got), tick in zip(reader.snapshots(0, count), ticks, strict=True):
            require_same(got, tick.snapshot)
        reader.close()
