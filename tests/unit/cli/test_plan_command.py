"""`tidegate plan show`: who holds what and is to hold what, biggest pending changes first."""

from __future__ import annotations

import io
import json

import pytest
from rich.console import Console

from tidegate.app.drift_shown import Drifted
from tidegate.app.plan_shown import plan_shown
from tidegate.cli import plan
from tidegate.cli.drifted import drifted_text
from tidegate.cli.journals import opened
from tidegate.cli.main import run
from tidegate.model.autonomy import Level


def rows(path, journal, *arguments):
    assert run(["plan", "show", "--journal", str(journal), "--json", str(path), *arguments]) == 0
    return json.loads(path.read_text("utf-8"))


def printed(journal, width, *, everything=False):
    out = io.StringIO()
    console = Console(file=out, width=width)
    with opened(str(journal)) as journals:
        shown = plan_shown(journals[0].reader, journals[0].autonomy())
        for part in plan.shown(journals[0], shown, shown.rows, width=width, everything=everything):
            console.print(part)
    return out.getvalue()


def test_the_biggest_pending_change_comes_first(story, tmp_path):
    found = rows(tmp_path / "x.json", story)
    assert list(found) == ["journal", "at", "tick", "workloads", "rows", "places"]
    assert (found["at"], found["tick"], found["workloads"]) == ("2024-01-01T00:25:00Z", 4, 4)
    first = found["rows"][0]
    assert (first["workload"], first["resource"], first["held_host"], first["wanted"]) == (
        "web-1",
        "cpu",
        2.5,
        3,
    )
    assert first["pending"]
    assert first["guard"] == "guard: at most one pace step per tick"
    assert (first["drift"]["kind"], first["drift"]["words"]) == ("level", "level changed")
    assert [row["pending"] for row in found["rows"]] == [True] + [False] * 7


def test_rows_are_chosen_by_pattern_and_by_pending_change(story, tmp_path):
    path = tmp_path / "x.json"
    assert {row["workload"] for row in rows(path, story, "--workload", "web*")["rows"]} == {"web-1", "web-2"}
    assert [row["workload"] for row in rows(path, story, "--changed")["rows"]] == ["web-1"]


def test_places_say_what_is_granted_of_what_is_allocatable(story, tmp_path):
    places = {(row["place"], row["resource"]): row for row in rows(tmp_path / "x.json", story)["places"]}
    assert places["server-1", "cpu"]["granted"] == 8.5
    assert places["server-1", "cpu"]["allocatable"] == 16
    assert places["card-1", "memory"]["granted"] == 0
    assert "server-1: cpu 8.50 of 16.0 cores (53 %), memory 48.0 of 64.0 GiB (75 %)" in printed(story, 200)


def test_of_a_simulated_fleet_held_and_places_add_up(lived, tmp_path):
    found = rows(tmp_path / "x.json", lived)
    assert len(found["rows"]) == found["workloads"] * 2
    for place in found["places"]:
        share = "held_card" if place["is_card"] else "held_host"
        at = "card" if place["is_card"] else "host"
        held = sum(
            row[share]
            for row in found["rows"]
            if row[at] == place["place"] and row["resource"] == place["resource"]
        )
        assert held == pytest.approx(place["granted"], rel=1e-5, abs=1e-6)
    changes = [row["change_ratio"] for row in found["rows"]]
    assert changes == sorted(changes, reverse=True)


@pytest.mark.parametrize("width", [60, 80, 140])
def test_names_are_literal_and_nothing_is_wider_than_the_terminal(story, width):
    text = printed(story, width)
    assert "[red]app" in text
    assert max(len(line) for line in text.splitlines()) <= width
    assert "guard: at most one pace step per tick" in text


def test_more_than_fifty_rows_are_shown_only_on_request(lived, monkeypatch):
    monkeypatch.setattr(plan, "ROWS_MAX", 3)
    assert "29 more rows with --all" in printed(lived, 200)
    assert "more rows" not in printed(lived, 200, everything=True)


def test_autonomy_is_that_of_the_journal(story, lived):
    for journal, level in ((story, Level.OBSERVE), (lived, Level.AUTO)):
        with opened(str(journal)) as journals:
            shown = plan_shown(journals[0].reader, journals[0].autonomy())
        assert {row.autonomy for row in shown.rows} == {level.label}


def test_a_pattern_nobody_matches_is_an_error(story, capsys):
    assert run(["plan", "show", "--journal", str(story), "--workload", "nobody*"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("width", [80, 300])
def test_a_series_that_has_changed_says_so_beside_the_reason(story, width):
    text = " ".join(printed(story, width).split())
    why = "guard: at most one pace step per tick; level changed at 00:00, memory shortened"
    assert why in text
    assert text.count("memory shortened") == 1


def test_a_change_of_another_day_is_told_with_its_day():
    drift = Drifted(kind="season", words="daily pattern changed", since_seconds=1_704_067_200)
    text = drifted_text(drift, 1_704_067_200 + 90_000)
    assert text == "daily pattern changed at Mon 2024-01-01 00:00 UTC, memory shortened"
