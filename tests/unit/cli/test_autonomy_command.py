"""`tidegate autonomy`, `pause` and `resume`: what people tell a running Tidegate."""

from __future__ import annotations

import json
import shutil

import pytest

from tidegate.cli.main import run
from tidegate.journal.sql.opening import location
from tidegate.journal.sql.reader import Reader
from tidegate.journal.sql.writer import opened as journal_opened
from tidegate.model.autonomy import Level


@pytest.fixture
def state(tmp_path, monkeypatch, story, lived):
    """Both journals of a machine, to be written into."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    folder = tmp_path / "tidegate"
    folder.mkdir()
    shutil.copy(story, folder / "machine.db")
    shutil.copy(lived, folder / "simulated.db")
    return folder


def told(capsys, *arguments):
    assert run([*arguments]) == 0
    return capsys.readouterr().out


def now(folder, *arguments):
    path = folder / "now.json"
    assert run(["autonomy", *arguments, "--json", str(path)]) == 0
    machine, simulated = json.loads(path.read_text("utf-8"))["journals"]
    return machine, simulated


def test_this_machine_is_observed_and_a_simulated_fleet_acted_on_unless_told_otherwise(state, capsys):
    machine, simulated = now(state)
    assert (machine["default"], machine["paused"], machine["rules"]) == ("observe", False, [])
    assert (simulated["default"], simulated["workloads"]["auto"]) == ("auto", 16)
    text = capsys.readouterr().out
    assert "So of 4 workloads: 4 observe." in text
    assert "not paused" in text


def test_a_rule_says_whom_it_matches_now(state, capsys):
    text = told(capsys, "autonomy", "set", "web-*", "auto")
    assert "'web-*' is now auto; it matches 2: web-1, web-2." in text
    assert "it matches no workload there now" in text
    assert "notices at its next tick" in text
    assert "Warning" not in text
    machine, _ = now(state)
    assert machine["rules"] == [{"pattern": "web-*", "level": "auto", "matches": 2}]
    assert machine["workloads"] == {"observe": 2, "recommend": 0, "auto": 2}


def test_a_rule_that_matches_nobody_is_kept_with_a_warning(state, capsys):
    text = told(capsys, "autonomy", "set", "nobody*", "auto")
    assert "Warning: 'nobody*' matches nobody now" in text
    assert "none matches now" in told(capsys, "autonomy")


def test_setting_twice_holds_once_and_over_earlier_rules(state):
    for pattern, level in (("web-1", "auto"), ("*", "recommend"), ("web-1", "auto"), ("web-1", "auto")):
        assert run(["autonomy", "set", pattern, level]) == 0
    machine, _ = now(state)
    assert [rule["pattern"] for rule in machine["rules"]] == ["*", "web-1"]
    assert machine["workloads"] == {"observe": 0, "recommend": 3, "auto": 1}


def test_a_forgotten_rule_is_gone_and_one_there_never_was_is_an_error(state, capsys):
    assert run(["autonomy", "set", "web*", "auto"]) == 0
    assert "is gone" in told(capsys, "autonomy", "forget", "web*")
    assert now(state)[0]["rules"] == []
    assert run(["autonomy", "forget", "web*"]) == 2
    assert "'tidegate autonomy' lists them" in capsys.readouterr().err


def test_pause_stops_every_journal_and_resume_lets_go_on_as_often_as_one_likes(state, capsys):
    assert told(capsys, "pause").count(": paused;") == 2
    assert told(capsys, "pause").count("was paused already") == 2
    assert [one["paused"] for one in now(state)] == [True, True]
    capsys.readouterr()
    assert told(capsys, "resume").count(": resumed;") == 2
    assert told(capsys, "resume").count("was not paused") == 2
    assert [one["paused"] for one in now(state)] == [False, False]


def test_one_journal_alone_is_paused_by_name(state):
    assert run(["pause", "--journal", str(state / "simulated.db")]) == 0
    assert [one["paused"] for one in now(state)] == [False, True]


def test_what_was_told_is_noted_at_the_journals_own_time(state):
    assert run(["pause"]) == 0
    reader = Reader.of(location(str(state / "simulated.db")))
    (event,) = reader.events(last=1)
    assert event.kind == "paused"
    assert event.time_seconds == reader.span().last_seconds
    reader.close()


def test_a_journal_that_is_not_there_is_not_made(tmp_path, capsys):
    path = tmp_path / "typo.db"
    assert run(["pause", "--journal", str(path)]) == 2
    assert not path.exists()
    assert capsys.readouterr().err.count("\n") == 1


def test_a_pattern_is_printed_as_it_stands(state, capsys):
    assert run(["autonomy", "set", "[red]*", "auto"]) == 0
    assert "'[red]*' is now auto" in capsys.readouterr().out
    assert "[red]*" in told(capsys, "autonomy")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["autonomy", "set", "web*", "always"], "choose from observe, recommend, auto"),
        (["autonomy", "set", "", "auto"], "the pattern is empty"),
        (["autonomy", "--journal", "x.db", "set", "web*", "auto"], "write the options after 'set'"),
        (["autonomy", "forget"], "PATTERN"),
        (["pause", "--json", "no/such/folder/x.json"], "cannot write"),
    ],
)
def test_bad_input_is_one_sentence_and_changes_nothing(state, arguments, says, capsys):
    assert run(arguments) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    machine, simulated = now(state)
    assert machine["rules"] == simulated["rules"] == []
    assert not machine["paused"]


def test_a_loop_that_runs_meanwhile_notices(state):
    where = location(str(state / "simulated.db"))
    with journal_opened(where, {"loop": "simulated"}) as journal:
        running = journal.controls(Level.AUTO)
        assert run(["autonomy", "set", "app-*", "recommend"]) == 0
        assert run(["pause"]) == 0
        assert running.autonomy().rules == (("app-*", Level.RECOMMEND),)
        assert running.autonomy().paused
        assert run(["resume"]) == 0
        assert not running.autonomy().paused
