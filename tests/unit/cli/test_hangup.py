"""A terminal that is closed ends a run as Ctrl-C does: what was set is given back."""

from __future__ import annotations

import os
import signal

from tidegate.cli.turning import stopped_by_signals


def test_a_closed_terminal_ends_it_and_the_handler_is_as_before():
    before = signal.getsignal(signal.SIGHUP)
    with stopped_by_signals() as stop:
        os.kill(os.getpid(), signal.SIGHUP)
    assert stop.name == "SIGHUP"
    assert signal.getsignal(signal.SIGHUP) is before


def test_under_nohup_a_closed_terminal_ends_nothing():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stopped_by_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.name is None
    finally:
        signal.signal(signal.SIGHUP, before)
