"""`tidegate profile`: the week as a picture, and as a sentence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tidegate.app.profile_shown import longest_run, peak_of
from tidegate.cli.heat import BLOCKS, UNSEEN, heat_map, step_of
from tidegate.cli.main import run


def found(path, journal, *arguments):
    assert run(["profile", *arguments, "--journal", str(journal), "--json", str(path)]) == 0
    return json.loads(path.read_text("utf-8"))


def test_people_read_a_sentence_below_the_picture(story, capsys):
    assert run(["profile", "web-1", "--journal", str(story)]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "Peaks on weekdays around 20:15 at 3.10 cores, quiet before 14:45" in text
    assert "peaks on weekends around 11:00 at 3.10 cores, quiet from 16:45 to 05:30." in text
    assert "hours are UTC" in text
    assert "Sat peak 11:00 at 3.10 cores, lowest 0.50" in text


def test_a_time_zone_turns_the_hours(story, capsys):
    assert run(["profile", "web-1", "--journal", str(story), "--timezone", "Asia/Kathmandu"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    # 20:15 UTC is 02:00 of the next day, five hours and three quarters ahead.
    assert "Wed peak 02:00 at 3.10 cores" in text
    assert "hours are Asia/Kathmandu" in text


def test_too_little_seen_is_said_and_what_is_unknown_drawn_as_such(story, capsys):
    assert run(["profile", "db-1", "--journal", str(story)]) == 0
    text = capsys.readouterr().out
    assert "Still profiling: 1d seen of at least 2d" in text
    assert f"Sun {UNSEEN * 24}" in text
    assert "Sun  not seen yet" in text


def test_machines_read_the_week_in_base_units(story, tmp_path):
    whole = found(tmp_path / "x.json", story, "web-1", "--resource", "cpu,memory")
    assert list(whole) == ["workload", "journal", "at", "resources"]
    cpu, memory = whole["resources"]
    assert (len(cpu["week"]), {len(day) for day in cpu["week"]}) == (7, {96})
    assert cpu["week"][0][81] == pytest.approx(3.1, rel=0.01)
    assert cpu["week"][5][44] == pytest.approx(3.1, rel=0.01)
    assert (cpu["profiling"], cpu["each_day_its_own"], cpu["seen_seconds"]) == (False, False, 8 * 86_400)
    assert memory["unit"] == "bytes"


def test_a_young_simulated_fleet_is_still_profiling(lived, tmp_path):
    (cpu,) = found(tmp_path / "x.json", lived, "app-1")["resources"]
    assert cpu["profiling"]
    assert any(amount is not None for amount in cpu["week"][0])


@pytest.mark.parametrize(("width", "cells"), [(200, 96), (100, 96), (99, 48), (60, 48), (51, 24), (20, 24)])
def test_the_picture_is_as_fine_as_the_terminal_is_wide(width, cells):
    week = [[float(slot) for slot in range(96)]] * 7
    hours, *days = [line.plain for line in heat_map(week, width)]
    assert {len(day) for day in days} == {cells + 4}
    assert len(hours) <= cells + 4
    assert hours.index("12") == 4 + cells // 2
    for day in days:
        heights = [BLOCKS.index(block) for block in day[4:]]
        assert heights == sorted(heights)
        assert (heights[0], heights[-1]) == (0, len(BLOCKS) - 1)


def test_a_cell_of_several_slots_shows_the_highest():
    week = [[0.0] * 96 for _ in range(7)]
    week[2][5] = 9.0
    wednesday = [line.plain for line in heat_map(week, 28)][3]
    assert wednesday[4:8] == f"{BLOCKS[0]}{BLOCKS[-1]}{BLOCKS[0]}{BLOCKS[0]}"


def test_a_week_of_one_amount_is_drawn_low_and_an_unseen_one_not_at_all():
    assert step_of(3.0, 3.0, 3.0) == 0
    lines = [line.plain for line in heat_map([[None] * 96] * 7, 40)]
    assert lines[1] == f"Mon {UNSEEN * 24}"


def test_quiet_time_runs_past_midnight_and_is_two_hours_at_least():
    quiet = np.zeros(96, dtype=bool)
    quiet[90:] = quiet[:10] = True
    assert longest_run(quiet) == (90, 10)
    assert longest_run(np.arange(96) < 7) is None
    assert longest_run(np.arange(96) < 8) == (0, 8)
    assert longest_run(np.arange(96) >= 80) == (80, 0)
    assert longest_run(np.ones(96, dtype=bool)) is None


def test_a_day_without_a_peak_is_called_flat_and_one_hardly_seen_nothing():
    assert peak_of(np.full((5, 96), 2.0), "weekdays").flat
    hardly = np.full((2, 96), np.nan)
    hardly[0, :10] = 1.0
    assert peak_of(hardly, "weekends") is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["web-1", "--timezone", "No/Where"], "unknown here; write one like Europe/Paris"),
        (["web-1", "--timezone", "../x"], "unknown here"),
        (["web-1", "--resource", "gpu"], "knows no gpu"),
        (["web-7"], "did you mean web-"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(story, arguments, says, capsys):
    assert run(["profile", *arguments, "--journal", str(story)]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
