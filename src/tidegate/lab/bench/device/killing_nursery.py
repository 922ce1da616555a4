"""Starts programs at once: it has loaded them already, and forks a process for each it is told to start.

    python -m tidegate.lab.bench.device.killing_nursery MODULE ...

Each line of its input is an order, each line of its output the process that carries it out. A process knows
nothing of this one but that it ends with it; that it was not loaded from the disk makes its start a few
seconds shorter, and is the only difference.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import signal
import sys
from contextlib import suppress
from typing import Any, Final, NoReturn

from tidegate.drivers.card.launch import enter_namespace

COMMAND_LINE: Final = "tidegate.cli.main"
DIES_WITH_PARENT: Final = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


def main(modules: list[str]) -> None:
    """Load modules, then start what is asked for until the input ends."""
    for name in (COMMAND_LINE, *modules):
        with suppress(ModuleNotFoundError):  # it comes with an extra
            importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here asks how they ended
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if not child:
            become(order)
        sys.stdout.write(f"{child}\n")
        sys.stdout.flush()


def become(order: dict[str, Any]) -> NoReturn:
    """Run a command line as a process of its own would."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(DIES_WITH_PARENT, signal.SIGKILL)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        if order["namespace_file"]:
            enter_namespace(order["namespace_file"])
        nothing = os.open(os.devnull, os.O_RDONLY)
        log = os.open(order["log_file"], os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
        for wanted, descriptor in enumerate((nothing, log, log)):
            os.dup2(descriptor, wanted)
        code = importlib.import_module(COMMAND_LINE).run(order["arguments"])
    finally:
        os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
