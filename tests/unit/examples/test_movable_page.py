"""The application of docs/extend/make-an-application-movable.md runs as it stands there, and moves."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tidegate.drivers.card import control

PAGE = Path(__file__).resolve().parents[3] / "docs/extend/make-an-application-movable.md"
PATIENCE_SECONDS = 20.0


@pytest.fixture
def start(tmp_path):
    """Start the page's program; return its port and control socket."""
    program = tmp_path / "counter.py"
    program.write_text(
        "".join(re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL))
    )
    started = []

    def start(name, **environment):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        seen = {"PYTHONPATH": os.pathsep.join(sys.path), "TIDEGATE_CONTROL": str(tmp_path / name)}
        started.append(subprocess.Popen([sys.executable, str(program), str(port)], env=seen | environment))
        return port, tmp_path / name

    yield start
    for process in started:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def connected(port):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), PATIENCE_SECONDS)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_it_moves_and_what_it_counted_goes_with_it(start):
    old_port, old = start("old")
    new_port, new = start("new", TIDEGATE_STANDBY="1")
    with connected(old_port) as at_old, connected(new_port) as at_new:
        for client in (at_old, at_new):
            client.sendall(b"apples\n")
        assert at_old.recv(99) == b"1\n"
        state = list(control.export("counter", old, [f"127.0.0.1:{new_port}"]))
        at_old.sendall(b"apples\n")
        assert at_old.recv(99) == f"MOVED 127.0.0.1:{new_port}\n".encode()
        at_new.settimeout(0)
        with pytest.raises(BlockingIOError):  # it waits, as its client does
            at_new.recv(99)
        at_new.settimeout(PATIENCE_SECONDS)
        control.import_("counter", new, state, state_bytes=sum(map(len, state)))
        assert at_new.recv(99) == b"2\n"
        control.import_("counter", new, state, state_bytes=sum(map(len, state)))  # asked twice
        at_new.sendall(b"apples\n")
        assert at_new.recv(99) == b"3\n"
        assert control.stats("counter", new)["requests"] == 2


def test_a_move_that_comes_to_nothing_ends_where_it_began(start):
    port, control_socket = start("only")
    with connected(port) as client:
        state = list(control.export("counter", control_socket, ["192.0.2.1:1"]))
        control.import_("counter", control_socket, state, state_bytes=sum(map(len, state)))
        client.sendall(b"pears\n")
        assert client.recv(99) == b"1\n"
