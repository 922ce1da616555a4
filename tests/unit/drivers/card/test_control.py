"""Applications that hang, lie or break off on their control socket."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import pytest

from tidegate.drivers.card import control
from tidegate.drivers.card.behaviour import Behaviour
from tidegate.model.errors import TidegateError

PATIENCE_SECONDS = 10.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    for name in ("READY", "EXPORT", "IMPORT", "SILENCE", "STATS"):
        monkeypatch.setattr(control, f"{name}_SECONDS_MAX", 0.3)


@pytest.fixture
def application(tmp_path):
    """Serve calls with a function from connection and call line, each in its turn."""
    servers, threads = [], []

    def serve(act, name="app"):
        path = tmp_path / name
        server = socket.socket(socket.AF_UNIX)
        server.bind(str(path))
        server.listen()
        servers.append(server)

        def run():
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection, connection.makefile("rb") as source:
                    connection.settimeout(PATIENCE_SECONDS)
                    with contextlib.suppress(OSError):
                        if line := source.readline():
                            act(connection, source, json.loads(line))

        threads.append(threading.Thread(target=run, daemon=True))
        threads[-1].start()
        return path

    yield serve
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
    for thread in threads:
        thread.join(PATIENCE_SECONDS)


def answers(*pieces):
    def act(connection, source, call):
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(0.01)

    return act


def hangs(connection, source, call):
    source.read()


def exported(path):
    return b"".join(control.export("app", path, ["192.0.2.1:7000"]))


def test_a_state_comes_in_pieces_as_they_fall(application):
    path = application(answers(b'{"ok": tr', b'ue, "state_bytes": 6}\nab', b"cd", b"ef"))
    assert exported(path) == b"abcdef"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (hangs, "does not answer in time"),
        (answers(), "hangs up before it has said all"),
        (answers(b"no\n"), "no JSON"),
        (answers(b"[1]\n"), "with no object"),
        (answers(b'{"ok": false, "error": "not now"}\n'), "refuses: not now"),
        (answers(b'{"ok": true}\n'), "says its state has None bytes"),
        (answers(b'{"ok": true, "state_bytes": -1}\n'), "says its state has -1 bytes"),
        (answers(b'{"ok": true, "state_bytes": true}\n'), "says its state has True bytes"),
        (answers(b'{"ok": true, "state_bytes": 1e3}\n'), "says its state has 1000.0 bytes"),
        (answers(b'{"ok": true, "state_bytes": 999999999999999}\n'), "can be moved"),
        (answers(b'{"ok": true, "state_bytes": 9}\nabc'), "hangs up before it has said all"),
        (answers(b'{"ok": true, "state_bytes": 2}\nabc'), "more than the 2 bytes it said"),
        (answers(b"x" * (control.LINE_BYTES_MAX + 2)), "a line of more than"),
    ],
)
def test_what_goes_wrong_with_an_export_is_told(application, act, said):
    path = application(act)
    with pytest.raises(TidegateError, match=said):
        exported(path)


def test_who_does_not_listen_is_told(tmp_path):
    with pytest.raises(TidegateError, match="application app does not listen"):
        exported(tmp_path / "nobody")


def test_who_starts_listening_late_is_waited_for(application, tmp_path):
    late = threading.Timer(0.1, lambda: application(answers(b'{"ok": true, "state_bytes": 0}\n')))
    late.start()
    assert exported(tmp_path / "app") == b""
    late.join()


def test_a_state_is_given_whole_or_not_whole(application):
    got = []

    def takes(connection, source, call):
        state = source.read(call["state_bytes"])
        got.append(len(state) == call["state_bytes"])
        connection.sendall(b'{"ok": true}\n')

    path = application(takes)
    control.import_("app", path, [b"ab", b"", b"c"], state_bytes=3)
    for pieces, size in (([b"ab"], 3), ([b"ab", b"cd"], 3), ([b"abc", b"d"], 3)):
        with pytest.raises(TidegateError, match="the state of application app"):
            control.import_("app", path, pieces, state_bytes=size)
    with pytest.raises(TidegateError, match="more than 0 bytes"):
        control.import_("app", path, [b"a"], state_bytes=0)
    control.import_("app", path, [], state_bytes=0)
    assert [whole for whole in got if whole] == [True, True]


def test_who_takes_nothing_is_given_up(application):
    path = application(lambda *_: time.sleep(1.0))
    start = time.monotonic()
    with pytest.raises(TidegateError, match="does not take what it is sent"):
        control.import_("app", path, [bytes(1 << 22)] * 2, state_bytes=1 << 23)
    assert time.monotonic() - start < PATIENCE_SECONDS


def test_who_serves_only_later_than_can_be_waited_for_is_told(application):
    path = application(hangs)
    with pytest.raises(TidegateError, match="does not answer in time"):
        control.import_("app", path, [b"abc"], state_bytes=3)


def test_one_that_hangs_delays_nobody_who_wants_to_know(application):
    good = answers(b'{"ok": true, "latency_p99_seconds": 0.25, "requests": 7}\n')
    bad = answers(b'{"ok": true, "latency_p99_seconds": "fast", "requests": -1}\n')
    paths = {"hangs": application(hangs, "1"), "good": application(good, "2"), "bad": application(bad, "3")}
    behaviour = Behaviour(lambda: paths)
    deadline = time.monotonic() + PATIENCE_SECONDS
    said = {}
    while set(said) != {"good", "bad"}:
        assert time.monotonic() < deadline
        start = time.monotonic()
        said = behaviour.last()
        assert time.monotonic() - start < 0.1
        time.sleep(0.02)
    assert (said["good"].latency_p99_seconds, said["good"].requests) == (0.25, 7)
    assert (said["bad"].latency_p99_seconds, said["bad"].requests) == (None, None)
    behaviour.close()
