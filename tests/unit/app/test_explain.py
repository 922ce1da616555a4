"""An explanation says what was decided, why, and what came of it: every number of a known story."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from tidegate.app.drift_shown import drifted
from tidegate.app.explain import events_near, explain
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.model.errors import InputError, TidegateError

START = 1_704_067_200


@pytest.fixture
def reader(story):
    reader = Reader.of(location(str(story)))
    yield reader
    reader.close()


def told(reader, workload, at=None):
    return explain(reader, workload, None if at is None else START + 300 * (at + 1))


def test_the_last_decision_is_told_with_what_guards_left_of_it(reader):
    cpu, memory = told(reader, "web-1")
    made = cpu.decided
    assert (cpu.resource, cpu.tick, cpu.used, cpu.host_share) == ("cpu", 4, None, 2.5)
    assert (made.tick, made.held, made.wanted, made.allowed) == (1, 2.0, 3.0, 2.5)
    assert made.guard == "guard: at most one pace step per tick"
    assert (made.reason_name, made.right_to_act, made.forecast_acts) == ("GROW_ON_FORECAST", "gained", True)
    assert [(round(q.level, 3), q.amount) for q in made.forecast] == [(0.5, 2.0), (0.99, 3.0)]
    assert made.without_forecast == pytest.approx(2.2)
    assert (made.drift.kind, made.drift.since_seconds) == ("level", START)
    assert memory.decided.drift is None
    assert (memory.decided.tick, memory.decided.guard) == (0, None)


def test_a_sample_at_the_grant_ran_short_and_a_missing_one_does_not_count(reader):
    came = told(reader, "web-1")[0].came
    assert (came.samples, came.ran_short) == (2, 1)
    assert came.highest_used == pytest.approx(2.4999)
    assert came.outcomes == ("applied at the host: 2.5 read back",)
    assert [(end.phase, end.share, end.amount) for end in came.ended] == [("applied", "host", 2.5)]


def test_an_earlier_time_knows_nothing_of_what_came_later(reader):
    first, later = told(reader, "web-1", at=0)[0], told(reader, "web-1", at=1)[0]
    assert (first.decided.tick, first.decided.forecast_acts, first.came.samples) == (0, False, 0)
    assert (later.decided.tick, later.came.samples, later.came.ended) == (1, 0, ())
    assert first.league == ()


def test_where_the_safe_baseline_acts_every_level_is_its_amount(reader):
    made = told(reader, "web-2")[0].decided
    assert {quantile.amount for quantile in made.forecast} == {2.0}
    assert not made.forecast_acts


def test_the_league_stands_beside_it(reader):
    league = told(reader, "web-2")[0].league
    assert [(standing.policy, standing.day) for standing in league] == [
        ("tidegate", "today"),
        ("vpa", "today"),
    ]
    assert [standing.reserved_ratio for standing in league] == [0.5, 1.0]
    assert [standing.violation_ratio for standing in league] == [0.0, 1.0]


def test_events_are_of_the_workload_or_of_all_and_near(reader):
    near = events_near(reader, "web-1", START + 1500)
    said = [event.sentence for event in near if event.kind == "note"]
    assert said == ["somebody [bold]restarted[/bold] it", "everything was looked at"]
    assert {event.workload for event in near} == {"web-1", None}
    assert events_near(reader, "web-1", START + 5 * 86_400) == []


def test_of_a_simulated_fleet_every_explanation_agrees_with_its_samples(lived):
    reader = Reader.of(location(str(lived)))
    span = reader.span()
    names = reader.fleet_of(span.last).roster.names
    for number in (span.first, span.last // 2, span.last):
        ((_, seconds, _, used),) = reader.used(number, number)
        for row, name in enumerate(names):
            for resource, one in enumerate(explain(reader, name, seconds)):
                assert one.used == pytest.approx(float(used[resource, row]))
                assert one.decided.tick <= number
                assert one.came.samples <= number - one.decided.tick
                assert one.came.ran_short <= one.came.samples
                assert one.host_share >= one.floor * (1 - 1e-6)
    reader.close()


def test_a_name_that_is_nearly_right_is_suggested(reader):
    with pytest.raises(InputError, match="did you mean web-"):
        told(reader, "web-3")
    with pytest.raises(InputError, match="no tick that old"):
        explain(reader, "web-1", START - 1)


@pytest.fixture
def pruned(story, tmp_path):
    """A function that returns a reader of the story after some SQL."""
    readers = []

    def after(statement):
        path = tmp_path / "pruned.db"
        with closing(sqlite3.connect(story)) as whole, closing(sqlite3.connect(path)) as copy:
            whole.backup(copy)
            copy.execute(statement)
            copy.commit()
        readers.append(Reader.of(location(str(path))))
        return readers[-1]

    yield after
    for reader in readers:
        reader.close()


def test_a_decision_older_than_the_samples_kept_is_still_told(reader, pruned):
    whole = told(reader, "web-1")[0]
    left = told(pruned("UPDATE ticks SET samples = NULL WHERE number < 3"), "web-1")[0]
    assert left.decided == whole.decided
    assert (whole.came.samples, left.came.samples) == (2, 1)


def test_a_decision_no_longer_kept_is_none_and_the_rest_still_told(pruned):
    cpu, _ = told(pruned("DELETE FROM ticks WHERE number < 3"), "web-1")
    assert (cpu.decided, cpu.came, cpu.host_share) == (None, None, 2.5)


def test_a_time_whose_samples_are_gone_is_refused_in_a_sentence(pruned):
    with pytest.raises(TidegateError, match="no longer kept; ask for a later time"):
        told(pruned("UPDATE ticks SET samples = NULL WHERE number < 3"), "web-1", at=1)


def test_a_journal_from_before_changes_were_noted_knows_of_none():
    assert drifted({"used": 1.0}, START) is None
