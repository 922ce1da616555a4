"""`tidegate explain`: sentences for people, the whole for machines, and times as people type them."""

from __future__ import annotations

import json
import shutil

import pytest

from tidegate.cli.instants import parse_instant_seconds
from tidegate.cli.main import run
from tidegate.model.errors import InputError

START = 1_704_067_200
LAST = START + 1500


@pytest.fixture
def state(tmp_path, monkeypatch):
    """A state folder of one's own, without journals."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "tidegate").mkdir()
    return tmp_path / "tidegate"


def said(capsys, *arguments):
    assert run(["explain", *arguments]) == 0
    return " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_people_read_sentences(story, capsys):
    text = said(capsys, "web-1", "--resource", "cpu", "--journal", str(story))
    for sentence in (
        "No sample came (4.00 cores sold); holds 2.50 cores on server-1.",
        "Last decision (Mon 2024-01-01 00:10 UTC, 15m before): 3.00 cores wanted where it held 2.00.",
        "Why: grows before the forecast peak.",
        "Level changed at 00:00, memory shortened: margins and price learn anew.",
        "Held back: guard: at most one pace step per tick; it was left 2.50 cores.",
        "Forecast of the peak, in cores: at most 2.00 in 50 %, 3.00 in 99 % of cases.",
        "Model: scripted, 50 % better than the plain baseline, covered 99.0 % of peaks.",
        "It has just won the right to act.",
        "Without the forecast it would have been given 2.20 cores, 27 % less.",
        "SLA: may run short in 1 % of samples; class 2, never less than 0.20 cores.",
        "What was done: applied at the host (2.50 cores read back).",
        "What came of it: ran short in 1 of 2 samples since; used 2.50 cores at most.",
        "vpa 100% 100.0%",
    ):
        assert sentence in text
    assert "web-1: memory" not in text


def test_where_the_safe_baseline_acts_equal_levels_are_not_called_a_forecast(story, capsys):
    text = said(capsys, "web-2", "--resource", "memory", "--journal", str(story))
    assert "Forecast: none acts; the safe baseline's amount, 12.0 GiB, stands in its place." in text
    assert "It has not earned the right to act." in text


def test_markup_in_names_and_events_is_printed_as_it_stands(story, capsys):
    text = said(capsys, "[red]app", "--resource", "cpu", "--journal", str(story))
    assert "[red]app: cpu" in text
    assert "and nothing of card-1" in text
    assert "somebody [bold]restarted[/bold] it" in said(capsys, "web-1", "--journal", str(story))


@pytest.mark.parametrize("columns", ["60", "200"])
def test_nothing_is_wider_than_the_terminal(lived, columns, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", columns)
    assert run(["explain", "app-1", "--journal", str(lived)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    assert any("regret" in line for line in lines)


def test_machines_read_everything_in_base_units(story, tmp_path):
    path = tmp_path / "x.json"
    assert run(["explain", "web-1", "--at", "00:10", "--journal", str(story), "--json", str(path)]) == 0
    found = json.loads(path.read_text("utf-8"))
    assert list(found) == ["workload", "journal", "at", "resources"]
    assert (found["workload"], found["journal"], found["at"]) == ("web-1", str(story), "2024-01-01T00:10:00Z")
    cpu, memory = found["resources"]
    assert (cpu["resource"], cpu["decided"]["wanted"], cpu["unit"]) == ("cpu", 3.0, "cores")
    assert (memory["resource"], memory["host_share"], memory["unit"]) == ("memory", 12 * 2**30, "bytes")


def test_without_a_journal_it_says_how_to_make_one(state, capsys):
    assert run(["explain", "web-1"]) == 2
    err = capsys.readouterr().err
    assert "run 'tidegate up' first" in err
    assert str(state) in err


def test_the_journal_is_the_one_that_knows_the_workload(state, story, lived, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    shutil.copy(story, state / "machine.db")
    shutil.copy(lived, state / "simulated.db")
    assert "machine.db" in said(capsys, "web-1", "--resource", "cpu")
    assert "simulated.db" in said(capsys, "app-1", "--resource", "cpu")
    assert run(["explain", "app-l"]) == 2
    assert "did you mean app-" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2024-01-01T00:10", START + 600),
        ("2024-01-01T01:10+01:00", START + 600),
        ("2024-01-01 00:10:30", START + 630),
        ("2024-01-01T00:10Z", START + 600),
        ("00:10", START + 600),
        ("0:10", START + 600),
        ("0:10:05", START + 605),
        ("-15m", LAST - 900),
        ("15m ago", LAST - 900),
        ("1h30m ago", LAST - 5400),
    ],
)
def test_times_are_utc_unless_they_have_an_offset(text, seconds):
    assert parse_instant_seconds(text, last_seconds=LAST) == seconds


@pytest.mark.parametrize("text", ["", "yesterday", "25:00", "12:60", "2024-13-01", "-x", "ago", "15m", "-"])
def test_what_is_no_time_is_refused_with_examples(text):
    with pytest.raises(InputError, match="is no time; write 2024-01-31T20:15"):
        parse_instant_seconds(text, last_seconds=LAST)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["web-1", "--at", "2001-01-01"], "give a later --at"),
        (["web-1", "--at", "noon"], "is no time"),
        (["web-1", "--resource", "gpu"], "knows no gpu; it has cpu, memory"),
        (["web-1", "--resource", "sand"], "sand"),
        (["web-9"], "did you mean web-"),
        (["web-1", "--json", "no/such/folder/x.json"], "cannot write"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(story, arguments, says, capsys):
    assert run(["explain", *arguments, "--journal", str(story)]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("name", "code"), [("nowhere.db", 2), ("text.db", 1)])
def test_a_journal_that_is_none_is_one_sentence(name, code, tmp_path, capsys):
    (tmp_path / "text.db").write_text("no journal at all")
    assert run(["explain", "x", "--journal", str(tmp_path / name)]) == code
    assert capsys.readouterr().err.count("\n") == 1
