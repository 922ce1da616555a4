"""Becomes an application: waits for its order, enters its cgroups, and only then turns into the program.

A script of its own, run by `starting` with nothing of Tidegate imported: a process with many threads must not
run Python between fork and exec, and no program may run one instruction outside its limits.

    python -I -S launch.py ORDER_DESCRIPTOR ANSWER_DESCRIPTOR

Whoever ends before giving the order has started nothing: this process then ends too.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any, NoReturn

NETWORK_NAMESPACE = 0x40000000
"""CLONE_NEWNET of sched.h."""


def main(order_descriptor: int, answer_descriptor: int) -> NoReturn:
    """Carry the order out; what fails is told as one line on the other descriptor, which exec closes."""
    os.set_inheritable(answer_descriptor, False)  # noqa: FBT003 - the standard library's
    with os.fdopen(order_descriptor, "rb") as source:
        text = source.read()
    if not text:
        os._exit(0)
    try:
        become(json.loads(text))
    except OSError as error:
        said = f"{os.fsdecode(error.filename)}: {error.strerror}" if error.filename else str(error.strerror)
        os.write(answer_descriptor, said.encode("utf-8", "replace")[:4096])
    except ValueError as error:  # a NUL in a word, or a name with "=" in the environment
        said = str(error)
        os.write(answer_descriptor, said.encode("utf-8", "replace")[:4096])
    os._exit(127)


def become(order: dict[str, Any]) -> NoReturn:
    """Enter cgroups and namespace, open the log, and turn into the program.

    Raises:
        OSError: one of it can't be done.

    """
    for file in order["members_files"]:
        with open(file, "wb", buffering=0) as members:  # noqa: PTH123 - the fewer imports the sooner it runs
            members.write(b"0")  # whoever writes
    if order["namespace_file"]:
        enter_namespace(order["namespace_file"])
    log = os.open(order["log_file"], os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(order["working_folder"])
    # Python ignores these two, and a mask is inherited.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    os.execvpe(order["command"][0], order["command"], order["environment"])  # noqa: S606 - no shell is the point


def enter_namespace(file: str) -> None:
    """Move this process into a network namespace.

    Raises:
        OSError: there is none of that name, or this process may not.

    """
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    if ctypes.CDLL(None, use_errno=True).setns(descriptor, NETWORK_NAMESPACE) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), file)
    os.close(descriptor)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
