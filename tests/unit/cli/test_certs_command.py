"""`tidegate certs`: from nothing to a cell whose programs know each other, in the words people read."""

from __future__ import annotations

import json

import pytest

from tidegate.cli.main import run


@pytest.fixture
def certs(tmp_path):
    """Run one command on an authority of its own, and return its exit code."""
    return lambda *words: run(["certs", *words, "--folder", str(tmp_path / "certs")])


def test_a_cell_is_set_up_and_shown(certs, tmp_path, capsys):
    assert certs("init") == 0
    assert certs("issue", "--role", "device", "card-a") == 0
    assert str(tmp_path / "certs/issued/device/card-a") in capsys.readouterr().out
    assert certs("issue", "--role", "agent", "web-1") == 0
    capsys.readouterr()
    assert certs("show", "--json", str(tmp_path / "shown.json")) == 0
    shown = capsys.readouterr().out
    assert "signs, until" in shown
    assert [line.split()[:2] for line in shown.splitlines() if "good " in line and "UTC" in line] == [
        ["agent", "web-1"],
        ["device", "card-a"],
    ]
    told = json.loads((tmp_path / "shown.json").read_text())
    assert [(one["role"], one["name"], one["standing"]) for one in told["issued"]] == [
        ("agent", "web-1", "good"),
        ("device", "card-a", "good"),
    ]


def test_a_program_s_own_folder_is_shown_too(certs, tmp_path, capsys):
    certs("init")
    certs("issue", "--role", "fleet", "cell-1")
    capsys.readouterr()
    assert run(["certs", "show", "--folder", str(tmp_path / "certs/issued/fleet/cell-1")]) == 0
    assert "believed, until" in capsys.readouterr().out


def test_a_second_authority_or_certificate_is_refused_with_the_way_on(certs, capsys):
    certs("init")
    certs("issue", "--role", "agent", "web-1")
    capsys.readouterr()
    assert certs("init") == 2
    assert "rotate --authority" in capsys.readouterr().err
    assert certs("issue", "--role", "agent", "web-1") == 2
    assert "rotate web-1" in capsys.readouterr().err


def test_the_steps_of_a_new_authority_are_told_and_done(certs, capsys):
    certs("init")
    certs("issue", "--role", "device", "card-a")
    assert certs("rotate") == 0
    assert "Nothing is due" in capsys.readouterr().out
    assert certs("rotate", "--authority") == 0
    assert "1. copy" in capsys.readouterr().out
    assert certs("rotate", "--forget-old") == 2
    assert certs("rotate", "--all") == 0
    assert certs("rotate", "--forget-old") == 0
    assert "1 older authority is believed no more" in capsys.readouterr().out
    assert certs("rotate", "--all", "--authority") == 2
    assert "one at a time" in capsys.readouterr().err


def test_who_is_revoked_is_shown_as_that(certs, capsys):
    certs("init")
    certs("issue", "--role", "operator", "ann")
    assert certs("revoke", "--role", "operator", "ann") == 0
    capsys.readouterr()
    certs("show")
    assert "revoked" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("show",), ("rotate",), ("issue", "--role", "agent", "x")])
def test_without_an_authority_the_first_step_is_named(words, certs, capsys):
    assert certs(*words) == 2
    assert "'tidegate certs init' makes one" in capsys.readouterr().err
