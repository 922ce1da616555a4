"""A thread that lives in a network namespace: sockets it opens, and files of /proc it reads, are of there."""

from __future__ import annotations

import ctypes
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self, TypeVar

from tidegate.model.errors import InputError, TidegateError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

NAMESPACES: Final = Path("/var/run/netns")
"""Where ip-netns(8) keeps those with a name."""
NETWORK_NAMESPACE: Final = 0x40000000
"""CLONE_NEWNET of sched.h."""
_Found = TypeVar("_Found")


class Inside:
    """Does what it is told in a network namespace; without a name, in this process's own, by the caller."""

    def __init__(self, namespace: str | None = None) -> None:
        """Enter a namespace with one thread; the process stays where it is.

        Raises:
            InputError: there is none of that name.
            TidegateError: this process may not enter it.

        """
        self._thread: ThreadPoolExecutor | None = None
        if namespace is None:
            return
        file = NAMESPACES / namespace
        if "/" in namespace or not file.exists():
            raise InputError(
                f"there is no network namespace '{namespace}'; make it with 'ip netns add {namespace}'"
            )
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"tidegate-in-{namespace}")
        try:
            self.do(lambda: _enter(file))
        except OSError as error:
            self.close()
            raise TidegateError(
                f"network namespace '{namespace}' can't be entered: {error.strerror}; run as root"
            ) from error

    def do(self, act: Callable[[], _Found]) -> _Found:
        """Return what ``act`` returns there, or raise what it raises."""
        return act() if self._thread is None else self._thread.submit(act).result()

    def close(self) -> None:
        """Leave; what was opened stays open, and stays of there."""
        if self._thread is not None:
            self._thread.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _enter(file: Path) -> None:
    if sys.platform != "linux":
        raise OSError(0, "only Linux has them")
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, NETWORK_NAMESPACE) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(file))
    finally:
        os.close(descriptor)
