"""A program beside this one: started again when it ends, not for ever, and ended with it."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tidegate.agents.together import children
from tidegate.agents.together.children import Child
from tidegate.model.errors import InputError, TidegateError

PATIENCE_SECONDS = 60
"""Far more than any of this takes."""
FAILS = (sys.executable, "-c", "import sys; sys.stderr.write('tidegate: no luck\\n'); sys.exit(1)")
STAYS = (sys.executable, "-c", "import sys; sys.stdin.read()")
DEAF = (
    sys.executable,
    "-c",
    "import signal as s, sys; s.signal(s.SIGTERM, s.SIG_IGN); sys.stderr.write('deaf\\n'); s.pause()",
)


@pytest.fixture(autouse=True)
def _hurried(monkeypatch):
    monkeypatch.setattr(children, "RESTART_SECONDS", 0.001)
    monkeypatch.setattr(children, "RESTART_SECONDS_MAX", 0.002)
    monkeypatch.setattr(children, "RESTARTS_MAX", 3)


def child(command, told=None):
    return Child(
        "helper", (), told=(lambda _sentence: None) if told is None else told.append, command=command
    )


def settled(one):
    """The child once nobody watches over it any more: it stays down."""
    one._thread.join(PATIENCE_SECONDS)
    assert not one._thread.is_alive()
    return one


def test_one_that_always_ends_at_once_stays_down_and_says_why():
    told = []
    one = child(FAILS, told)
    one.well()
    settled(one)
    assert one.restarts == 3
    assert one.why_down == "no luck"
    assert one.pid is None
    *again, last = told
    assert len(again) == 3
    assert all(said.startswith("the helper ended (no luck); it is started again in") for said in again)
    assert last == "the helper stays down after 3 restarts: no luck"
    with pytest.raises(TidegateError, match="stays down after 3 restarts: no luck"):
        one.check()
    one.end()


def test_one_that_ran_long_has_all_its_restarts_again(monkeypatch):
    monkeypatch.setattr(children, "SOON_SECONDS", -1.0)
    told, many = [], threading.Event()

    def heard(sentence):
        told.append(sentence)
        if len(told) > 5:
            many.set()

    one = Child("helper", (), told=heard, command=FAILS)
    one.well()
    assert many.wait(PATIENCE_SECONDS)
    one.check()
    one.ask()
    settled(one)


@pytest.mark.parametrize(("code", "kind"), [(1, TidegateError), (2, InputError)])
def test_one_that_ends_before_it_did_its_work_is_not_started_again(code, kind):
    one = child((sys.executable, "-c", f"import sys; sys.stderr.write('tidegate: no\\n'); sys.exit({code})"))
    settled(one)
    with pytest.raises(kind, match=r"^no$"):
        one.check()
    assert one.restarts == 0


def test_what_the_system_does_not_start_is_one_sentence_and_tried_again_only_so_often(monkeypatch):
    def refused(*_words, **_options):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    one = child(STAYS)
    one.well()
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "Popen", refused)
        with pytest.raises(TidegateError, match="the helper can't be started"):
            child(STAYS)
        one._process.kill()
        settled(one)
    assert one.why_down == "it can't be started: Resource temporarily unavailable"
    with pytest.raises(TidegateError, match="stays down"):
        one.check()
    one.end()


def test_one_that_runs_again_is_down_no_more(monkeypatch):
    told = []
    one = child(STAYS, told)
    one.well()
    first = one.pid
    assert one.why_down == ""
    one._process.kill()
    while one.restarts == 0:
        one._thread.join(0.001)
    assert one.pid != first
    assert one.why_down == "killed by SIGKILL"
    monkeypatch.setattr(children, "STANDS_SECONDS", 0.0)
    assert one.why_down == ""
    one.end()
    assert len(told) == 1


def test_one_that_does_not_end_when_asked_is_killed(monkeypatch):
    monkeypatch.setattr(children, "END_SECONDS", 0.2)
    one = child(DEAF)
    while not one._lines:
        one._thread.join(0.001)
    one.end()
    assert one._process.returncode == -9


def test_a_signal_without_a_name_is_told_by_its_number():
    told = []
    one = child(STAYS, told)
    one.well()
    one._process.send_signal(40)
    while not told:
        one._thread.join(0.001)
    assert told[0].startswith("the helper ended (killed by signal 40)")
    one.end()
