"""`tidegate bench live` measures what it says: its checks pass on what is sound, and fail on what is not."""

from __future__ import annotations

import os

import pytest

from tidegate.app import resume
from tidegate.journal.sql.writer import SqlJournal
from tidegate.lab.bench.live import cost, explained, kills, throttling
from tidegate.lab.bench.load import LoadCgroup
from tidegate.model.errors import InputError

# Python 3.12 on warns whoever forks beside threads; the tests' runner has some.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


def quiet(_what, _done, _of):
    pass


def killed(tmp_path, monkeypatch, *, points, seed, patience_seconds=1.0):
    """Kill a loop until so many restarts were checked; return the figures by name."""
    monkeypatch.setattr(kills, "POINTS", points)
    monkeypatch.setattr(kills, "LIVES_MAX", 2 * points)
    monkeypatch.setattr(kills, "PATIENCE_SECONDS", patience_seconds)
    monkeypatch.setattr(kills, "LIFE_SECONDS_MAX", 0.2)
    rows = kills.kill_rows(tmp_path / "kills", seed=seed, progress=quiet)
    return {row.name: row for row in rows}


@pytest.mark.parametrize("seed", [1, 2])
def test_a_loop_that_is_killed_at_any_point_goes_on_consistently(tmp_path, monkeypatch, seed):
    found = killed(tmp_path, monkeypatch, points=6, seed=seed, patience_seconds=20.0)
    assert found["killed_points_consistent"].value == 6
    assert found["killed_points_consistent"].holds is True
    assert found["killed_ticks_journalled"].value > 6


def test_a_loop_that_forgets_what_came_after_its_checkpoint_is_found_out(tmp_path, monkeypatch, capfd):
    def forget(loop, _journal, _reader, numbers):
        loop.number = numbers.stop

    monkeypatch.setattr(resume, "_see_again", forget)
    found = killed(tmp_path, monkeypatch, points=6, seed=3)
    assert found["killed_points_consistent"].value < 6
    assert found["killed_points_consistent"].holds is False
    capfd.readouterr()


def test_a_journal_that_loses_a_tick_is_found_out(tmp_path, monkeypatch, capfd):
    append = SqlJournal.append

    def sometimes(self, tick):
        if tick.number % 4 != 2:
            append(self, tick)

    monkeypatch.setattr(SqlJournal, "append", sometimes)
    found = killed(tmp_path, monkeypatch, points=3, seed=4)
    assert found["killed_points_consistent"].value < 3
    assert found["killed_points_consistent"].holds is False
    capfd.readouterr()


def test_a_world_that_was_asked_and_did_not_do_it_is_found_out(tmp_path, monkeypatch, capfd):
    submit = kills._World.submit

    def half(self, actions):
        before = self.grant.copy()
        submit(self, actions)
        self.grant[..., ::2] = before[..., ::2]

    monkeypatch.setattr(kills._World, "submit", half)
    found = killed(tmp_path, monkeypatch, points=3, seed=5)
    assert found["killed_points_consistent"].holds is False
    capfd.readouterr()


def test_the_cost_of_journal_and_league_is_a_share_of_the_tick(tmp_path, monkeypatch):
    for name, value in (("WORKLOADS", 60), ("WARM_TICKS", 2), ("JOURNAL_TICKS", 5), ("SHADOW_TICKS", 4)):
        monkeypatch.setattr(cost, name, value)
    rows = [
        *cost.journal_rows(tmp_path / "cost.db", seed=1, progress=quiet),
        *cost.shadow_rows(seed=1, progress=quiet),
    ]
    found = {row.name: row.value for row in rows}
    assert 0 < found["journal_share_of_tick"] < 1
    assert 0 < found["shadow_share_of_tick"] < 1
    assert found["journal_rows_per_tick"] <= 60 * 3
    assert found["journal_bytes_per_row"] > 0


def test_an_explanation_is_timed_on_a_journal_that_was_written(tmp_path, monkeypatch):
    for name, value in (("WORKLOADS", 40), ("TICKS", 130), ("QUESTIONS", 12)):
        monkeypatch.setattr(explained, name, value)
    found = {
        row.name: row.value for row in explained.explain_rows(tmp_path / "day.db", seed=1, progress=quiet)
    }
    assert 0 < found["explain_seconds_p50"] <= found["explain_seconds_p99"]
    assert found["journal_bytes_per_day"] > 10_000


def test_where_no_cgroup_can_be_made_there_is_no_real_load_and_it_is_told(tmp_path, monkeypatch):
    def refuse(_self, _name, **_options):
        raise InputError("no cgroups here; use root")

    said = []
    monkeypatch.setattr(LoadCgroup, "__init__", refuse)
    rows = throttling.throttling_rows(tmp_path, seed=1, progress=lambda what, _done, _of: said.append(what))
    assert rows == []
    assert said == ["no real load: no cgroups here; use root"]


@pytest.mark.root
def test_a_real_load_is_measured_and_its_owners_settings_are_given_back(tmp_path, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("needs root to make cgroups: run the tests as root")
    try:
        LoadCgroup(f"tidegate-live-{os.getpid()}").remove()
    except InputError as error:
        pytest.skip(f"no cgroup can be made here: {error}")
    made = LoadCgroup.__init__
    monkeypatch.setattr(
        LoadCgroup, "__init__", lambda self, name, **options: made(self, f"{name}-{os.getpid()}", **options)
    )
    for name, value in (
        ("PERIOD_SECONDS", 3),
        ("BURST_SECONDS", 1),
        ("CYCLES_SEEN", 1),
        ("CYCLES_COUNTED", 1),
    ):
        monkeypatch.setattr(throttling, name, value)
    rows = throttling.throttling_rows(tmp_path, seed=1, progress=quiet)
    found = {row.name: row.value for row in rows}
    assert found["settings_given_back_ratio"] == 1.0
    assert found["throttled_seconds_tidegate"] >= 0
